"""The command `tyger` itself: its nouns, each in the module that is imported only when it is called."""

from __future__ import annotations

import click

import tyger
from tyger.cli import groups

NOUNS = {
    "buffer": groups.Lazy("tyger.cli.buffer"),
    "codespec": groups.Lazy("tyger.cli.codespec"),
    "run": groups.Lazy("tyger.cli.run"),
    "transfer": groups.Lazy("tyger.cli.transfer"),
    "status": groups.Lazy("tyger.cli.daemon", "status"),
    "login": groups.Lazy("tyger.cli.login"),
    "logout": groups.Lazy("tyger.cli.login", "logout"),
    "version": groups.Lazy("tyger.cli.daemon", "version"),
    "stdio-proxy": groups.Lazy("tyger.cli.stdioproxy"),
    "completion": groups.Lazy("tyger.cli.completion"),
    "help": groups.Lazy("tyger.cli.help"),
    "__complete": groups.Lazy("tyger.cli.completion", "complete"),
}


def _print_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        context.obj.console.text(f"tyger version {tyger.__version__}")
        context.exit()


@click.group(
    cls=groups.Group,
    name="tyger",
    lazy=NOUNS,
    aliases={"buffers": "buffer", "codespecs": "codespec", "runs": "run", "transfers": "transfer"},
    visible_flags=True,
    no_args_is_help=False,
    invoke_without_command=True,
    help=groups.describe(
        """
Stream signal data into buffers, run containers on it while it arrives, and stream the results back.

A buffer is a write-once stream of bytes. A codespec says what image, command and named buffers a piece of
processing needs. A run is one execution of a codespec, whose program sees each buffer as a named pipe.

The commands talk to the daemon tygerd on this machine; where none runs, one is started. Standard output
carries results only; messages go to standard error.
        """,
        examples=(
            "tyger run exec -f run.yml < input.bin > output.bin",
            "id=$(tyger buffer create); producer | tyger buffer write $id",
            "tyger buffer read $id | consumer",
        ),
        exit_status="0 on success, 1 when a run failed, 64 for a wrong command line, 65 for invalid input, 66"
        " when something is not found, 69 when no daemon can be reached, 70 for a defect, 73 for a conflict,"
        " 74 for an I/O error or a failed buffer, 75 when trying again may help, 76 for a protocol error, 77"
        " when permission is denied, 78 for a configuration error, 128 + n after signal n.",
    ),
)
@click.option(
    "-v",
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version and exit.",
)
@click.pass_context
def command(context: click.Context) -> None:
    """Without a sub-command: print the help."""
    if context.invoked_subcommand is None:
        context.obj.console.text(context.get_help())
