"""Ephemeral buffers over HTTP: the relay protocol of contract buffers.md 11, and descriptors that ride in.

A signature is checked as for a blob (`blobs`), over the ID's last part, once, when a transfer begins. Our own
client passes its pipe instead; docs/design.md, "Ephemeral buffers", describes that. One difference: HEAD
always succeeds. A client waits, however long, for a HEAD that does; what is wrong PUT and GET say.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import msgspec
import trio

from tyger import errors, model, pipes
from tygerd.api import blobs, context, described, refusals
from tygerd.buffers import ids
from tygerd.http import messages, router
from tygerd.osutil import fds
from tygerd.streams import relay

CHUNK = 256 * 1024
"""Bytes of an upload or download that are moved at a time. Fewer cost more hops between threads."""

_encode = msgspec.json.Encoder().encode
# --- HTTP bodies -----------------------------------------------------------------------------------------


async def head(app: context.App, request: messages.Request) -> messages.Answer:  # noqa: ARG001 - a handler's shape
    """Say that a transfer may begin."""
    return messages.Response(200 if ids.kind(request.params["buffer"]) == "relayed" else 404)


@refusals.answers
async def put(app: context.App, request: messages.Request) -> messages.Answer:
    """Pass a body on to the job as it comes; what a job that has ended never asked for is thrown away."""
    found = _found(app, request)
    _authorize(app, request, "c")
    with _pipe() as (reader, writer):
        end = relay.End("writer", reader.fileno(), comes_back=False)
        if found.direction == "output":
            raise refusals.Refused(405)
        if not found.never_opened:
            _claim(found, end, 400)
            try:
                await _until_over(found, lambda: _upload(found, request, writer))
            finally:
                await found.leave(end, gone=True)
    if found.phase is relay.Phase.COMPLETE:
        return messages.Response(202)
    if not found.never_opened:
        raise refusals.Refused(500)
    async for _ in request.data:
        pass
    return messages.Response(202)


async def _upload(found: relay.Relay, request: messages.Request, writer: fds.OwnedFd) -> None:
    """Put the body into the pipe and say how it ended. While a thread writes, what comes is collected."""
    collected = bytearray()
    stirred = trio.Event()
    whole: bool | None = None

    def stir() -> None:
        nonlocal stirred
        stirred.set()
        stirred = trio.Event()

    async def collect() -> None:
        nonlocal whole
        try:
            async for piece in request.data:
                while len(collected) >= CHUNK:
                    await stirred.wait()
                collected.extend(piece)
                stir()
            whole = True
        except errors.Problem:
            whole = False
        stir()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        while collected or whole is None:
            if not collected:
                await stirred.wait()
                continue
            left = memoryview(bytes(collected))
            collected.clear()
            stir()
            while left:
                await trio.lowlevel.wait_writable(writer.fileno())
                left = left[await _in_thread(_write, writer.fileno(), left) :]
    if not whole:
        found.say("failed", relay.WRITER_GONE)
        return
    writer.close()
    while not found.over.is_set():
        if found.phase is relay.Phase.ENDED:
            found.say("complete", None)
            return
        await found.changed.wait()


@refusals.answers
async def get(app: context.App, request: messages.Request) -> messages.Answer:
    """Pass on what the job writes, as it comes."""
    found = _found(app, request)
    _authorize(app, request, "r")
    if found.direction == "input":
        raise refusals.Refused(405)
    if found.never_opened:
        raise refusals.Refused(500, "FailedToOpenReader")
    reader, writer = _ends()
    end = relay.End("reader", writer.fileno(), comes_back=False)
    try:
        _claim(found, end, 400)
    except BaseException:
        reader.close()
        writer.close()
        raise

    async def run(sink: messages.Sink) -> None:
        with reader, writer:
            try:
                await _download(found, reader, writer, sink)
            finally:
                await found.leave(end, gone=True)
        if found.phase is not relay.Phase.COMPLETE:
            sink.trailer(refusals.HEADER, _trailer(found))

    return messages.StreamResponse(
        run, 200, [("Content-Type", "application/octet-stream"), ("Trailer", refusals.HEADER)]
    )


async def _download(
    found: relay.Relay, reader: fds.OwnedFd, writer: fds.OwnedFd, sink: messages.Sink
) -> None:
    """Send until the stream is over and the pipe is empty."""

    async def close_when_over() -> None:
        await found.over.wait()
        await found.halted()
        writer.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close_when_over)
        while True:
            await trio.lowlevel.wait_readable(reader.fileno())
            data = await _in_thread(os.read, reader.fileno(), CHUNK)
            if not data:
                return
            await sink.send(data)


def _trailer(found: relay.Relay) -> str:
    if found.never_opened:
        return "FailedToOpenReader" if found.reason == relay.FAILED_TO_OPEN else "ContextCancelled"
    return "TransferFailed"


def _write(fd: int, data: memoryview) -> int:
    """Write what there is room for. Raises OSError."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0


async def _in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """Touch a pipe of ours: whoever holds the pipe that it is spliced with may hold its lock, too."""
    return await trio.to_thread.run_sync(work, *arguments, limiter=trio.CapacityLimiter(1))


