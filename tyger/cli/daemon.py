"""`tyger status` and `tyger version`: what the daemon does and which one it is."""

from __future__ import annotations

import contextlib

import click

import tyger
from tyger import client, errors
from tyger.cli import groups, layouts, session, tabletext


@click.command(
    cls=groups.Command,
    name="status",
    help=groups.describe(
        "Print what the daemon does: its version, sockets and paths, its runs and transfers, where it stores"
        " buffers, and which transfers wait for what.\n\n"
        "Where no daemon runs, one is started (unless TYGER_AUTOSTART=0).",
        examples=("tyger status", "tyger status --output json"),
        exit_status="0 when the daemon answers, 69 when it does not and cannot be started.",
    ),
    short_help="Show what the daemon does.",
)
@layouts.format_option("Lines for people (default), or JSON.")
@layouts.option(default="lines for people")
@click.pass_obj
def status(invocation: session.Session, text_or_json: str | None) -> None:
    """GET /status."""
    as_text = layouts.as_text(invocation.console, text_or_json)
    answer = invocation.ask("GET", "/status")
    if not as_text:
        invocation.console.json(answer)
        return
    for name, content in tabletext.flat(answer):
        invocation.console.text(f"{name}: {content}")


@click.command(
    cls=groups.Command,
    name="version",
    help=groups.describe(
        "Print the version of this command, and of the daemon when one runs. Starts none.",
        examples=("tyger version",),
        exit_status="0.",
    ),
    short_help="Show the versions of command and daemon.",
)
@click.pass_obj
def version(invocation: session.Session) -> None:
    """Says its own without anybody's help; the daemon's only when it is there."""
    invocation.console.text(f"tyger version {tyger.__version__}")
    with contextlib.suppress(errors.Problem):
        there = client.Client(invocation.paths.socket)
        there.request("GET", "/metadata")
        if there.server_version:
            invocation.console.text(f"tygerd version {there.server_version}")
