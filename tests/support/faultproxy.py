"""A proxy between a client and a data plane that can do all that a bad network and a sick server do.

with faultproxy.Proxy(("127.0.0.1", 10000)) as proxy:
    proxy.fault(faults.lose_reply(), "PUT", "00/003")
    proxy.fault(faults.answer(503, "ServerBusy", retry_after="1"), "PUT", "00/*", times=20)
    ...
    proxy.refuse()
    proxy.restore()
    assert proxy.count("PUT", "00/003") == 2

It listens on TCP or on a Unix socket and passes HTTP/1.1 on as it came, or any bytes (`http=False`). A
planned fault that nobody met fails the test. Everything may be called from the test's thread at any time.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import pathlib
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import trio

from tests.support import faultproxy_faults as faults
from tests.support import faultproxy_wire as wire

T = TypeVar("T")

Address = tuple[str, int] | str
"""Of TCP, or the path of a Unix socket."""

PATIENCE = 30
"""Seconds until a wait fails."""

ACCOUNTS = re.compile(r"^/(?:containers|devstoreaccount\d+)(?=/|$)")
"""What stands before the container in a path: our own data plane, and Azurite's accounts."""


@dataclass(eq=False)
class Seen:
    """One request that came, or in raw mode one connection. Times are trio's, in seconds."""

    number: int
    connection: int
    method: str
    container: str
    blob: str
    comp: str
    """What the operation is about, where it isn't the blob or container itself: `lease`, `metadata`, ..."""

    query: dict[str, str]
    headers: dict[str, str]
    began: float
    ended: float | None = None
    status: int | None = None
    """What the client was answered; None: nothing, or not yet."""

    carried_out: int | None = None
    """What the server answered, whether the client heard it or not."""

    up: int = 0
    down: int = 0
    """Bytes of the bodies that went through."""

    fault: str | None = None


@dataclass(eq=False)
class Planned:
    """A fault that waits for its requests; `times` None: for all until it is lifted."""

    fault: faults.Fault
    method: str
    container: str
    blob: str
    comp: str
    nth: int
    times: int | None
    matched: int = 0
    met: list[Seen] = field(default_factory=list)

    def takes(self, seen: Seen) -> bool:
        """Whether this request meets the fault; counts it where it might have."""
        wanted = (self.method, self.container, self.blob, self.comp)
        found = (seen.method, seen.container, seen.blob, seen.comp)
        if not all(fnmatch.fnmatchcase(f, w) for f, w in zip(found, wanted, strict=True)):
            return False
        if self.times is not None and len(self.met) >= self.times:
            return False
        self.matched += 1
        return self.matched >= self.nth

    def __str__(self) -> str:
        return f"{self.fault.name} for {self.method} {self.blob}: {len(self.met)} of {self.times or 'some'}"


