"""Buffers over HTTP, contract rest-api.md section 4."""

from __future__ import annotations

from tyger import model
from tygerd.api import context, described, paging, params
from tygerd.buffers import service, states, tags
from tygerd.copying import orders
from tygerd.http import messages, router


async def create(app: context.App, request: messages.Request, body: model.Buffer) -> messages.Response:
    """Make a buffer."""
    made = await app.buffers.create(body, request.peer.uid)
    return messages.Response(201, made, [*_etag(made), ("Location", f"/buffers/{made.id}")])


async def index(app: context.App, request: messages.Request) -> messages.Response:
    """List buffers, newest first."""
    found = await app.buffers.page(
        limit=params.limit(request.query),
        soft_deleted=params.soft_deleted(request.query),
        chosen=_filter(request),
        after=paging.after_moment(request.query, tuple[int, str]),
    )
    continuation = None if found.last is None else paging.moment_token(found.last)
    return messages.Response(body=paging.page(request, found.items, continuation))


async def count(app: context.App, request: messages.Request) -> messages.Response:
    """Count buffers that have not expired."""
    soft_deleted = params.soft_deleted_or_any(request.query)
    return messages.Response(body=await app.buffers.count(soft_deleted=soft_deleted, chosen=_filter(request)))


async def show(app: context.App, request: messages.Request) -> messages.Response:
    """Show a buffer."""
    found = await app.buffers.get(request.params["id"], soft_deleted=params.soft_deleted(request.query))
    return messages.Response(200, found, _etag(found))


async def update(app: context.App, request: messages.Request, body: model.BufferUpdate) -> messages.Response:
    """Replace a buffer's tags and set its expiry."""
    tags.check_amount(body.tags)
    changed = await app.buffers.update(
        request.params["id"],
        body,
        soft_deleted=params.soft_deleted(request.query),
        if_match=request.headers.get("If-Match"),
    )
    return messages.Response(200, changed, _etag(changed))


async def delete(app: context.App, request: messages.Request) -> messages.Response:
    """Soft-delete an active buffer, or set the expiry of a soft-deleted one (purge)."""
    moved = await app.buffers.move(_deletion(request), request.params["id"], params.ttl(request.query))
    return messages.Response(body=moved)


async def delete_all(app: context.App, request: messages.Request) -> messages.Response:
    """The same for all that match."""
    ttl = params.ttl(request.query)
    return messages.Response(body=await app.buffers.move_all(_deletion(request), _filter(request), ttl))


async def restore(app: context.App, request: messages.Request) -> messages.Response:
    """Make a soft-deleted buffer active again."""
    return messages.Response(body=await app.buffers.move("restore", request.params["id"]))


async def restore_all(app: context.App, request: messages.Request) -> messages.Response:
    """The same for all that match."""
    return messages.Response(body=await app.buffers.move_all("restore", _filter(request)))


async def access(app: context.App, request: messages.Request) -> messages.Response:
    """Sign an access URL.

    `preferTcp` has one that other machines can use, where there is one. `fromDocker` is read and changes
    nothing.
    """
    writeable = params.flag(request.query, "writeable")
    over_tcp = params.flag(request.query, "preferTcp") and app.config.store.local.listen is not None
    params.flag(request.query, "fromDocker")
    ttl = params.ttl(request.query)
    uri = await app.buffers.access_url(request.params["id"], writeable=writeable, ttl=ttl, over_tcp=over_tcp)
    return messages.Response(201, model.BufferAccess(uri=uri))


async def storage_accounts(app: context.App, request: messages.Request) -> messages.Response:  # noqa: ARG001 - a handler's shape
    """Say where buffers are kept."""
    return messages.Response(body=app.buffers.storage_accounts())


async def export(
    app: context.App, request: messages.Request, body: model.ExportBuffersRequest
) -> messages.Response:
    """Copy buffers to another account, as a run."""
    return await _copy(app, request, orders.export(body, app.places))


async def import_(
    app: context.App, request: messages.Request, body: model.ImportBuffersRequest
) -> messages.Response:
    """Make buffers of what was exported to an account, as a run."""
    return await _copy(app, request, orders.import_(body, app.places, request.peer.uid))


