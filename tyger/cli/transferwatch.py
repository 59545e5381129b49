"""`tyger transfer watch`: one transfer followed to its end, as lines of JSON or for a person."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Mapping
from typing import Any

import click

from tyger import errors, lines, sockets, streams
from tyger.cli import fields, flags, groups, output, progress, runfollow, session, tabletext, transfer

OVER = frozenset({"complete", "failed"})


@click.command(
    cls=groups.Command,
    name="watch",
    help=groups.describe(
        """
Follow a transfer until it is over: a line now and at each change.

A line is a JSON object, or on a terminal the time, the state, how much there is and why it does not go on;
there the bytes are counted on a line that stays. A daemon that goes away is waited for.
        """,
        examples=(
            f"tyger transfer watch {transfer.EXAMPLE_ID}",
            f"tyger transfer watch {transfer.EXAMPLE_ID} | jq -r .waiting",
        ),
        exit_status="0 when it is complete, 66 when there is no such transfer, 74 when it failed.",
    ),
    short_help="Follow a transfer until it is over.",
)
@flags.one("transfer_id", "transfer ID")
@click.option(
    "-o",
    "--output",
    "layout",
    type=flags.Choice("json", "text"),
    help="Lines of JSON (default), or lines for people (default on a terminal).",
)
@click.pass_obj
def watch(invocation: session.Session, transfer_id: str, layout: str | None) -> None:
    """GET /transfers/{id}/watch."""
    readable = layout == "text" if layout else os.isatty(output.STDOUT)
    show = _Text(invocation.console) if readable else _Json(invocation.console)
    last: Mapping[str, Any] = {}
    try:
        for last in changes(invocation, transfer_id):
            show(last)
    finally:
        show.close()
    if last.get("state") != "complete":
        raise errors.Problem(
            errors.BUFFER_FAILED, f"the transfer has failed: {last.get('reason') or 'no reason is known'}"
        )


def changes(invocation: session.Session, transfer_id: str) -> Iterator[dict[str, Any]]:
    """The transfer as it is, then at each change, up to and with its end.

    Raises:
        Problem: the daemon's own (unknown transfer, ...).
    """
    path = transfer.path_of(transfer_id) + "/watch"
    stop = streams.Stop()  # never requested: a signal ends this command at once
    patience = runfollow.Patience(invocation, stop)
    while True:
        lost: errors.Problem = sockets.Disconnected("the answer ended before the transfer did")
        try:
            with invocation.stream("GET", path) as stream:
                for line in stream.lines():
                    if line:
                        patience.reached()
                        found = lines.decoded(line)
                        yield found
                        if found.get("state") in OVER:
                            return
        except errors.Problem as problem:
            lost = problem
        patience.again(lost)


class _Json:
    """A compact object a line, what repeats left out."""

    def __init__(self, console: output.Console) -> None:
        self._console = console
        self._previous = ""

    def __call__(self, found: Mapping[str, Any]) -> None:
        line = output.dumps(fields.TRANSFER(found))
        if line != self._previous:
            self._console.text(line)
        self._previous = line

    def close(self) -> None:
        """Nothing is held."""


class _Text:
    """A line for each change of state or reason; the bytes on the live line, where there is one."""

    def __init__(self, console: output.Console) -> None:
        self._console = console
        self._board = progress.Board(console, drawn=True)
        self._previous: tuple[str, str] = ("", "")

    def __call__(self, found: Mapping[str, Any]) -> None:
        state, reason = str(found.get("state", "")), tabletext.why(found)
        amount = progress.binary(found.get("bytes") or 0)
        if found.get("shipped") is not None:
            amount += f", shipped {progress.binary(found['shipped'])}"
        text = f"{state} {amount}" + (f": {reason}" if reason else "")
        kind = progress.kind_of(reason)
        if (state, kind) != self._previous:
            self._previous = (state, kind)
            now = dt.datetime.now(dt.UTC).astimezone()
            self._console.text(f"{now:%H:%M:%S} {text}")
        self._board.set("transfer", text)

    def close(self) -> None:
        """Remove the live line."""
        self._board.close()
