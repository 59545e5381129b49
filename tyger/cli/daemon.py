"""`tyger status` and `tyger version`: what the daemon does and which one it is."""

from __future__ import annotations

import contextlib

import click

import tyger
from tyger import client, errors
from tyger.cli import groups, session


@click.command(
    cls=groups.Command,
    name="status",
    help=groups.describe(
        "Print what the daemon does: its version, sockets and paths, its runs and transfers, where it stores"
        " buffers, and which transfers wait for what.\n\n"
        "Where no daemon runs, one is started (unless TYGER_AUTOSTART=0).",
        examples=("tyger status", "tyger status --format json"),
        exit_status="0 when the daemon answers, 69 when it does not and cannot be started.",
    ),
    short_help="Show what the daemon does.",
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or JSON.",
)
@click.pass_obj
def status(invocation: session.Session, layout: str) -> None:
    """GET /status."""
    answer = invocation.ask("GET", "/status")
    if layout == "json":
        invocation.console.json(answer)
        return
    for line in _lines(answer):
        invocation.console.text(line)


def _lines(value: dict[str, object], prefix: str = "") -> list[str]:
    """`name: value` lines; members of members as `outer.inner`; texts and objects in a list a line each."""
    lines: list[str] = []
    for name, content in value.items():
        if isinstance(content, dict):
            lines += _lines(content, f"{prefix}{name}.")
        elif isinstance(content, list) and any(_is_long(item) for item in content):
            lines += [f"{prefix}{name}: {_item(item)}" for item in content]
        elif isinstance(content, list):
            lines.append(f"{prefix}{name}: {', '.join(map(str, content)) or 'none'}")
        else:
            lines.append(f"{prefix}{name}: {_scalar(content)}")
    return lines


def _is_long(item: object) -> bool:
    """Whether an item of a list would not be told from its neighbours behind a comma."""
    return isinstance(item, dict) or " " in str(item)


def _item(item: object) -> str:
    if isinstance(item, dict):
        return ", ".join(
            f"{name} {_scalar(content)}" for name, content in item.items() if content is not None
        )
    return str(item)


def _scalar(content: object) -> str:
    return ("yes" if content else "no") if isinstance(content, bool) else str(content)


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
