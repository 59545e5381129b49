"""A TCP port that main listens on: one thread connects to it, and joins it with the pipes of its buffers.

Theory of operation. The adapter stands where a job with pipes would stand: it opens the FIFOs of its buffers
once it is connected, and the transfers behind them are those of every other buffer. It connects once. Bytes
go both ways at once, spliced as they come; the end of the input closes the sending half only. It has ended
well when main has closed its half and all of the input was sent; main may then go on.

What main does not take fails the run, and so does a connection that breaks: main may go on, so that no exit
code would tell. Whoever crashes closes its connections a moment before anybody can know that it crashed, so
every verdict waits `Ending.settle` for main's end. When main has ended, what it sent is still taken.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from tyger import streams
from tygerd.supervisor import bridge, ending, mains, pipes, ports, spec, tree

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

    def life(self) -> int:
        """A descriptor that is readable once main has ended; -1 where its connections outlive it."""
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

    def life(self) -> int:
        """See `Place`."""
        return -1


class MainsPort:
    """A port of a program that has an address of its own. See `Place`."""

    def __init__(self, main: mains.Main, port: int) -> None:
        self._main = main
        self._port = port

    def look(self) -> tuple[Address, ...]:
        """See `Place`."""
        if (port := self._main.published.get(self._port)) is not None:
            return (Address("127.0.0.1", port, proxied=True),)
        return () if self._main.address is None else (Address(self._main.address, self._port),)

    def life(self) -> int:
        """See `Place`."""
        return self._main.life


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
                self._settle()
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

    def _settle(self) -> None:
        """Give main's end the time to be known: it is the better word for what we saw of it."""
        seconds = self._end.settle
        while not self._wait(seconds) and self._end.doubtful() and not self._end.wanted:
            seconds = ending.DOUBT

    def _wait(self, seconds: float) -> bool:
        """Wait so long; True as soon as main is gone, or we are to stop."""
        return bool(bridge.poll({self._gone: select.POLLIN, self.stop.fileno(): select.POLLIN}, seconds))

    # --- connecting --------------------------------------------------------------------------------------

    def _join(self) -> State:
        """The whole life of the adapter."""
        with self._connect() as connection:
            self.state = "open"
            joined = bridge.Bridge(connection, self._gone, self.stop, self._end, self._place.life())
            try:
                joined.open(self._input, self._output)
                joined.run()
            except OSError as error:
                self._settle()
                self._failed(joined.explain(error))
                return "failed"
            finally:
                joined.close()  # after the verdict: what was cut must not end like what is whole
        self._settle()
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


class Adapters:
    """Those of all ports of a run. Used by the main loop alone."""

    def __init__(
        self, directory: str, setup: spec.Spec, job: Sequence[mains.Main], end: ending.Ending
    ) -> None:
        def file(main: mains.Main, name: str | None) -> str | None:
            return spec.pipe_path(directory, name, main.setup.pipes) if name else None

        self.released = False
        self._all = [
            Adapter(
                each.port, place(main, each.port), Files(file(main, each.input), file(main, each.output)), end
            )
            for main in job
            for each in setup.sockets
        ]

    def start(self) -> None:
        """Once the job was started: a thread each."""
        for adapter in self._all:
            adapter.start()

    def served(self, transfers: Sequence[pipes.Pipe]) -> bool:
        """Whether there is nothing left that main could be needed for, as it only served its ports."""
        done = [adapter.ended and adapter.state == "complete" for adapter in self._all]
        return bool(done) and all(done) and all(transfer.state in pipes.FINAL for transfer in transfers)

    def finish(self) -> bool:
        """The job and all that it started are gone; whether every adapter has ended by now, too."""
        self.released = True
        for adapter in self._all:
            adapter.release()
        return all(adapter.ended or not adapter.is_alive() for adapter in self._all)

    def stop(self, reason: str) -> None:
        """Take nothing more from anybody."""
        for adapter in self._all:
            adapter.stop.request(reason)

    def close(self) -> None:
        """Release what is held."""
        for adapter in self._all:
            adapter.close()


def place(main: mains.Main, port: int) -> Place:
    """Where a port of this program is."""
    return OwnPort(port) if isinstance(main, mains.ProcessMain) else MainsPort(main, port)


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
        ready = bridge.poll({connection.fileno(): select.POLLOUT, gone: select.POLLIN}, ATTEMPT)
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == errno.ECONNRESET and not address.proxied:
            raise ConnectionResetError(code, bridge.BROKEN_OFF)
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
    if not bridge.poll({connection.fileno(): select.POLLIN}, PROBATION):
        return True
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except ConnectionResetError:
        return False
