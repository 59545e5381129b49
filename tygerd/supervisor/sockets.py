"""A TCP port that main listens on: one thread connects to it, and joins it with the pipes of its buffers.

Theory of operation. The adapter stands where a job with pipes would stand: it opens the FIFOs of its buffers
once it is connected, and the transfers behind them are those of every other buffer. It connects once. Bytes
go both ways at once, spliced as they come; the end of the input closes the sending half only. It has ended
well when main has closed its half and all of the input was sent; main may then go on.

What main does not take fails the run, and so does a connection that breaks: main may go on, so that no exit
code would tell. Whoever crashes closes its connections a moment before anybody can know that it crashed, so
every verdict waits `ending.SETTLE` for main's end. When main has ended, what it sent is still taken.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from typing import Literal, NamedTuple, Protocol

from tyger import streams
from tygerd.supervisor import ending, ports, tree

State = Literal["waiting", "open", "complete", "failed"]

CONNECT_SECONDS = 600.0
"""How long main may take until it listens: the contract's 10 minutes."""

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
"""Seconds between attempts to connect: doubled each time, with this ceiling."""

ATTEMPT = 5.0
"""Seconds that one attempt may take: a container's network that is not up yet swallows it."""

PROBATION = 0.1
"""Seconds until a connection that an engine's proxy took counts. A proxy takes it before main listens, and
closes it at once when it finds nobody behind it."""

SILENCE = 10.0
"""Seconds without a byte after main's end until its connection counts as cut: a network that was removed with
its container says no more."""

BROKEN_OFF = "main broke its connection off: it had not read all of its input, or it was killed"

_PIECE = 1024 * 1024
_FLAGS = getattr(os, "SPLICE_F_MOVE", 1) | getattr(os, "SPLICE_F_NONBLOCK", 2)


class Address(NamedTuple):
    """Where to connect. `proxied`: something accepts there, whether main listens or not."""

    host: str
    port: int
    proxied: bool = False


class Files(NamedTuple):
    """The FIFOs of the buffers that are joined with a port, None for none."""

    input: str | None = None
    output: str | None = None


class Place(Protocol):
    """Where main's port is, as far as is known by now."""

    def look(self) -> tuple[Address, ...]:
        """The addresses to try, in order; none while there is nothing to connect to.

        Raises:
            OSError: there never will be, with the reason as `strerror`.
        """
        ...


class OwnPort:
    """A port of this host on which a process of ours is to listen. See `Place`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._strangers: set[int] = set()

    def look(self) -> tuple[Address, ...]:
        """See `Place`. Nobody else's port is ever connected to."""
        listeners = ports.listeners(self._port)
        pids = tree.descendants() if listeners else []
        ours = [listener for listener in listeners if ports.held(listener.inode, pids)]
        strangers = {listener.inode for listener in listeners if listener not in ours}
        if not ours and strangers & self._strangers:  # seen twice: the first time it may just have ended
            raise OSError(errno.EADDRINUSE, f"another program listens on port {self._port} of this host")
        self._strangers = strangers
        return tuple(Address(host, self._port) for found in ours for host in ports.reachable(found.host))