async def _until_over(found: relay.Relay, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work`, or as much of it as there is time for until the stream is over."""
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await found.over.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        await work()
        nursery.cancel_scope.cancel()


def _ends() -> tuple[fds.OwnedFd, fds.OwnedFd]:
    """A pipe of ours. Its ends do not block: nobody else has them."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    pipes.enlarge(writer)
    return fds.OwnedFd(reader), fds.OwnedFd(writer)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[fds.OwnedFd, fds.OwnedFd]]:
    reader, writer = _ends()
    with reader, writer:
        yield reader, writer


def _found(app: context.App, request: messages.Request) -> relay.Relay:
    try:
        return app.relays.find(request.params["buffer"])
    except errors.Problem:
        raise refusals.Refused(404, "ContainerNotFound") from None


def _authorize(app: context.App, request: messages.Request, letter: str) -> None:
    if (code := blobs.objection(app, request, ids.bare(request.params["buffer"]), letter)) is not None:
        raise refusals.Refused(403, code)


def _claim(found: relay.Relay, end: relay.End, status: int) -> None:
    try:
        found.claim(end)
    except relay.AlreadyCalledError:
        raise refusals.Refused(status, "AlreadyCalled") from None
    except errors.Problem:
        raise refusals.Refused(500, "TransferFailed") from None


# --- descriptors -----------------------------------------------------------------------------------------


async def write(app: context.App, request: messages.Request, body: model.RelayEnd) -> messages.StreamResponse:
    """Write from a pipe whose read end comes along, and stay with it."""
    return _attachment(app, request, body, "writer")


async def read(app: context.App, request: messages.Request, body: model.RelayEnd) -> messages.StreamResponse:
    """Read into a pipe whose write end comes along, and stay with it."""
    return _attachment(app, request, body, "reader")


def _attachment(
    app: context.App, request: messages.Request, body: model.RelayEnd, role: relay.Role
) -> messages.StreamResponse:
    found = app.relays.find(request.params["buffer"])
    end = relay.End(role, _passed(request, role), of_job=body.job, joined=body.joined)
    found.claim(end)

    async def run(sink: messages.Sink) -> None:
        async def report(event: Mapping[str, Any]) -> None:
            await sink.send(_encode(event) + b"\n")

        try:
            await found.follow(end, report)
        finally:
            await found.leave(end, gone=sink.ended_by is not messages.EndedBy.DAEMON_STOPS)

    return messages.StreamResponse(run, 201, [("Content-Type", "application/x-ndjson")])


def _passed(request: messages.Request, role: relay.Role) -> int:
    """The descriptor that came along; still the request's.

    Raises:
        Problem: BAD_REQUEST, it cannot be spliced.
    """
    (pipe,) = request.fds
    if not stat.S_ISFIFO(os.fstat(pipe.fileno()).st_mode):
        raise errors.Problem(errors.BAD_REQUEST, "the descriptor is not a pipe")
    flags = fcntl.fcntl(pipe.fileno(), fcntl.F_GETFL)
    wrong, name = (os.O_WRONLY, "write") if role == "writer" else (os.O_RDONLY, "read")
    if flags & os.O_ACCMODE == wrong:
        raise errors.Problem(errors.BAD_REQUEST, f"the descriptor is the {name} end of its pipe")
    if role == "reader" and flags & os.O_APPEND:
        raise errors.Problem(errors.BAD_REQUEST, "the descriptor appends, which cannot be spliced to")
    return pipe.fileno()


async def say(app: context.App, request: messages.Request, body: model.Outcome) -> messages.Response:
    """Hear how the producer ended."""
    app.relays.find(request.params["buffer"]).say(body.outcome, body.reason)
    return messages.Response(204)


_RELAY = "/relays/{buffer}"
_HEADERS = {refusals.HEADER: router.Parameter("what is wrong, a word")}
_REFUSALS = [router.Reply(400), *(router.Reply(status, headers=_HEADERS) for status in (400, 403, 404, 500))]
_WRONG_WAY = router.Reply(405)
_ENDS = [described.NOT_FOUND, described.CONFLICT]


def _row(
    method: str, handler: refusals.Handler, summary: str, operation: str, *also: router.Reply, **more: Any
) -> router.Route:
    # Who comes with a valid signature needs no role.
    return router.Route(
        method, _RELAY, handler, summary,
        operation=operation, access="anonymous", versioned=False, query=blobs.SIGNED, also=also, **more,
    )  # fmt: skip


ROUTES = [
    _row("HEAD", head, "May a transfer begin", "headRelay", router.Reply(404)),
    _row(
        "PUT", put, "Write to an ephemeral buffer", "putRelay", *_REFUSALS, _WRONG_WAY,
        status=202, streams_body=True, endless=True,
    ),
    _row(
        "GET", get, "Read an ephemeral buffer", "getRelay", *_REFUSALS, _WRONG_WAY,
        media=described.BYTES, response=Any,
    ),
    router.Route(
        "POST", f"{_RELAY}/write", write, "Write to an ephemeral buffer from a pipe", operation="writeRelay",
        versioned=False, fds=1, body=model.RelayEnd,
        status=201, media=described.LINES, response=Any, also=_ENDS,
    ),
    router.Route(
        "POST", f"{_RELAY}/read", read, "Read an ephemeral buffer into a pipe", operation="readRelay",
        versioned=False, fds=1, body=model.RelayEnd,
        status=201, media=described.LINES, response=Any, also=_ENDS,
    ),
    router.Route(
        "POST", f"{_RELAY}/outcome", say, "Say how the producer ended", operation="endRelay",
        versioned=False, body=model.Outcome, status=204, also=_ENDS,
    ),
]  # fmt: skip
