"""How a command line is taken apart: lazy loading, words behind `--`, help."""

import subprocess
import sys

import click

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
