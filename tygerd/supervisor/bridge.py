"""A connection and the pipes on our side of it: how bytes get from one to the other, and how that ends.

Both directions are moved by one thread, spliced as bytes come. The end of the input closes the sending half
only.

A program may end as soon as it has sent its last byte, which on one host is no loss. But a container's
network goes with it, some 50 ms later, and with that network what the kernel has not delivered by then. So
what is left is taken into memory at once, however long the pipe may take: what the kernel holds, a few MB.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket

from tyger import streams
from tygerd.supervisor import ending

SILENCE = 10.0
"""Seconds without a byte after main's end until its connection counts as cut: a network that was removed with
its container says no more."""

CUT = "the connection was cut as main ended"

BROKEN_OFF = "main broke its connection off: it had not read all of its input, or it was killed"

_PIECE = 1024 * 1024
_FLAGS = getattr(os, "SPLICE_F_MOVE", 1) | getattr(os, "SPLICE_F_NONBLOCK", 2)


def poll(events: dict[int, int], seconds: float | None) -> dict[int, int]:
    """Wait, None for ever, until one of these descriptors has an event it is mapped to; what they have."""
    poller = select.poll()
    for fd, mask in events.items():
        poller.register(fd, mask)
    return dict(poller.poll(None if seconds is None else seconds * 1000))


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


class _Kept:
    """The rest of a direction, from memory. As `_Flow`."""

    filled = True

    def __init__(self, data: bytearray, sink: int) -> None:
        self.source = -1
        self.sink = sink
        self._data = memoryview(data)

    @property
    def ended(self) -> bool:
        """Nothing is left, or nobody wants it."""
        return self.sink < 0 or not self._data

    @property
    def awaited(self) -> tuple[int, int]:
        """See `_Flow`."""
        return self.sink, select.POLLOUT

    def step(self) -> None:
        """There is room in the pipe."""
        with contextlib.suppress(BlockingIOError):
            self._data = self._data[os.write(self.sink, self._data) :]


class Bridge:
    """A connection and the pipes on our side of it, until both directions have ended.

    `gone` is readable once main and all that it started are gone; `life` is from the moment at which main
    ends, where its network goes with it, else it is -1.
    """

    def __init__(
        self, connection: socket.socket, gone: int, stop: streams.Stop, end: ending.Ending, life: int = -1
    ) -> None:
        self._connection = connection
        self._gone = gone
        self._stop = stop
        self._end = end
        self._pipes: list[int] = []
        self._life = life
        self._to: _Flow | None = None
        self._from: _Flow | _Kept | None = None

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
                raise OSError(errno.EPIPE if self._to else errno.ETIMEDOUT, CUT)
            if self._life in ready:
                self._life = -1
                self._keep()
            self._step(ready)

    def _keep(self) -> None:
        """Main has ended: take what is still on its way, before its network goes."""
        if self._from is None:
            return
        data, fd = bytearray(), self._connection.fileno()
        while True:
            ready = poll({fd: select.POLLIN, self._stop.fileno(): select.POLLIN}, SILENCE)
            if fd not in ready:
                raise OSError(errno.ETIMEDOUT, CUT)
            with contextlib.suppress(BlockingIOError):
                piece = os.read(fd, _PIECE)
                if not piece:
                    break
                data += piece
        self._from = _Kept(data, self._from.sink)

    def _wait(self, gone: bool) -> dict[int, int]:
        """What is ready; nothing where main is gone and no more will come."""
        events = {self._stop.fileno(): select.POLLIN}
        if not gone:
            events[self._gone] = select.POLLIN
        if self._life >= 0:
            events[self._life] = select.POLLIN
        if self._to and not self._from:
            events[self._connection.fileno()] = 0  # a quiet input: only the connection's end comes from there
        for flow in (self._to, self._from):
            if flow:
                fd, mask = flow.awaited
                events[fd] = events.get(fd, 0) | mask
        if not gone or (
            self._from and self._from.filled
        ):  # an output waits for the daemon as long as it takes
            return poll(events, None)
        # All of the input may be sent, and its end on its way.
        return poll(events, ending.SETTLE if self._to else SILENCE)

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
