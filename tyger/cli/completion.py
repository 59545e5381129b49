"""`tyger completion`: the scripts that make a shell complete our commands and flags; click writes them.

Scripts that the original has written, and that may still be installed, ask `tyger __complete`, which is
answered as they expect.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    @click.option(
        "--no-descriptions", is_flag=True, hidden=True, help="Accepted for compatibility; there are none."
    )
    @click.pass_obj
    def show(invocation: session.Session, no_descriptions: bool) -> None:
        del no_descriptions
        invocation.console.data(script(shell))


_command("bash", "source <(tyger completion bash)")
_command("zsh", "source <(tyger completion zsh)")
_command("fish", "tyger completion fish | source")


class _Raw(groups.Command):
    """Takes all words as they are, flags too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params["words"] = tuple(args)
        return []


@click.command(
    cls=_Raw,
    name="__complete",
    hidden=True,
    help=groups.describe(
        "Answer a completion script of the original's: what the last word may become, a line each.",
        examples=("tyger __complete run li",),
        exit_status="0.",
    ),
)
@click.pass_obj
def complete(invocation: session.Session, words: Sequence[str]) -> None:
    """Candidates with their descriptions behind a tab, then a directive: 0 for file names, 4 for none."""
    from click import shell_completion

    from tyger.cli import root

    *before, incomplete = words or ("",)
    shell = shell_completion.ShellComplete(root.command, {}, "tyger", "_TYGER_COMPLETE")
    items = shell.get_completions(before, incomplete)
    named = [item for item in items if item.type == "plain"]
    lines = [f"{item.value}\t{item.help}" if item.help else str(item.value) for item in named]
    files = not named
    directive = 0 if files else 4
    invocation.console.data("".join(f"{line}\n" for line in [*lines, f":{directive}"]))
    name = "ShellCompDirectiveDefault" if files else "ShellCompDirectiveNoFileComp"
    invocation.console.hint(f"Completion ended with directive: {name}")
