"""`tyger transfer`: the writes and reads that the daemon has in hand, or had lately. Ours alone."""

from __future__ import annotations

import click

from tyger import errors
from tyger.cli import fields, flags, groups, session

NO_SUCH = "0 on success, 66 when there is no such transfer"


@click.group(
    cls=groups.Group,
    name="transfer",
    aliases={"get": "show", "stop": "cancel"},
    help="Look at the transfers of bytes into and out of buffers.",
    short_help="Manage transfers.",
)
def command() -> None:
    """Group; see `groups.Group`."""


@command.command(
    name="list",
    help=groups.describe(
        "List the transfers in progress and those that ended lately, as a JSON array.",
        examples=("tyger transfer list",),
        exit_status="0 on success.",
    ),
)
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
        examples=("tyger transfer show 3f2b6c0e5d7a41c8a1d0e6b7c9f01234",),
        exit_status=NO_SUCH + ".",
    ),
)
@flags.one("transfer_id", "transfer ID")
@click.pass_obj
def show(invocation: session.Session, transfer_id: str) -> None:
    """GET /transfers/{id}."""
    path = "/transfers/" + session.segment(transfer_id, "transfer ID")
    invocation.console.one(fields.TRANSFER, invocation.ask("GET", path))


@command.command(
    name="cancel",
    help=groups.describe(
        "End a transfer. The buffer of a write is marked as failed, and its producer's pipe is closed.",
        examples=("tyger transfer cancel 3f2b6c0e5d7a41c8a1d0e6b7c9f01234",),
        exit_status=NO_SUCH + ".",
    ),
)
@flags.one("transfer_id", "transfer ID")
@click.pass_obj
def cancel(invocation: session.Session, transfer_id: str) -> None:
    """POST /transfers/{id}/cancel."""
    path = "/transfers/" + session.segment(transfer_id, "transfer ID") + "/cancel"
    invocation.console.one(fields.TRANSFER, invocation.ask("POST", path))
