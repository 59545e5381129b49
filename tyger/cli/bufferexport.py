"""`tyger buffer export` and `import`: a run of the system's own, and following it; contract cli.md 4.11."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from tyger import errors
from tyger.cli import execution, flags, followoptions, groups, output, session

_ON_EXIT = followoptions.on_exit("cancel")
_EXIT_STATUS = (
    "0 when all was done, 1 when the run failed or was canceled, 65 when the daemon refuses, 69 when it"
    " stayed away, 128 + n after signal n."
)


@click.command(
    cls=groups.Command,
    name="export",
    help=groups.describe(
        """
Copy buffers, deleted ones too, from one storage account to another, which the daemon must know as well.

A run of the system's own does it, which goes on after a restart of the daemon; its log is shown on standard
error. Buffers that are still being written are left out, and those that were exported before. Made again, an
export takes what has come since. The other end takes the buffers in with tyger buffer import.
        """,
        examples=(
            "tyger buffer export https://x.blob.core.windows.net",
            "tyger buffer export https://x.blob.core.windows.net --source-storage-account local --tag a=7",
        ),
        exit_status=_EXIT_STATUS,
    ),
    short_help="Copy buffers to another storage account.",
)
@flags.exactly_one("destination")
@click.option(
    "--source-storage-account",
    "source",
    metavar="NAME",
    help="The account to copy from, as tyger buffer storage-account list has it; local is this machine's own"
    " store. May be left out when one account is configured.",
)
@flags.map_option("--tag", "tags", help="Only buffers with this tag. Repeat it to ask for several at once.")
@click.option("--hash-ids", is_flag=True, hidden=True, help="Give each copy the SHA-256 of its ID as ID.")
@_ON_EXIT
@click.pass_obj
def export(
    invocation: session.Session,
    destination: str,
    source: str | None,
    tags: Mapping[str, str],
    hash_ids: bool,
    on_exit: str,
) -> None:
    """Ask for the run and follow it."""
    body = {"destinationStorageEndpoint": destination, "sourceStorageAccountName": source or ""}
    more: dict[str, Any] = {"filters": dict(tags)} if tags else {}
    if hash_ids:
        more["hashIds"] = True
    _follow(invocation, "/buffers/export", {**body, **more}, "Failed to export buffers", on_exit)


@click.command(
    cls=groups.Command,
    name="import",
    help=groups.describe(
        """
Make buffers of the containers that tyger buffer export left in a storage account.

They keep their IDs and tags; those that are known already are left alone. A run of the system's own does it;
its log is shown on standard error.
        """,
        examples=("tyger buffer import --storage-account archive",),
        exit_status=_EXIT_STATUS,
    ),
    short_help="Take in what was exported to a storage account.",
)
@click.option(
    "--storage-account",
    "account",
    metavar="NAME",
    help="The account, as tyger buffer storage-account list has it. May be left out when one is configured.",
)
@_ON_EXIT
@click.pass_obj
def import_(invocation: session.Session, account: str | None, on_exit: str) -> None:
    """Ask for the run and follow it."""
    if not account:
        account = _only_account(invocation)
    _follow(
        invocation, "/buffers/import", {"storageAccountName": account}, "Failed to import buffers", on_exit
    )


def _only_account(invocation: session.Session) -> str:
    """The one account that is configured; the server takes no request without a name."""
    answer: Any = invocation.request("GET", "/buffers/storage-accounts").json()
    names = [str(each["name"]) for each in answer if each["name"] != "local"]
    if len(names) == 1:
        return names[0]
    if not names:
        return "local"  # refused in the daemon's words
    message = f"several storage accounts are configured; say which with --storage-account: {', '.join(names)}"
    raise errors.Problem(errors.USAGE, message)


def _follow(
    invocation: session.Session, path: str, body: Mapping[str, Any], failed: str, on_exit: str
) -> None:
    try:
        run = invocation.ask("POST", path, body=body)
    except errors.Problem as problem:
        raise session.Fatal(failed, problem) from None
    settings = execution.Settings(
        show_logs=True, on_exit=on_exit, on_log=lambda line: show(invocation.console, line)
    )
    execution.Execution(invocation, settings).attach(run, "Run created")


def show(console: output.Console, line: bytes) -> None:
    """A line of the run's log as one of our own; as it came where all of them are JSON, or it is none."""
    try:
        fields = json.loads(line)
        level, message = fields.pop("level"), str(fields.pop("message"))
        fields.pop("time", None)
    except (ValueError, KeyError, AttributeError, TypeError):
        console.raw(line)
        return
    if console.format == "json" or level not in output.LEVELS or level == "fatal":
        console.raw(line)
        return
    console.log(level, message, **{str(name): value for name, value in fields.items()})
