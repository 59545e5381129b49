"""`tyger help`: the help of a command by its name, as `--help` behind it prints it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tyger.cli import gotext, groups


@click.command(
    cls=groups.Command,
    name="help",
    help=groups.describe(
        "Print the help of a command, as its --help does; of tyger itself without one.",
        examples=("tyger help run exec",),
        exit_status="0 on success, 64 when there is no such command.",
    ),
    short_help="Print the help of a command.",
)
@click.argument("path", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def command(context: click.Context, /, path: Sequence[str]) -> None:
    """Walk from the root to the command."""
    here = context.find_root()
    for name in path:
        found = here.command.get_command(here, name) if isinstance(here.command, click.Group) else None
        if found is None:
            topic = " ".join(path)
            raise click.UsageError(f"unknown help topic {gotext.quote(topic)}", context.find_root())
        here = click.Context(found, parent=here, info_name=found.name, obj=context.obj)
    context.obj.console.text(here.get_help())
