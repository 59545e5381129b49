"""`tyger completion`: the scripts that make a shell complete our commands and flags; click writes them."""

from __future__ import annotations

import click

from tyger.cli import groups, session

SHELLS = ("bash", "zsh", "fish")


@click.group(
    cls=groups.Group,
    name="completion",
    help="Print a script that makes your shell complete commands and flags of tyger.",
    short_help="Print shell completion scripts.",
)
def command() -> None:
    """Group; see `groups.Group`."""


def script(shell: str) -> str:
    """The script for one of `SHELLS`."""
    from click import shell_completion

    from tyger.cli import root

    kind = shell_completion.get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the three are built in
    completion = kind(root.command, {}, "tyger", "_TYGER_COMPLETE")
    # Not `completion.source()`: for bash that starts one to see whether it is new enough.
    return (completion.source_template % completion.source_vars()).strip() + "\n"


def _command(shell: str, use: str) -> None:
    @command.command(
        name=shell,
        help=groups.describe(f"Print the completion script for {shell}.", examples=(use,), exit_status="0."),
    )
    @click.pass_obj
    def show(invocation: session.Session) -> None:
        invocation.console.data(script(shell))


_command("bash", "source <(tyger completion bash)")
_command("zsh", "source <(tyger completion zsh)")
_command("fish", "tyger completion fish | source")
