"""How a command line is taken apart: lazy loading, words behind `--`, help."""

import subprocess
import sys

import click
import pytest

from tests.support import cli
from tyger.cli import groups


def test_only_the_module_of_the_called_command_is_imported():
    code = (
        "import sys; from tyger import __main__; code = __main__.run(['buffer', 'gen', '1']);"
        "print(sorted(m for m in sys.modules if m.startswith('tyger.cli.')), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=cli.environ("/nonexistent"),
        capture_output=True,
        check=True,
        text=True,
    )
    assert "tyger.cli.buffer'" in done.stderr
    for foreign in ("run", "codespec", "execute", "data", "yamlfile", "transfer"):
        assert f"'tyger.cli.{foreign}'" not in done.stderr


def parse(*arguments):
    seen = {}

    @click.command(cls=groups.Command, container_words=True)
    @click.argument("names", nargs=-1)
    @click.option("--x")
    @click.pass_context
    def command(context, names, x):
        seen.update(names=names, x=x, words=context.meta[groups.Command.WORDS])

    command.main(list(arguments), standalone_mode=False)
    return seen


def test_words_behind_two_dashes_are_not_parsed():
    assert parse("a", "--x", "1", "--", "--x", "2", "--") == {
        "names": ("a",),
        "x": "1",
        "words": ["--x", "2", "--"],
    }


def test_no_dashes_is_not_the_same_as_nothing_behind_them():
    assert parse("a")["words"] is None
    assert parse("a", "--")["words"] == []


def test_flags_and_words_in_any_order():
    assert parse("a", "--x", "1", "b")["names"] == ("a", "b")


def test_help_keeps_the_lines_of_examples(tyger):
    out = tyger("buffer", "list", "--help").out
    assert "  Examples:\n    tyger buffer list --tag project=heart --exclude-tag state=checked\n" in out


def where(*arguments):
    """Which sub-command is found, and what it gets."""
    group = groups.Group("top")

    def add(name, *parameters):
        def callback(**values):
            seen.append((name, {key: value for key, value in values.items() if value}))

        group.add_command(groups.Command(name, params=list(parameters), callback=callback))

    seen = []
    words = click.Argument(["words"], nargs=-1)
    add("show", click.Option(["-n", "--number"]), click.Option(["--all"], is_flag=True), words)
    add("list", click.Option(["-n", "--number"]))
    group.main(list(arguments), prog_name="top", standalone_mode=False)
    return seen[0]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["show", "--number", "3"], ("show", {"number": "3"})),
        (["--number", "3", "show"], ("show", {"number": "3"})),
        (["--number=3", "show", "a"], ("show", {"number": "3", "words": ("a",)})),
        (["-n", "3", "show"], ("show", {"number": "3"})),
        (["-n3", "show"], ("show", {"number": "3"})),
        (["--number", "show", "list"], ("list", {"number": "show"})),
        (["--log-level", "debug", "list"], ("list", {})),
        (["--log-level", "debug", "-n", "1", "list", "--proxy", "none"], ("list", {"number": "1"})),
        (["--all", "show", "7"], ("show", {"all": True, "words": ("7",)})),
        (["--all", "show"], ("show", {"all": True})),
        (["show", "--", "--all", "list"], ("show", {"words": ("--all", "list")})),
    ],
)
def test_flags_in_front_of_the_command_that_they_belong_to(arguments, found):
    assert where(*arguments) == found


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--number", "3", "shoo"], 'unknown command "shoo" for "top" (did you mean show?)'),
        (["--numbr", "3", "show"], "unknown flag: --numbr (did you mean --number?)"),
        (["--folow", "list"], "unknown flag: --folow"),
        (["--number"], "unknown flag: --number"),
        (["-n"], "unknown shorthand flag: 'n' in -n"),
        ([], "a command is required"),
        (["--proxy", "none"], "a command is required"),
    ],
)
def test_wrong_lines_in_front_of_a_command(arguments, complaint):
    with pytest.raises(click.UsageError) as caught:
        where(*arguments)
    assert caught.value.message == complaint
