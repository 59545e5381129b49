"""One client's connection: requests in, one handler each, answers out. The one catch per request.

Theory of operation. h11 says what state a connection is in; this module moves bytes. A request is routed as
soon as its head is there, its body is read next (or handed on as a stream), then its handler is called. While
a stream is sent, a second task reads: end of file means that the client is gone and cancels the stream. A
request that brings descriptors is alone on its connection until it is answered. Nothing here outlives the
connection.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
import trio

from tyger import errors
from tygerd import config
from tygerd.http import body, heads, messages, problems, receive, router, sending, tls

IDLE = 150
"""Seconds without a byte from a client that owes us one. Clients rely on 130 (rest-api.md 1.5)."""

HEAD_PATIENCE = 60
"""Seconds for a request's head from its first byte on: one that drips in holds no connection for long."""

LINGER = 5
"""Seconds that what a refused client still sends is thrown away, so that it gets to read the answer."""

SHORT = 16 * 1024
"""Bytes of a JSON body that is decoded at once; a longer one in a thread. Clients send shorter ones."""

PIPELINED = 64 * 1024
"""Bytes of following requests that are kept while a stream runs."""

_decoding = trio.CapacityLimiter(2)  # processor, not waiting: more would only take turns

logger = logging.getLogger(__name__)


@dataclass
class Site:
    """What all connections of a daemon share."""

    app: Any
    router: router.Router
    limits: config.Limits
    version: str
    fds: receive.Quota
    threads: trio.CapacityLimiter
    life: str
    """Part of every request's id, so that the ids of two lives of the daemon differ."""
    requests: int = 0
    """How many were begun."""

    def next_id(self) -> str:
        """A new request's id."""
        self.requests += 1
        return f"{self.life}:{self.requests:08X}"


class _Closed(Exception):  # noqa: N818 - control flow inside this module
    """The client closed between two requests, or said nothing for too long, or the daemon stops."""


