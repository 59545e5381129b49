"""Transfers over HTTP: a pipe that rides in with a request, and verified bytes that stream out.

The protocol is described in docs/design.md, "Transfers".
"""

from __future__ import annotations

import fcntl
import stat
from collections.abc import Awaitable, Callable
from os import O_ACCMODE, O_WRONLY, fstat
from typing import Any

import msgspec

from tyger import errors, model
from tygerd.api import context, described, params
from tygerd.http import messages, router
from tygerd.osutil import fds
from tygerd.streams import describe, reads, span, write

_encode = msgspec.json.Encoder().encode


async def create(
    app: context.App, request: messages.Request, body: model.WriteRequest
) -> messages.StreamResponse:
    """Begin a write, and stay with it."""
    pipe = _pipe(request)
    entry = await app.transfers.create_write(body, request.peer.uid)
    return _attachment(app, request, entry, pipe)


async def attach(app: context.App, request: messages.Request) -> messages.StreamResponse:
    """Come back to a write, after the daemon was away."""
    pipe = _pipe(request)
    entry = await app.transfers.find_write(request.params["id"])
    return _attachment(app, request, entry, pipe)


def _pipe(request: messages.Request) -> fds.OwnedFd:
    """The descriptor that came along; still the request's.

    Only pipes are taken: a `read()` between a descriptor and a file loses bytes when the process dies.
    """
    (pipe,) = request.fds
    if not stat.S_ISFIFO(fstat(pipe.fileno()).st_mode):
        raise errors.Problem(errors.BAD_REQUEST, "the descriptor is not a pipe")
    if fcntl.fcntl(pipe.fileno(), fcntl.F_GETFL) & O_ACCMODE == O_WRONLY:
        raise errors.Problem(errors.BAD_REQUEST, "the descriptor is the write end of its pipe")
    return pipe


def _attachment(
    app: context.App, request: messages.Request, entry: write.Write, pipe: fds.OwnedFd
) -> messages.StreamResponse:
    async def run(sink: messages.Sink) -> None:
        async def report(event: dict[str, Any]) -> None:
            if event["event"] == "attached":
                event["transfer"] = describe.of_write(entry)
            await sink.send(_encode(event) + b"\n")

        try:
            await entry.attach(pipe, report)
        finally:
            if sink.ended_by is messages.EndedBy.PEER_GONE:
                request.take_fds()
                app.transfers.abandon_soon(entry, pipe)

    return messages.StreamResponse(
        run, 201, [("Content-Type", "application/x-ndjson"), ("Transfer-Id", entry.settings.id)]
    )


async def say(app: context.App, request: messages.Request, body: model.Outcome) -> messages.Response:
    """Hear how the producer ended."""
    entry = await app.transfers.find_write(request.params["id"])
    await entry.say(body.outcome, body.reason)
    return messages.Response(body=describe.of_write(entry))


async def renew(app: context.App, request: messages.Request, body: model.NewAccess) -> messages.Response:
    """Take another access URL for a write that was begun with one."""
    entry = await app.transfers.find_write(request.params["id"])
    app.transfers.renew_access(entry, body.url)
    return messages.Response(body=describe.of_write(entry))


async def pause(app: context.App, request: messages.Request) -> messages.Response:
    """Send nothing more of a write for now."""
    return messages.Response(body=await app.transfers.pause(request.params["id"]))


async def resume(app: context.App, request: messages.Request) -> messages.Response:
    """Go on after a pause or a stall."""
    return messages.Response(body=await app.transfers.resume(request.params["id"]))


async def cancel(app: context.App, request: messages.Request) -> messages.Response:
    """Fail a write that is not over."""
    return messages.Response(body=await app.transfers.cancel(request.params["id"]))


async def read(app: context.App, request: messages.Request) -> messages.StreamResponse:
    """Stream a buffer's verified bytes, waiting for those that are not yet written."""
    wanted = span.Span(
        offset=_number(request, "offset") or 0,
        length=_number(request, "length"),
        follow="follow" not in request.query or params.flag(request.query, "follow"),
        block=_number(request, "block") or 0,
        start=_number(request, "start") or 0,
    )
    _check(wanted)
    entry, run = await app.transfers.new_read(request.params["buffer"], wanted, request.peer.uid)
    return _stream(entry, run)


async def read_by_url(
    app: context.App, request: messages.Request, body: model.ReadRequest
) -> messages.StreamResponse:
    """The same behind an access URL."""
    wanted = span.Span(body.offset, body.length, body.follow, body.block, body.start)
    _check(wanted)
    entry, run = app.transfers.new_read_by_url(body.url, wanted, request.peer.uid)
    return _stream(entry, run)


def _stream(entry: reads.Read, run: Callable[[reads.Sink], Awaitable[None]]) -> messages.StreamResponse:
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("Trailer", "Tyger-Error"),
        ("Transfer-Id", entry.id),
    ]
    return messages.StreamResponse(run, 200, headers)


