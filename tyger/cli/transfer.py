"""`tyger transfer`: the writes and reads that the daemon has in hand, or had lately. Ours alone."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tyger import errors
from tyger.cli import fields, flags, groups, layouts, resource, session

NO_SUCH = "0 on success, 66 when there is no such transfer"

EXAMPLE_ID = "3f2b6c0e5d7a41c8a1d0e6b7c9f01234"


@click.group(
    cls=groups.Group,
    name="transfer",
    lazy={"watch": groups.Lazy("tyger.cli.transferwatch", "watch")},
    aliases={"get": "show", "stop": "cancel"},
    help="Look at the transfers of bytes into and out of buffers, and say what becomes of them.",
    short_help="Manage transfers.",
)
def command() -> None:
    """Group; see `groups.Group`."""


@command.command(
    name="list",
    help=groups.describe(
        "List the transfers in progress and those that ended lately, as a JSON array or as a table.\n\n"
        "The table's last column says why one that is not over does not go on: it is paused, stalled,"
        " offline, the spool is full, its writer is away; or why one has failed.",
        examples=("tyger transfer list", "tyger transfer list --output table"),
        exit_status="0 on success.",
    ),
)
@layouts.option()
@click.pass_obj
def list_(invocation: session.Session) -> None:
    """GET /transfers."""
    answer = invocation.request("GET", "/transfers").json()
    transfers = answer.get("items") if isinstance(answer, dict) else answer
    if not isinstance(transfers, list):
        raise errors.Problem(errors.PROTOCOL, "unable to understand server response: not a JSON array")
    invocation.console.page(fields.TRANSFER, transfers)


@command.command(
    name="show",
    help=groups.describe(
        "Print a transfer as JSON.",
        examples=(f"tyger transfer show {EXAMPLE_ID}",),
        exit_status=NO_SUCH + ".",
    ),
)
@flags.one("transfer_id", "transfer ID")
@layouts.option()
@click.pass_obj
def show(invocation: session.Session, transfer_id: str) -> None:
    """GET /transfers/{id}."""
    invocation.console.one(fields.TRANSFER, invocation.ask("GET", path_of(transfer_id)))


def _command(verb: str, text: str, *, conflict: str) -> None:
    @command.command(
        name=verb,
        help=groups.describe(
            text + "\n\nPrints the transfer as it is then, or an array where several are named.",
            examples=(f"tyger transfer {verb} {EXAMPLE_ID}",),
            exit_status=f"{NO_SUCH}, 73 when {conflict}.",
        ),
    )
    @flags.at_least_one("transfer_ids", "transfer ID")
    @click.pass_obj
    def change(invocation: session.Session, transfer_ids: Sequence[str]) -> None:
        resource.each(
            invocation,
            fields.TRANSFER,
            transfer_ids,
            lambda name: invocation.ask("POST", f"{path_of(name)}/{verb}"),
        )


_command(
    "pause",
    "Stop shipping. What a producer goes on to write is kept in the daemon's spool, up to its limit; then the"
    " producer waits. A pause lasts until it is resumed, also over a restart of the daemon.",
    conflict="it is over, or nothing of it is shipped",
)
_command(
    "resume",
    "Go on with a transfer that was paused, or that has stalled because the store refused it for too long.",
    conflict="it is over, or nothing of it is shipped",
)
_command(
    "cancel",
    "End a transfer. The buffer of a write is marked as failed, and its producer's pipe is closed.",
    conflict="it is complete, or a read: those end with their command",
)


def path_of(transfer_id: str) -> str:
    """The path of one transfer."""
    return "/transfers/" + session.segment(transfer_id, "transfer ID")