class Connection:
    """Serves one accepted socket, which it closes."""

    def __init__(self, sock: tls.Socket, peer: messages.Peer, site: Site) -> None:
        self._sock = sock
        self._peer = peer
        self._site = site
        self._framing = h11.Connection(h11.SERVER, max_incomplete_event_size=heads.MAX_LENGTH)
        self._receiver = receive.Receiver(sock, peer, site.fds)
        self._sender = sending.Sender(sock, self._framing, site.threads, site.version)
        self._idle: trio.CancelScope | None = None
        self._stream: tuple[sending.ChunkSink, trio.CancelScope] | None = None
        self._stopping = False
        self._unusable = False
        """Bytes or descriptors were lost or came where none belong: close after the answer."""

    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self._framing.their_state is h11.IDLE

    def stop(self) -> None:
        """The daemon stops: close if idle, cut a stream, finish a request and then close."""
        self._stopping = True
        if self._idle is not None:
            self._idle.cancel()
        self._end_stream(messages.EndedBy.DAEMON_STOPS)

    async def serve(self) -> None:
        """Serve requests until either side closes. Cancelled, the connection is cut."""
        try:
            while await self._serve_one():
                self._framing.start_next_cycle()
            await self._linger()
        except (_Closed, sending.PeerGone):
            pass
        finally:
            await self._receiver.aclose()
            self._sock.close()

    async def _serve_one(self) -> bool:
        """Serve one request; whether another may follow."""
        try:
            head = await self._head()
        except errors.Problem as problem:
            if self._framing.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                refused = self._site.next_id()
                await self._sender.whole(problems.answer(problem, refused), refused, _CLOSE)
            return False
        request = messages.Request("", "", peer=self._peer, id=self._site.next_id())
        self._sender.head_only = head.method == b"HEAD"
        try:
            answer = await self._answer(head, request)
            logger.debug(
                "%s %s: %d", request.method, request.path, answer.status, extra={"request": request.id}
            )
            if not await self._send(answer, request):
                raise _Closed
        finally:
            for fd in request.fds:
                await fd.aclose()
        if self._framing.our_state is not h11.DONE or self._stopping or self._unusable:
            return False
        await self._take_rest()
        return self._framing.their_state is h11.DONE

    # --- the request ---------------------------------------------------------------------------------------

    async def _fill(self, patience: float = IDLE) -> None:
        """Give h11 more bytes, or b"" at end of file. `patience` is in seconds."""
        with trio.move_on_after(max(0.0, patience)) as scope:
            try:
                self._framing.receive_data(await self._receiver.receive())
            except OSError as error:
                raise sending.PeerGone from error
            except errors.Problem:
                self._unusable = True
                raise
        if scope.cancelled_caught:
            raise _Closed

    async def _head(self) -> h11.Request:
        """The next request's head. Raises `Problem` for what is none."""
        begun: float | None = None
        while True:
            try:
                event = self._framing.next_event()
            except h11.RemoteProtocolError as error:
                raise heads.refusal(error) from None
            if isinstance(event, h11.Request):
                heads.check(event)
                return event
            if event is not h11.NEED_DATA or self._stopping:
                raise _Closed
            if begun is None and self._framing.trailing_data[0]:
                begun = trio.current_time()
            with trio.CancelScope() as self._idle:
                await self._fill(IDLE if begun is None else begun + HEAD_PATIENCE - trio.current_time())
            stopped, self._idle = self._idle.cancelled_caught, None
            if stopped:
                raise _Closed

    async def _answer(self, head: h11.Request, request: messages.Request) -> messages.Answer:
        """Call the handler; whatever it raises becomes an answer."""
        try:
            return await self._dispatch(head, request)
        except (_Closed, sending.PeerGone):
            raise
        except Exception as error:  # noqa: BLE001 - the one catch per request
            return problems.answer(error, request.id)

    async def _dispatch(self, head: h11.Request, request: messages.Request) -> messages.Answer:
        request.method = head.method.decode("ascii")
        request.headers = messages.Fields(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers
        )
        target = self._site.router.target(request.method, head.target.decode("latin-1"))
        request.path, request.query = target.path, target.query
        route, request.params = self._site.router.match(request.method, target)
        limits = self._site.limits
        limit = limits.block_body_size if route.streams_body else limits.body_size
        pieces = _Body(self, request.headers, None if route.endless else limit)
        if route.streams_body:
            self._take_fds(request, route)
            request.data = pieces
            return await route.handler(self._site.app, request)
        data = b"".join([piece async for piece in pieces])
        self._take_fds(request, route)
        if route.body is None:
            return await route.handler(self._site.app, request)
        value = await self._decode(data, request, route)
        return await route.handler(self._site.app, request, value)

    async def _decode(self, data: bytes, request: messages.Request, route: router.Route) -> Any:
        body.check_type(request.headers.get("Content-Type"))
        decode = functools.partial(body.decode, data, route.body, normalized=route.normalized)
        if len(data) <= SHORT:
            return decode()
        # Made to be slow, a long body takes a second, in which all others must be served.
        value = await trio.to_thread.run_sync(_or_problem, decode, limiter=_decoding)
        if isinstance(value, errors.Problem):
            raise value
        return value

    def _take_fds(self, request: messages.Request, route: router.Route) -> None:
        """Give the request its descriptors, if as many came as it says and its route takes.

        Nothing may follow such a request before it is answered: one `recvmsg` can return its end glued to
        the next request and that one's descriptors, and nobody could say whose they are.
        """
        said = request.headers.get("Tyger-Fds") or "0"
        arrived = self._receiver.arrived
        self._unusable = True
        if said != str(arrived):
            raise errors.Problem(
                errors.BAD_REQUEST, f"the header Tyger-Fds says {said[:20]}, and {arrived} descriptors came"
            )
        if arrived != route.fds:
            raise errors.Problem(
                errors.BAD_REQUEST,
                f"{route.method} {route.path} takes {route.fds} descriptors, not {arrived}",
            )
        if arrived and self._framing.trailing_data[0]:
            raise errors.Problem(errors.BAD_REQUEST, "no request may follow one with descriptors")
        self._unusable = False
        request.fds = self._receiver.take()

    async def next_piece(self, patience: float = IDLE) -> bytes | None:
        """The next piece of this request's body, None at its end. Raises as `messages.Request.data`."""
        while True:
            if self._framing.they_are_waiting_for_100_continue:
                await self._sender.send_event(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self._framing.next_event()
                if event is h11.NEED_DATA:
                    await self._fill(patience)
                    continue
            except h11.RemoteProtocolError as error:
                raise errors.Problem(
                    errors.BAD_REQUEST, f"the body is malformed: {heads.reason(error)}"
                ) from None
            except (_Closed, sending.PeerGone):
                raise errors.Problem(errors.BAD_REQUEST, "the request's body was cut short") from None
            if not isinstance(event, h11.Data):
                return None
            # Of chunks of one byte there are many in what has been received.
            await trio.lowlevel.checkpoint()
            return bytes(event.data)

    async def _take_rest(self) -> None:
        """Read what is left of an answered request's body and throw it away."""
        with trio.move_on_after(LINGER), contextlib.suppress(errors.Problem):
            left = int(self._site.limits.block_body_size)
            while self._framing.their_state is h11.SEND_BODY and left > 0:
                left -= len(await self.next_piece() or b"")

    # --- the answer ----------------------------------------------------------------------------------------

    async def _send(self, answer: messages.Answer, request: messages.Request) -> bool:
        """Send an answer; False when it was cut and the connection is of no more use."""
        # A client that waits for leave to send its body may or may not send it after another answer.
        close = self._unusable or self._stopping or self._framing.they_are_waiting_for_100_continue
        extra = [_CLOSE] if close else []
        try:
            if isinstance(answer, messages.StreamResponse):
                return await self._send_stream(answer, request, extra)
            if isinstance(answer, messages.FileResponse):
                with answer.fd:
                    await self._sender.file(answer, request.id, *extra)
            else:
                await self._sender.whole(answer, request.id, *extra)
        except sending.PeerGone:
            raise
        except Exception as error:  # noqa: BLE001 - the one catch per request: its head may be on the wire
            problems.incident(error, request.id)
            return False
        return True

    async def _send_stream(
        self, answer: messages.StreamResponse, request: messages.Request, extra: list[tuple[str, str]]
    ) -> bool:
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            sink = sending.ChunkSink(self._sender, lambda: self._end_stream(messages.EndedBy.PEER_GONE))
            self._stream = (sink, nursery.cancel_scope)
            nursery.start_soon(self._watch, "Tyger-Fds" in request.headers)
            if self._stopping:
                self._end_stream(messages.EndedBy.DAEMON_STOPS)
            try:
                # Even when the client is gone by now `run` is called, and cancelled at once: what the handler
                # began it ends in one place only.
                with contextlib.suppress(trio.Cancelled):
                    await sink.head(answer, request.id, extra)
                await answer.run(sink)
            except Exception as error:  # noqa: BLE001 - the one catch per request
                failure = error
            nursery.cancel_scope.cancel()
        self._stream = None
        return await self._end(answer, sink, failure, request)

    async def _end(
        self,
        answer: messages.StreamResponse,
        sink: sending.ChunkSink,
        failure: Exception | None,
        request: messages.Request,
    ) -> bool:
        """End a stream properly, if it may be; False when it has to be cut."""
        problem = None if failure is None else problems.find(failure)
        if failure is not None and problem is None:
            problems.incident(failure, request.id)
        if sink.ended_by is not None or sink.broken:
            return False
        if failure is not None:
            if problem is None or not sending.announces(answer.headers, "tyger-error"):
                return False
            sink.trailer("Tyger-Error", f"{problem.kind.code}: {problem.message}")
        await sink.finish()
        return True

    async def _watch(self, alone: bool) -> None:
        """Notice that the client leaves while its stream runs; keep what it sends meanwhile, bounded."""
        kept = 0
        while True:
            try:
                data = await self._receiver.receive()
            except (OSError, errors.Problem):
                data = b""
            kept += len(data)
            if not data or alone or self._receiver.arrived or kept > PIPELINED:
                self._end_stream(messages.EndedBy.PEER_GONE)
                return
            self._framing.receive_data(data)

    def _end_stream(self, why: messages.EndedBy) -> None:
        if self._stream is not None:
            sink, scope = self._stream
            sink.ended_by = sink.ended_by or why
            scope.cancel()

    async def _linger(self) -> None:
        """Close our half, and wait a little for the client to close its own: it may still be sending."""
        if self._stopping:
            return
        with trio.move_on_after(LINGER), contextlib.suppress(OSError, errors.Problem):
            self._sock.shutdown(socket.SHUT_WR)
            while await self._receiver.receive():
                await self._receiver.aclose()


_CLOSE = ("Connection", "close")


def _or_problem(decode: Callable[[], Any]) -> Any:
    """What `decode` returns, or the Problem that it raises.

    Raised in a thread it would be in a cycle with the thread's frames: the body, and all that was made of it,
    would stay until the collector comes by.
    """
    try:
        return decode()
    except errors.Problem as problem:
        return errors.Problem(problem.kind, problem.message)


class _Body:
    """A request's body as an iterator, bounded by `limit` bytes; without one by nothing, nor in time."""

    def __init__(self, connection: Connection, headers: messages.Fields, limit: int | None) -> None:
        self._connection = connection
        self._announced = int(headers.get("Content-Length", "0") or 0)
        self._limit = math.inf if limit is None else limit
        self._left = self._limit
        self._patience = IDLE if limit is not None else math.inf

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if self._announced <= self._limit:
            piece = await self._connection.next_piece(self._patience)
            if piece is None:
                raise StopAsyncIteration
            self._left -= len(piece)
            if self._left >= 0:
                return piece
        raise errors.Problem(
            errors.PAYLOAD_TOO_LARGE, f"the request's body is longer than {self._limit} bytes"
        )