def _check(wanted: span.Span) -> None:
    numbers = (wanted.offset, wanted.length or 0, wanted.block, wanted.start)
    if min(numbers) < 0 or max(numbers) >= 1 << 63:
        raise errors.Problem(errors.BAD_REQUEST, "offset, length, block and start must be numbers of bytes")
    if wanted.start > wanted.offset:
        raise errors.Problem(errors.BAD_REQUEST, "start must not be beyond offset")


def _number(request: messages.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise errors.Problem(errors.BAD_REQUEST, f"{name} must be a number of bytes")
    return int(text)


async def index(app: context.App, request: messages.Request) -> messages.Response:  # noqa: ARG001 - a handler's shape
    """List transfers."""
    return messages.Response(body={"items": app.transfers.every()})


async def show(app: context.App, request: messages.Request) -> messages.Response:
    """Show one transfer."""
    return messages.Response(body=await app.transfers.show(request.params["id"]))


async def watch(app: context.App, request: messages.Request) -> messages.StreamResponse:
    """Tell of a transfer whenever it changes, until it is over."""
    await app.transfers.show(request.params["id"])

    async def run(sink: messages.Sink) -> None:
        async def send(transfer: model.Transfer) -> None:
            await sink.send(_encode(transfer) + b"\n")

        await app.transfers.watch(request.params["id"], send)

    return messages.StreamResponse(run, 200, [("Content-Type", "application/x-ndjson")])


_RANGE = {
    "offset": router.Parameter("first byte of the stream to deliver", described.SIZE),
    "length": router.Parameter("how many bytes to deliver at most", described.SIZE),
    "follow": router.Parameter(
        "whether to wait for what is not yet written", {"type": "boolean", "default": True}
    ),
    "block": router.Parameter(
        "a block that is known to begin at byte `start`: nobody has to look for it", described.SIZE
    ),
    "start": router.Parameter("first byte of that block", described.SIZE),
}
_ID = {"Transfer-Id": router.Parameter("the transfer that has begun")}
_MISSING = [described.NOT_FOUND]
_MISSING_OR_OVER = [described.NOT_FOUND, described.CONFLICT]

ROUTES = [
    router.Route(
        "POST", "/transfers", create, "Write a buffer from a pipe", operation="createWrite",
        versioned=False, fds=1, body=model.WriteRequest,
        status=201, media=described.LINES, response=Any, headers=_ID, also=_MISSING_OR_OVER,
    ),
    router.Route(
        "POST", "/transfers/{id}/attach", attach, "Come back to a write", operation="attachWrite",
        versioned=False, fds=1,
        status=201, media=described.LINES, response=Any, headers=_ID, also=_MISSING_OR_OVER,
    ),
    router.Route(
        "POST", "/transfers/{id}/outcome", say, "Say how the producer ended", operation="endWrite",
        versioned=False, body=model.Outcome, response=model.Transfer, also=_MISSING_OR_OVER,
    ),
    router.Route(
        "POST", "/transfers/{id}/cancel", cancel, "Fail a write", operation="cancelTransfer",
        versioned=False, response=model.Transfer, also=_MISSING_OR_OVER,
    ),
    router.Route(
        "POST", "/transfers/{id}/access", renew, "Bring another access URL", operation="renewAccess",
        versioned=False, body=model.NewAccess, response=model.Transfer,
        also=[*_MISSING_OR_OVER, described.FORBIDDEN],
    ),
    router.Route(
        "POST", "/transfers/{id}/pause", pause, "Pause the shipping of a write", operation="pauseTransfer",
        versioned=False, response=model.Transfer, also=_MISSING_OR_OVER,
    ),
    router.Route(
        "POST", "/transfers/{id}/resume", resume, "Resume the shipping of a write",
        operation="resumeTransfer", versioned=False, response=model.Transfer, also=_MISSING_OR_OVER,
    ),
    router.Route(
        "POST", "/transfers/read", read_by_url, "Read behind an access URL", operation="readByUrl",
        versioned=False, body=model.ReadRequest,
        media=described.BYTES, response=Any, headers=_ID, also=[described.FORBIDDEN, *_MISSING_OR_OVER],
    ),
    router.Route(
        "GET", "/transfers/{id}/watch", watch, "Follow a transfer", operation="watchTransfer",
        versioned=False, media=described.LINES, response=Any, also=_MISSING,
    ),
    router.Route(
        "GET", "/transfers/read/{buffer}", read, "Read a buffer", operation="readBuffer",
        versioned=False, query=_RANGE,
        media=described.BYTES, response=Any, headers=_ID, also=_MISSING_OR_OVER,
    ),
    router.Route(
        "GET", "/transfers", index, "List transfers", operation="getTransfers",
        versioned=False, response=model.Transfers,
    ),
    router.Route(
        "GET", "/transfers/{id}", show, "Show a transfer", operation="getTransferById",
        versioned=False, response=model.Transfer, also=_MISSING,
    ),
]  # fmt: skip
