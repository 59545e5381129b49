"""Transfers over HTTP: a pipe that rides in with a request, and verified bytes that stream out.

The protocol is described in docs/design.md, "Transfers".
"""

from __future__ import annotations

import fcntl
import stat
from os import O_ACCMODE, O_WRONLY, fstat
from typing import Any

import msgspec

from tyger import errors, model
from tygerd.api import context
from tygerd.http import messages, router
from tygerd.osutil import fds
from tygerd.streams import transfers, write

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
                event["transfer"] = transfers.describe_write(entry)
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
    return messages.Response(body=transfers.describe_write(entry))


async def cancel(app: context.App, request: messages.Request) -> messages.Response:
    """Fail a write that is not over."""
    return messages.Response(body=await app.transfers.cancel(request.params["id"]))


async def read(app: context.App, request: messages.Request) -> messages.StreamResponse:
    """Stream a buffer's verified bytes, waiting for those that are not yet written."""
    buffer = request.params["buffer"]
    offset = _number(request, "offset") or 0
    length = _number(request, "length")
    await app.buffers.get(buffer)

    async def run(sink: messages.Sink) -> None:
        async with app.transfers.reading(buffer, offset, length, request.peer.uid) as (entry, ahead):
            while (piece := await ahead.next()) is not None:
                await sink.send_file(*piece)
                entry.bytes += piece.length
            entry.whole = True

    return messages.StreamResponse(
        run, 200, [("Content-Type", "application/octet-stream"), ("Trailer", "Tyger-Error")]
    )


def _number(request: messages.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise errors.Problem(errors.BAD_REQUEST, f"{name} must be a number of bytes")
    return int(text)


async def index(app: context.App, request: messages.Request) -> messages.Response:  # noqa: ARG001 - a handler's shape
    """List transfers."""
    return messages.Response(body={"items": app.transfers.list()})


async def show(app: context.App, request: messages.Request) -> messages.Response:
    """Show one transfer."""
    return messages.Response(body=await app.transfers.show(request.params["id"]))


_RANGE = {"offset": "first byte of the stream to deliver", "length": "how many bytes to deliver at most"}

ROUTES = [
    router.Route(
        "POST", "/transfers", create, "Write a buffer from a pipe",
        versioned=False, fds=1, body=model.WriteRequest, status=201,
    ),
    router.Route(
        "POST", "/transfers/{id}/attach", attach, "Come back to a write",
        versioned=False, fds=1, status=201,
    ),
    router.Route(
        "POST", "/transfers/{id}/outcome", say, "Say how the producer ended",
        versioned=False, body=model.Outcome, response=model.Transfer,
    ),
    router.Route(
        "POST", "/transfers/{id}/cancel", cancel, "Fail a write",
        versioned=False, response=model.Transfer,
    ),
    router.Route("GET", "/transfers/read/{buffer}", read, "Read a buffer", versioned=False, query=_RANGE),
    router.Route("GET", "/transfers", index, "List transfers", versioned=False),
    router.Route("GET", "/transfers/{id}", show, "Show a transfer", versioned=False, response=model.Transfer),
]  # fmt: skip
