"""The nouns are all there, importable, and described."""

import click
import pytest

from tyger.cli import groups, root


def commands(group=root.command, path=("tyger",)):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = {" ".join(path): command for path, command in commands()}
LEAVES = {path: command for path, command in ALL.items() if not isinstance(command, click.Group)}

BUFFER = [
    "access",
    "create",
    "delete",
    "export",
    "gen",
    "import",
    "list",
    "purge",
    "read",
    "restore",
    "set",
    "show",
    "storage-account list",
    "write",
]
RUN = ["attach", "cancel", "counts", "create", "exec", "list", "logs", "set", "show", "watch"]


def test_the_commands_that_there_are():
    assert sorted(LEAVES) == sorted(
        [
            *(f"tyger buffer {verb}" for verb in BUFFER),
            *(f"tyger codespec {verb}" for verb in ("create", "list", "show")),
            *(f"tyger run {verb}" for verb in RUN),
            *(f"tyger transfer {verb}" for verb in ("cancel", "list", "pause", "resume", "show", "watch")),
            "tyger status",
            "tyger login status",
            "tyger logout",
            "tyger stdio-proxy login",
            "tyger stdio-proxy sleep",
            "tyger version",
            "tyger help",
            "tyger __complete",
            *(f"tyger completion {shell}" for shell in ("bash", "zsh", "fish")),
        ]
    )


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_says_what_how_and_with_what_exit_status(path):
    command = LEAVES[path]
    assert isinstance(command, groups.Command)
    assert "Examples:" in command.help
    assert "Exit status: 0" in command.help


@pytest.mark.parametrize("path", ALL)
def test_every_option_has_help(path):
    for parameter in ALL[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts}"
            assert parameter.help.endswith("."), f"{path} {parameter.opts}"


@pytest.mark.parametrize(
    "alias",
    [
        "buffers list",
        "buffer storage-accounts list",
        "codespecs list",
        "codespec get",
        "runs count",
        "run get",
    ],
)
def test_other_names(alias):
    group = root.command
    for name in alias.split():
        command = group.get_command(click.Context(group), name)
        assert command is not None
        group = command


def test_flags_that_belong_to_all_work_in_front_and_behind(tyger):
    for arguments in (
        ["--log-format", "json", "run", "create", "-c", "x", "--pull"],
        ["run", "create", "-c", "x", "--pull", "--log-format", "json"],
        ["run", "--log-format", "JSON", "create", "-c", "x", "--pull"],
    ):
        assert tyger(*arguments).err.startswith('{"level":"warn"')