class Proxy:
    """The proxy, running in a thread of its own while the block lasts."""

    def __init__(self, target: Address, *, listen: Address = ("127.0.0.1", 0), http: bool = True) -> None:
        self.target = target
        self.seen: list[Seen] = []
        self.failures: list[BaseException] = []
        self.link = wire.Link()
        self.connections = 0
        """How many were accepted so far."""

        self._http = http
        self._plans: list[Planned] = []
        self._changed = threading.Condition()
        self._live: set[_Connection] = set()
        self._directory = tempfile.mkdtemp(prefix="tyger-")
        if isinstance(listen, str):
            self.address: Address = listen or os.path.join(self._directory, "s")
        else:
            # Bound and never listening: the port stays ours while connections are refused.
            self._reservation = _tcp_socket(listen)
            self.address = self._reservation.getsockname()[:2]
        self._listening: trio.socket.SocketType | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faultproxy")

    # --- for tests ---------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._call(self._nursery.cancel_scope.cancel)
        self._thread.join(PATIENCE)
        if not isinstance(self.address, str):
            self._reservation.close()
        shutil.rmtree(self._directory)
        if kind is None:
            assert not self.failures, self.failures
            unmet = [
                str(plan) for plan in self._plans if len(plan.met) < (1 if plan.times is None else plan.times)
            ]
            assert not unmet, f"no request met these faults: {unmet}"

    @property
    def place(self) -> str:
        """Its address in words."""
        return self.address if isinstance(self.address, str) else "{}:{}".format(*self.address)

    def fault(
        self,
        fault: faults.Fault,
        method: str = "*",
        blob: str = "*",
        *,
        container: str = "*",
        comp: str = "",
        nth: int = 1,
        times: int | None = 1,
    ) -> Planned:
        """From the `nth` request on that matches these patterns (`fnmatch`), `times` requests meet `fault`.

        A request meets one fault at most, the one that was planned first.
        """
        planned = Planned(fault, method, container, blob, comp, nth, times)
        self._call(lambda: self._plans.append(planned))
        return planned

    def lift(self, planned: Planned) -> None:
        """No further request meets this fault."""

        def stop() -> None:
            planned.times = len(planned.met)

        assert planned.met, f"nobody met it before it was lifted: {planned}"
        self._call(stop)

    def throttle(self, *, up: float | None = None, down: float | None = None) -> None:
        """Let at most so many bytes a second pass, all connections together; None: no limit."""

        def change() -> None:
            self.link.up.rate, self.link.down.rate = up, down

        self._call(change)

    def latency(self, seconds: float) -> None:
        """Hold every request back for so long."""
        self.link.latency = seconds

    def refuse(self) -> None:
        """Reset every connection and refuse new ones, until `restore`."""

        def stop() -> None:
            assert self._listening is not None
            self._listening.close()
            self._listening = None
            self._cut()

        self._call(stop)

    def blackhole(self) -> None:
        """Let nothing pass in either direction, also on new connections, until `restore`."""

        def stop() -> None:
            self.link.passing = trio.Event()

        self._call(stop)

    def restore(self) -> None:
        """Let connections in and bytes pass again; what stood still goes on."""

        def resume() -> None:
            self.link.passing.set()
            if self._listening is None:
                self._listen()

        self._call(resume)

    def cut(self) -> None:
        """Reset every connection; new ones are welcome."""
        self._call(self._cut)

    def count(self, method: str = "*", blob: str = "*", *, comp: str = "", status: int | None = None) -> int:
        """How many such requests have come; with `status`, how many of them were answered so."""
        return len(self.find(method, blob, comp=comp, status=status))

    def find(
        self, method: str = "*", blob: str = "*", *, comp: str = "", status: int | None = None
    ) -> list[Seen]:
        """These requests, in the order in which they came."""
        return [
            seen
            for seen in list(self.seen)
            if fnmatch.fnmatchcase(seen.method, method)
            and fnmatch.fnmatchcase(seen.blob, blob)
            and fnmatch.fnmatchcase(seen.comp, comp)
            and status in (None, seen.status)
        ]

    def wait(self, predicate: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Block until `predicate()`; it is looked at whenever a request begins, moves or ends."""
        with self._changed:
            assert self._changed.wait_for(predicate, seconds), "it did not happen"

    # --- the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        trio.run(self._serve)

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            self._listen()
            self._ready.set()
            await trio.sleep_forever()

    def _call(self, function: Callable[[], object]) -> None:
        """Run `function` in the proxy's thread, and wait for that."""
        done = threading.Event()
        raised: list[BaseException] = []

        def run() -> None:
            try:
                function()
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                raised.append(error)
            done.set()

        self._token.run_sync_soon(run)
        assert done.wait(PATIENCE)
        if raised:
            raise raised[0]

    def _listen(self) -> None:
        if isinstance(self.address, str):
            sock = socket.socket(socket.AF_UNIX)
            pathlib.Path(self.address).unlink(missing_ok=True)
            sock.bind(self.address)
        else:
            sock = _tcp_socket(self.address)
        sock.listen(256)
        self._listening = trio.socket.from_stdlib_socket(sock)
        self._nursery.start_soon(self._accept, self._listening)

    async def _accept(self, listening: trio.socket.SocketType) -> None:
        with listening:
            while True:
                try:
                    sock, _ = await listening.accept()
                except (trio.ClosedResourceError, OSError):
                    if listening.fileno() < 0:
                        return  # `refuse` was called
                    raise
                self.connections += 1
                connection = _Connection(self, wire.Wire(sock), self.connections)
                self._live.add(connection)
                self._nursery.start_soon(connection.serve, self._http)

    def _cut(self) -> None:
        for connection in self._live:
            connection.reset()

    # --- for connections ---------------------------------------------------------------------------------

    def ended(self, connection: _Connection) -> None:
        """It serves nobody any more."""
        self._live.discard(connection)

    def begin(self, seen: Seen) -> faults.Fault:
        """Note a request; what it meets."""
        seen.number = len(self.seen)
        met = next((plan for plan in self._plans if plan.takes(seen)), None)
        if met is not None:
            met.met.append(seen)
            seen.fault = met.fault.name
        self.seen.append(seen)
        self.notify()
        return met.fault if met is not None else faults.NOTHING

    def notify(self) -> None:
        """Something was noted."""
        with self._changed:
            self._changed.notify_all()


class _Connection:
    """One client's connection and the one to the server behind it."""

    def __init__(self, proxy: Proxy, client: wire.Wire, number: int) -> None:
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
        seen = Seen(0, self._number, "RAW", "", "", "", {}, {}, trio.current_time())
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
            seen = _describe(parsed, self._number)
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

    async def _exchange(self, head: bytes, request: wire.Head, seen: Seen, fault: faults.Fault) -> bool:
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

    async def _answer(self, request: wire.Head, seen: Seen, fault: faults.Fault, server: wire.Wire) -> bool:
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

    async def _refuse(self, request: wire.Head, seen: Seen, answer: faults.Answer) -> bool:
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


def _describe(request: wire.Head, connection: int) -> Seen:
    """What a request is about. The part before the container depends on whose data plane it is."""
    method, target, _ = request.first
    parts = urlsplit(target)
    path = ACCOUNTS.sub("", parts.path)
    container, _, blob = path.lstrip("/").partition("/")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return Seen(
        number=0,
        connection=connection,
        method=method,
        container=unquote(container),
        blob=unquote(blob),
        comp=query.get("comp", ""),
        query=query,
        headers=request.headers,
        began=trio.current_time(),
    )


def _tcp_socket(address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    return sock
