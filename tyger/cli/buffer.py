"""`tyger buffer`: what is remembered about buffers. Their bytes are moved by `data`, made by `generate`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import click

from tyger import errors, units
from tyger.cli import fields, flags, groups, layouts, listing, resource, session

NO_SUCH = "0 on success, 66 when there is no such buffer"


@click.group(
    cls=groups.Group,
    name="buffer",
    lazy={
        "read": groups.Lazy("tyger.cli.bufferread", "read"),
        "write": groups.Lazy("tyger.cli.bufferwrite", "write"),
        "gen": groups.Lazy("tyger.cli.generate", "command"),
        "export": groups.Lazy("tyger.cli.bufferexport", "export"),
        "import": groups.Lazy("tyger.cli.bufferexport", "import_"),
        "delete": groups.Lazy("tyger.cli.bufferdelete", "delete"),
        "restore": groups.Lazy("tyger.cli.bufferdelete", "restore"),
        "purge": groups.Lazy("tyger.cli.bufferdelete", "purge"),
    },
    aliases={"storage-accounts": "storage-account"},
    help="Create, fill, read and manage buffers: write-once streams of bytes that many may read.",
    short_help="Manage buffers.",
)
def command() -> None:
    """Group; see `groups.Group`."""


@command.command(
    name="create",
    help=groups.describe(
        "Create an empty buffer and print its ID.",
        examples=("tyger buffer create --tag project=heart --ttl 7", "id=$(tyger buffer create)"),
        exit_status="0 on success, 65 when a tag or the location is not valid.",
    ),
)
@click.option(
    "--location",
    metavar="LOCATION",
    help="Where to keep it: a location that `tyger buffer storage-account list` shows.",
)
@flags.map_option("--tag", "tags", help="Tag of the new buffer. May be repeated.")
@click.option(
    "--ttl",
    type=flags.TTL,
    metavar="TTL",
    help="Life of the buffer: D, D.HH, D.HH:MM or D.HH:MM:SS. Default: no end.",
)
@click.option("--full-resource", is_flag=True, help="Print the whole buffer as JSON instead of its ID.")
@click.pass_obj
def create(
    invocation: session.Session,
    location: str | None,
    tags: Mapping[str, str],
    ttl: dt.timedelta | None,
    full_resource: bool,
) -> None:
    """POST /buffers."""
    body: dict[str, object] = {}
    if location:
        body["location"] = location
    if tags:
        body["tags"] = dict(tags)
    if ttl is not None:
        body["expiresAt"] = _expiry(ttl)
    made = invocation.ask("POST", "/buffers", body=body)
    if full_resource:
        invocation.console.one(fields.BUFFER, made)
    else:
        invocation.console.text(str(made.get("id")))


@command.command(
    name="show",
    help=groups.describe(
        "Print a buffer as JSON.",
        examples=("tyger buffer show bmbwwktoxqhuzjb4hcmxlfzzyu",),
        exit_status=NO_SUCH + ".",
    ),
)
@flags.one("buffer_id", "buffer ID")
@click.option(
    "--soft-deleted", is_flag=True, help="Look among the deleted buffers instead of the active ones."
)
@layouts.option()
@click.pass_obj
def show(invocation: session.Session, buffer_id: str, soft_deleted: bool) -> None:
    """GET /buffers/{id}."""
    found = invocation.ask("GET", path_of(buffer_id), query=_soft_deleted(soft_deleted))
    invocation.console.one(fields.BUFFER, found)


@command.command(
    name="set",
    help=groups.describe(
        "Change a buffer's tags or the end of its life, and print it as it is afterwards.\n\n"
        "The given tags are merged into those it has; with --clear-tags they replace them.",
        examples=(
            "tyger buffer set ID --tag state=checked",
            "tyger buffer set ID --clear-tags",
            "tyger buffer set ID --ttl 0.12",
        ),
        exit_status=NO_SUCH + ", 75 when its ETag is another.",
    ),
)
@flags.one("buffer_id", "buffer ID")
@flags.map_option("--tag", "tags", help="Tag to set. May be repeated.")
@click.option("--clear-tags", is_flag=True, help="Remove all other tags.")
@click.option(
    "--ttl",
    type=flags.TTL,
    metavar="TTL",
    help="New life, from now on: D, D.HH, D.HH:MM or D.HH:MM:SS; 0 ends it now.",
)
@click.option("--etag", metavar="ETAG", help="Change it only if it still has this ETag.")
@click.option("--soft-deleted", is_flag=True, help="Change a deleted buffer instead of an active one.")
@click.pass_obj
def set_(
    invocation: session.Session,
    buffer_id: str,
    tags: Mapping[str, str],
    clear_tags: bool,
    ttl: dt.timedelta | None,
    etag: str | None,
    soft_deleted: bool,
) -> None:
    """GET, merge, PUT /buffers/{id}."""
    updated = resource.update(
        invocation,
        path_of(buffer_id),
        query=_soft_deleted(soft_deleted),
        tags=tags,
        clear_tags=clear_tags,
        etag=etag,
        expires_at=None if ttl is None else _expiry(ttl),
    )
    invocation.console.one(fields.BUFFER, updated)


@command.command(
    name="list",
    help=groups.describe(
        "List buffers as a JSON array, the newest first.",
        examples=(
            "tyger buffer list --tag project=heart --exclude-tag state=checked",
            "tyger buffer list --output table",
        ),
        exit_status="0 on success.",
    ),
)
@flags.map_option("--tag", "tags", help="Only buffers with this tag. Repeat it to ask for several at once.")
@flags.map_option("--exclude-tag", "exclude_tags", help="No buffers with this tag. May be repeated.")
@click.option("--soft-deleted", is_flag=True, help="List the deleted buffers instead of the active ones.")
@flags.limit_option()
@layouts.option()
@click.pass_obj
def list_(
    invocation: session.Session,
    tags: Mapping[str, str],
    exclude_tags: Mapping[str, str],
    soft_deleted: bool,
    limit: int | None,
) -> None:
    """GET /buffers."""
    query = resource.tag_filters(tags, exclude_tags) + _soft_deleted(soft_deleted)
    listing.show(invocation, fields.BUFFER, "/buffers", query, limit)


@command.command(
    name="access",
    help=groups.describe(
        "Print a URL that gives access to a buffer's blocks, for programs that speak its protocol.",
        examples=("tyger buffer access ID --write",),
        exit_status=NO_SUCH + ".",
    ),
)
@flags.one("buffer_id", "buffer ID")
@click.option("-w", "--write", is_flag=True, help="The URL allows writing, not only reading.")
@flags.access_ttl_option()
@click.pass_obj
def access(invocation: session.Session, buffer_id: str, write: bool, access_ttl: dt.timedelta | None) -> None:
    """POST /buffers/{id}/access."""
    query = [("writeable", "true" if write else "false")]
    if access_ttl is not None:
        query.append(("ttl", units.format_ttl(access_ttl)))
    granted = invocation.ask("POST", path_of(buffer_id) + "/access", query=query)
    invocation.console.text(str(granted.get("uri", "")))


@command.group(
    cls=groups.Group,
    name="storage-account",
    help="Look at the places where buffers are kept.",
    short_help="Look at the places where buffers are kept.",
)
def storage_account() -> None:
    """Group; see `groups.Group`."""


@storage_account.command(
    name="list",
    help=groups.describe(
        "List the places where buffers are kept, as a JSON array: storage accounts, and this host.",
        examples=("tyger buffer storage-account list",),
        exit_status="0 on success.",
    ),
)
@layouts.option()
@click.pass_obj
def list_storage_accounts(invocation: session.Session) -> None:
    """GET /buffers/storage-accounts."""
    accounts = invocation.request("GET", "/buffers/storage-accounts").json()
    if not isinstance(accounts, list):
        raise errors.Problem(errors.PROTOCOL, "unable to understand server response: not a JSON array")
    invocation.console.several(fields.STORAGE_ACCOUNT, accounts)


def path_of(buffer_id: str) -> str:
    """The path of one buffer."""
    return "/buffers/" + session.segment(buffer_id, "buffer ID")


def _soft_deleted(chosen: bool) -> list[tuple[str, str]]:
    return [("softDeleted", "true")] if chosen else []


def _expiry(ttl: dt.timedelta) -> str:
    """The instant that lies `ttl` ahead on this machine's clock.

    Raises:
        Problem: INVALID_INPUT when the calendar has no such instant.
    """
    try:
        return units.format_timestamp(dt.datetime.now(dt.UTC) + ttl)
    except OverflowError:
        raise errors.Problem(errors.INVALID_INPUT, f"the TTL {units.format_ttl(ttl)} is too long") from None