class Adapter(threading.Thread):
    """Joins one port of main with its buffers. `state` and `ended` may be read at any time."""

    def __init__(self, port: int, place: Place, files: Files, end: ending.Ending) -> None:
        super().__init__(name=f"socket {port}", daemon=True)
        self.state: State = "waiting"
        self.ended = False
        self.stop = streams.Stop()
        self._port = port
        self._place = place
        self._end = end
        self._gone = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._released = False
        # Opened once, by what they are, as the transfers behind them do.
        self._input = -1 if files.input is None else os.open(files.input, os.O_PATH | os.O_CLOEXEC)
        self._output = -1 if files.output is None else os.open(files.output, os.O_PATH | os.O_CLOEXEC)

    def run(self) -> None:
        """Connect and move the bytes; whatever goes wrong fails the run by the port's number."""
        try:
            self.state = self._join()
        except OSError as error:
            if isinstance(error, ConnectionResetError):
                self._wait(ending.SETTLE)
            self._failed(error.strerror or str(error))
        except Exception as error:  # the thread must not end in silence: the run would wait for it
            self._failed(f"a defect of the supervisor: {error!r}")
            raise
        finally:
            self.ended = True  # the thread itself lives a little longer than its report
            self._end.report()

    def release(self) -> None:
        """Main and all that it started are gone: take what is left in the connection. Idempotent."""
        if not self._released:
            self._released = True
            os.eventfd_write(self._gone, 1)

    def close(self) -> None:
        """Release what is held, once the thread has `ended` or was never started."""
        if self.ended:
            self.join()
        for fd in (self._gone, self._input, self._output):
            if fd >= 0:
                os.close(fd)
        self.stop.close()

    def _failed(self, message: str) -> None:
        self.state = "failed"
        if not self._end.failed:
            self._end.fail(f"socket {self._port}: {message}")

    def _wait(self, seconds: float) -> bool:
        """Wait so long; True as soon as main is gone, or we are to stop."""
        return bool(_poll({self._gone: select.POLLIN, self.stop.fileno(): select.POLLIN}, seconds))

    # --- connecting --------------------------------------------------------------------------------------

    def _join(self) -> State:
        """The whole life of the adapter."""
        with self._connect() as connection:
            self.state = "open"
            bridge = _Bridge(connection, self._gone, self.stop, self._end)
            try:
                bridge.open(self._input, self._output)
                bridge.run()
            except OSError as error:
                self._wait(ending.SETTLE)
                self._failed(bridge.explain(error))
                return "failed"
            finally:
                bridge.close()  # after the verdict: what was cut must not end like what is whole
        self._wait(ending.SETTLE)
        return "complete"

    def _connect(self) -> socket.socket:
        """Wait for main to listen; OSError when it is too late for that."""
        deadline = time.monotonic() + CONNECT_SECONDS
        pause = FIRST_PAUSE
        while True:
            for address in self._place.look():
                if (connection := _attempt(address, self._gone)) is not None:
                    return connection
            if self._wait(pause):
                raise OSError(errno.ECONNREFUSED, f"main ended, and nobody had listened on port {self._port}")
            if time.monotonic() > deadline:
                waited = f"{CONNECT_SECONDS:g} seconds"
                raise OSError(errno.ETIMEDOUT, f"main did not listen on port {self._port} within {waited}")
            pause = min(2 * pause, LONGEST_PAUSE)


def _attempt(address: Address, gone: int) -> socket.socket | None:
    """A connection that somebody took; None where nobody did, for whatever reason.

    Raises:
        ConnectionResetError: somebody took it, and broke it off at once.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    taken = False
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect_ex((address.host, address.port))
        ready = _poll({connection.fileno(): select.POLLOUT, gone: select.POLLIN}, ATTEMPT)
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == errno.ECONNRESET and not address.proxied:
            raise ConnectionResetError(code, BROKEN_OFF)
        alone = connection.getsockname()[:2] == (address.host, address.port)  # it met itself
        taken = connection.fileno() in ready and code == 0 and not alone
        if address.proxied:
            taken = taken and _is_held(connection)
    finally:
        if not taken:
            connection.close()
    return connection if taken else None


def _is_held(connection: socket.socket) -> bool:
    """Whether a proxy goes on to hold this connection, rather than close it at once."""
    if not _poll({connection.fileno(): select.POLLIN}, PROBATION):
        return True
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except ConnectionResetError:
        return False


def _poll(events: dict[int, int], seconds: float | None) -> dict[int, int]:
    poller = select.poll()
    for fd, mask in events.items():
        poller.register(fd, mask)
    return dict(poller.poll(None if seconds is None else seconds * 1000))


# --- moving the bytes ------------------------------------------------------------------------------------


class _Flow:
    """One direction. It waits for its source, and for its sink where that is full."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.filled = False
        self.ended = False

    @property
    def awaited(self) -> tuple[int, int]:
        """The descriptor that it waits for, and the event."""
        return (self.sink, select.POLLOUT) if self.filled else (self.source, select.POLLIN)

    def step(self) -> None:
        """What it waited for is there."""
        try:
            if self.sink >= 0:
                moved = os.splice(self.source, self.sink, _PIECE, flags=_FLAGS)
            else:
                moved = len(os.read(self.source, _PIECE))  # nobody wants it
        except BlockingIOError:
            self.filled = self.sink >= 0 and not self.filled  # then it is the other one that is not ready
        else:
            self.filled = False
            self.ended = moved == 0


