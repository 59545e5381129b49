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

import fnmatch
import os
import pathlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from typing import Self

import trio

from tests.support import faultproxy_connection as connecting
from tests.support import faultproxy_faults as faults
from tests.support import faultproxy_seen as noted
from tests.support import faultproxy_wire as wire

PATIENCE = 120
"""Seconds until a wait fails: only what hangs takes so long."""


class Proxy:
    """The proxy, running in a thread of its own while the block lasts."""

    def __init__(
        self, target: connecting.Address, *, listen: connecting.Address = ("127.0.0.1", 0), http: bool = True
    ) -> None:
        self.target = target
        self.seen: list[noted.Seen] = []
        self.failures: list[BaseException] = []
        self.link = wire.Link()
        self.connections = 0
        """How many were accepted so far."""

        self._http = http
        self._plans: list[noted.Planned] = []
        self._changed = threading.Condition()
        self._live: set[connecting.Connection] = set()
        self._directory = tempfile.mkdtemp(prefix="tyger-")
        if isinstance(listen, str):
            self.address: connecting.Address = listen or os.path.join(self._directory, "s")
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
    ) -> noted.Planned:
        """From the `nth` request on that matches these patterns (`fnmatch`), `times` requests meet `fault`.

        A request meets one fault at most, the one that was planned first.
        """
        planned = noted.Planned(fault, method, container, blob, comp, nth, times)
        self._call(lambda: self._plans.append(planned))
        return planned

    def lift(self, planned: noted.Planned) -> None:
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
    ) -> list[noted.Seen]:
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
                connection = connecting.Connection(self, wire.Wire(sock), self.connections)
                self._live.add(connection)
                self._nursery.start_soon(connection.serve, self._http)

    def _cut(self) -> None:
        for connection in self._live:
            connection.reset()

    # --- for connections ---------------------------------------------------------------------------------

    def ended(self, connection: connecting.Connection) -> None:
        """It serves nobody any more."""
        self._live.discard(connection)

    def begin(self, seen: noted.Seen) -> faults.Fault:
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


def _tcp_socket(address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    return sock
