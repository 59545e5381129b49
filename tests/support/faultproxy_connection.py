"""One connection through a fault proxy: it carries requests or bytes, and does what their faults say."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Protocol

import trio

from tests.support import faultproxy_faults as faults
from tests.support import faultproxy_seen as noted
from tests.support import faultproxy_wire as wire

Address = tuple[str, int] | str
"""Of TCP, or the path of a Unix socket."""


class Owner(Protocol):
    """What a connection knows of its proxy."""

    target: Address
    link: wire.Link
    failures: list[BaseException]

    def begin(self, seen: noted.Seen) -> faults.Fault:
        """Note a request; what it meets."""

    def notify(self) -> None:
        """Something was noted."""

    def ended(self, connection: Connection) -> None:
        """It serves nobody any more."""


class Connection:
    """One client's connection and the one to the server behind it."""

    def __init__(self, proxy: Owner, client: wire.Wire, number: int) -> None:
        self._scope = trio.CancelScope()
        self._proxy, self._link = proxy, proxy.link
        self._client, self._number = client, number
        self._server: wire.Wire | None = None

    def reset(self) -> None:
        """Reset both sides, at once."""
        self._scope.cancel()
        self._close(reset=True)

    async def serve(self, http: bool) -> None:
        """Until either side ends, a fault does, or `reset` is called."""
        reset = True
        try:
            with self._scope:
                await (self._requests() if http else self._bytes())
                reset = False
        except wire.CutError as cut:
            reset = not cut.gently
        except Exception as error:  # noqa: BLE001 - it fails the test
            if not self._scope.cancel_called:  # else the sockets were closed while they were in use
                self._proxy.failures.append(error)
        finally:
            self._proxy.ended(self)
            self._close(reset=reset)
            self._proxy.notify()

    def _close(self, *, reset: bool) -> None:
        self._client.close(reset=reset)
        if self._server is not None:
            self._server.close(reset=reset)

    async def _connect(self) -> wire.Wire:
        if self._server is None:
            target = self._proxy.target
            family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET
            sock = trio.socket.socket(family, socket.SOCK_STREAM)
            try:
                await sock.connect(target)
                if family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                sock.close()
                raise wire.CutError from None
            self._server = wire.Wire(sock)
        return self._server

    # --- raw ---------------------------------------------------------------------------------------------

    async def _bytes(self) -> None:
        seen = noted.Seen(0, self._number, "RAW", "", "", "", {}, {}, trio.current_time())
        fault = self._proxy.begin(seen)
        if fault.silent:
            await self._client.wait_gone()
            return
        await trio.sleep(fault.delay + self._link.latency)
        server = await self._connect()
        up = wire.Passage(self._client, server, fault.up, self._link, self._link.up)
        down = wire.Passage(server, self._client, fault.down, self._link, self._link.down)
        ended = False
        try:
            with _one_cut():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(up.rest)
                    nursery.start_soon(down.rest)
                ended = True
        finally:
            seen.up, seen.down = up.passed, down.passed
            seen.ended = trio.current_time() if ended else None

    # --- HTTP --------------------------------------------------------------------------------------------

    async def _requests(self) -> None:
        while await self._next_is_ours():
            head = await self._client.until(b"\r\n\r\n")
            if not head:
                return
            parsed = wire.parse(head)
            seen = noted.describe(parsed, self._number)
            fault = self._proxy.begin(seen)
            more = await self._exchange(head, parsed, seen, fault)
            seen.ended = trio.current_time()
            self._proxy.notify()
            if not more:
                return

    async def _next_is_ours(self) -> bool:
        """Wait for a request; False when the server has closed its idle connection: so do we then."""
        if self._server is None or self._client.has_rest():
            return True
        said: list[bool] = []
        server = self._server

        async def watch(sock: trio.socket.SocketType, *, ours: bool) -> None:
            await trio.lowlevel.wait_readable(sock)
            said.append(ours)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: watch(self._client.sock, ours=True))
            nursery.start_soon(lambda: watch(server.sock, ours=False))
        return said[0]

    async def _exchange(self, head: bytes, request: wire.Head, seen: noted.Seen, fault: faults.Fault) -> bool:
        """One request and its answer; whether another may follow on this connection."""
        await self._link.passing.wait()
        await trio.sleep(fault.delay + self._link.latency)
        if fault.silent:
            await self._client.wait_gone()
            return False
        if fault.answer is not None:
            return await self._refuse(request, seen, fault.answer)
        server = await self._connect()
        await server.send(head)
        upward = wire.Passage(self._client, server, fault.up, self._link, self._link.up)
        whole = True
        try:
            # A request without a length has no body.
            await upward.message(request, bodyless=request.length is None and not request.chunked)
        except wire.SinkGoneError:  # a refusal may have come before it closed
            whole = False
        finally:
            seen.up = upward.passed
            self._proxy.notify()
        return await self._answer(request, seen, fault, server) and whole

    async def _answer(
        self, request: wire.Head, seen: noted.Seen, fault: faults.Fault, server: wire.Wire
    ) -> bool:
        while True:
            head = await server.until(b"\r\n\r\n")
            if not head:
                raise wire.CutError
            parsed = wire.parse(head)
            status = int(parsed.first[1])
            if status >= 200:
                break
            await self._client.send(head)
        bodyless = seen.method == "HEAD" or status in {204, 304}
        seen.carried_out = status
        self._proxy.notify()
        if fault.lose_reply or fault.mute:
            lost = wire.Passage(server, None, faults.Way(), self._link, wire.Rate())
            await lost.message(parsed, bodyless=bodyless)
            if fault.mute:
                await self._client.wait_gone()
            raise wire.CutError(gently=fault.down.gently)
        if fault.down.shorten:
            assert parsed.length is not None
            head = wire.with_length(head, parsed.length - fault.down.shorten)
        await self._link.passing.wait()
        seen.status = status
        await self._client.send(head)
        downward = wire.Passage(server, self._client, fault.down, self._link, self._link.down)
        try:
            await downward.message(parsed, bodyless=bodyless)
        finally:
            seen.down = downward.passed
        if downward.closed:
            await self._client.wait_gone()
            return False
        return not (request.last or parsed.last)

    async def _refuse(self, request: wire.Head, seen: noted.Seen, answer: faults.Answer) -> bool:
        if not answer.early:
            swallowed = wire.Passage(self._client, None, faults.Way(), self._link, self._link.up)
            await swallowed.message(request, bodyless=request.length is None and not request.chunked)
        lines = [f"HTTP/1.1 {answer.status} Fault", f"Content-Length: {len(answer.body)}"]
        if answer.code:
            lines.append(f"x-ms-error-code: {answer.code}")
        if answer.retry_after is not None:
            lines.append(f"Retry-After: {answer.retry_after}")
        if answer.early:
            lines.append("Connection: close")
        seen.status = answer.status
        body = b"" if seen.method == "HEAD" else answer.body
        await self._client.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        if answer.early:
            self._client.half_close()
            await self._client.wait_gone()
            return False
        return not request.last


@contextlib.contextmanager
def _one_cut() -> Iterator[None]:
    """A nursery's group of cuts is one cut."""
    try:
        yield
    except BaseExceptionGroup as group:  # not `except*`: Python 3.11.2 wraps what is raised there
        cuts, others = group.split(wire.CutError)
        if cuts is None or others is not None:
            raise
        raise wire.CutError(gently=all(cut.gently for cut in _flat(cuts))) from None


def _flat(group: BaseExceptionGroup[wire.CutError]) -> Iterator[wire.CutError]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _flat(one)
        else:
            yield one