async def _copy(app: context.App, request: messages.Request, order: orders.Order) -> messages.Response:
    run = await app.runs.create_system(orders.codespec(order), request.peer.uid, orders.TIMEOUT)
    return messages.Response(201, run, [("Location", f"/runs/{run.id}")])


def _filter(request: messages.Request) -> service.Filter:
    return service.Filter(params.tags(request.query), params.tags(request.query, "excludeTag"))


def _deletion(request: messages.Request) -> states.Operation:
    return "purge" if params.soft_deleted(request.query) else "delete"


def _etag(buffer: model.Buffer) -> list[tuple[str, str]]:
    return [("ETag", buffer.e_tag or "")]


_TAGS = {
    "tag": described.with_tags("only buffers with all of these tags"),
    "excludeTag": described.with_tags("no buffer with any of these tags"),
}
_STATE = {"softDeleted": described.flag("soft-deleted buffers instead of active ones")}
_TTL = {"ttl": described.span("how long the buffer can still be restored")}
_ACCESS = {
    "writeable": described.flag("the URL may also create blobs"),
    "ttl": described.span("how long the URL is valid, 30 seconds to 1 hour"),
    "preferTcp": described.flag("a URL that other machines can use, if store.local.listen is set"),
    "fromDocker": described.flag("accepted, without effect"),
}
_MISSING = [described.NOT_FOUND]
_MISSING_OR_CHANGED = [described.NOT_FOUND, described.CHANGED]

ROUTES = [
    router.Route(
        "POST", "/buffers", create, "Create a buffer", operation="createBuffer",
        body=model.Buffer, normalized=True, status=201, response=model.Buffer,
        headers=described.ETAG | described.LOCATION,
    ),
    router.Route(
        "GET", "/buffers", index, "List buffers", operation="getBuffers",
        query=described.PAGE | _STATE | _TAGS, response=model.BufferPage,
    ),
    router.Route(
        "DELETE", "/buffers", delete_all, "Delete or purge buffers", operation="deleteBuffers",
        access="owner", query=_TTL | _STATE | _TAGS, response=int,
    ),
    router.Route(
        "POST", "/buffers/restore", restore_all, "Restore buffers", operation="restoreBuffers",
        access="owner", query=_TAGS, response=int,
    ),
    router.Route(
        "GET", "/buffers/count", count, "Count buffers", operation="getBufferCount",
        query=_STATE | _TAGS, response=int,
    ),
    router.Route(
        "GET", "/buffers/storage-accounts", storage_accounts, "List storage accounts",
        operation="getStorageAccounts", response=list[model.StorageAccount],
    ),
    router.Route(
        "POST", "/buffers/export", export, "Export buffers", operation="exportBuffers",
        body=model.ExportBuffersRequest, normalized=True, access="owner",
        status=201, response=model.Run, headers=described.LOCATION,
    ),
    router.Route(
        "POST", "/buffers/import", import_, "Import buffers", operation="importBuffers",
        body=model.ImportBuffersRequest, normalized=True, access="owner",
        status=201, response=model.Run, headers=described.LOCATION,
    ),
    router.Route(
        "GET", "/buffers/{id}", show, "Show a buffer", operation="getBufferById",
        query=_STATE, response=model.Buffer, headers=described.ETAG, also=_MISSING,
    ),
    router.Route(
        "PUT", "/buffers/{id}", update, "Set a buffer's tags and expiry", operation="setBufferTags",
        body=model.BufferUpdate, query=_STATE, asks=described.IF_MATCH,
        response=model.Buffer, headers=described.ETAG, also=_MISSING_OR_CHANGED,
    ),
    router.Route(
        "DELETE", "/buffers/{id}", delete, "Delete or purge a buffer", operation="deleteBuffer",
        access="owner", query=_TTL | _STATE, response=model.Buffer, also=_MISSING_OR_CHANGED,
    ),
    router.Route(
        "POST", "/buffers/{id}/restore", restore, "Restore a buffer", operation="restoreBuffer",
        access="owner", response=model.Buffer, also=_MISSING_OR_CHANGED,
    ),
    router.Route(
        "POST", "/buffers/{id}/access", access, "Get an access URL", operation="getBufferAccessString",
        query=_ACCESS, status=201, response=model.BufferAccess, also=_MISSING,
    ),
]  # fmt: skip