class _Bridge:
    """A connection and the pipes on our side of it, until both directions have ended."""

    def __init__(self, connection: socket.socket, gone: int, stop: streams.Stop, end: ending.Ending) -> None:
        self._connection = connection
        self._gone = gone
        self._stop = stop
        self._end = end
        self._pipes: list[int] = []
        self._to: _Flow | None = None
        self._from: _Flow | None = None

    def open(self, source: int, sink: int) -> None:
        """Open the pipes, the output's first; each is an `O_PATH` descriptor of a FIFO, -1 for none."""
        fd = self._connection.fileno()
        self._from = _Flow(fd, self._reopen(sink, os.O_WRONLY))
        if source >= 0:
            self._to = _Flow(self._reopen(source, os.O_RDONLY), fd)
        else:
            self._half_close()

    def _reopen(self, place: int, flags: int) -> int:
        if place < 0:
            return -1
        # Without O_NONBLOCK the open would wait for the transfer's own end, which may never come.
        fd = os.open(f"/proc/self/fd/{place}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
        self._pipes.append(fd)
        return fd

    def run(self) -> None:
        """Move bytes until both directions have ended; OSError where one did not end well."""
        gone = False
        while self._to or self._from:
            ready = self._wait(gone)
            if self._stop.fileno() in ready:
                raise OSError(errno.ECANCELED, "the run was stopped")
            if self._gone in ready:
                gone = True
                if self._end.failed:
                    raise OSError(errno.ECANCELED, "the run has failed")
            elif not ready:
                raise OSError(
                    errno.EPIPE if self._to else errno.ETIMEDOUT, "the connection was cut as main ended"
                )
            self._step(ready)

    def _wait(self, gone: bool) -> dict[int, int]:
        """What is ready; nothing where main is gone and no more will come."""
        events = {self._stop.fileno(): select.POLLIN}
        if not gone:
            events[self._gone] = select.POLLIN
        if self._to and not self._from:
            events[self._connection.fileno()] = 0  # a quiet input: only the connection's end comes from there
        for flow in (self._to, self._from):
            if flow:
                fd, mask = flow.awaited
                events[fd] = events.get(fd, 0) | mask
        if not gone or (
            self._from and self._from.filled
        ):  # an output waits for the daemon as long as it takes
            return _poll(events, None)
        # All of the input may be sent, and its end on its way.
        return _poll(events, ending.SETTLE if self._to else SILENCE)

    def _step(self, ready: dict[int, int]) -> None:
        for flow in (self._to, self._from):
            if flow:
                fd, mask = flow.awaited
                if ready.get(fd, 0) & (mask | select.POLLERR | select.POLLHUP):
                    flow.step()
        if self._to and self._to.ended:
            self._drop(self._to.source)
            self._to = None
            self._half_close()
        if self._from and self._from.ended:
            self._drop(self._from.sink)
            self._from = None
        elif self._to and not self._from and ready.get(self._connection.fileno(), 0) & select.POLLERR:
            raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    def explain(self, error: OSError) -> str:
        """What an error says of main."""
        if self._to and error.errno in (errno.EPIPE, errno.ECONNRESET):
            return "main closed its connection before it had taken all of its input"
        if error.errno == errno.ECONNRESET:
            return BROKEN_OFF
        return error.strerror or str(error)

    def _half_close(self) -> None:
        with contextlib.suppress(OSError):  # main has closed it altogether, which the other direction tells
            self._connection.shutdown(socket.SHUT_WR)

    def _drop(self, fd: int) -> None:
        if fd in self._pipes:
            self._pipes.remove(fd)
            os.close(fd)

    def close(self) -> None:
        """Close the pipes; the connection stays the caller's."""
        while self._pipes:
            os.close(self._pipes.pop())
