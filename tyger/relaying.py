"""The reader's half of an ephemeral buffer: a pipe for the daemon, which splices the stream into it.

An ephemeral buffer is kept nowhere, so it is read once, from its first byte on, and nobody comes back for
what he has missed. The writer's half is `writing`, as for every buffer. The pipe outlives the daemon: what is
in it is not lost, and we come back with it to the next daemon. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import threading
from collections.abc import Iterator
from typing import Any

from tyger import access, errors, lines, pipes, sockets, streams
from tyger import client as client_module

READING, WRITING = "error reading from relay: ", "error writing to relay: "
"""What a failure's words begin with (contract buffers.md 11.2)."""

_COPY = 256 * 1024


def path(target: access.Access, action: str) -> str:
    """Where the daemon is asked to do something with an ephemeral buffer."""
    return f"/relays/{target.buffer}/{action}"


def fields(target: access.Access, *, joined: bool) -> dict[str, object]:
    """The body of a request that brings a pipe. `joined`: a daemon that is gone had joined it."""
    return {"job": target.of_job, "joined": joined}


def named(target: access.Access, problem: errors.Problem, prefix: str) -> errors.Problem:
    """The same problem, `prefixed` for a user; the supervisor has words of its own."""
    return problem if target.of_job else prefixed(problem, prefix)


def prefixed(problem: errors.Problem, prefix: str) -> errors.Problem:
    """The same problem; its message says which side of a relay it is about."""
    problem.message = f"{prefix}{problem.message.removeprefix(prefix)}"
    problem.args = (problem.message,)
    return problem


def read(
    client: client_module.Client,
    target: access.Access,
    fd: int,
    *,
    stop: streams.Stop,
    on_progress: streams.Progress,
    patience: streams.Patience,
) -> streams.Result:
    """Write the bytes of an ephemeral buffer to `fd`; as `reading.read`, of which this is a part.

    Raises:
        Problem: the daemon's own (nobody's buffer, read before, ...), the writer's, or it stayed away.
        BrokenPipeError: nobody reads `fd` any more, also noticed while no data comes.
        OSError: writing to `fd` failed.
    """
    with _sink(fd) as sink:
        return _Reader(client, target, sink, stop, on_progress, patience).run()


class _Reader:
    """One read: attach, follow its events, come back after a cut."""

    def __init__(
        self,
        client: client_module.Client,
        target: access.Access,
        sink: _Sink,
        stop: streams.Stop,
        report: streams.Progress,
        patience: streams.Patience,
    ) -> None:
        self._client = client
        self._target = target
        self._sink = sink
        self._stop = stop
        self._report = report
        self._retries = streams.Retries(client, stop, patience)
        self._joined = False
        self._moved = streams.Moved(0)

    def run(self) -> streams.Result:
        while True:
            try:
                with self._attach() as events:
                    self._retries.success()
                    return lines.Lines(events).until(self._take, self._wait)
            except sockets.Interrupted:
                break
            except errors.Problem as lost:
                if lost.remote or lost.kind is errors.BUFFER_FAILED:
                    raise named(self._target, lost, READING) from None
                if not self._retries.pause(lost, lambda: self._tell(waiting=streams.AWAY)):
                    break
        return streams.Result("stopped", self._moved.bytes, self._stop.reason)

    def _attach(self) -> client_module.Stream:
        return self._client.stream(
            "POST",
            path(self._target, "read"),
            body=fields(self._target, joined=self._joined),
            fds=[self._sink.fd],
            wake=self._stop.fileno(),
        )

    def _wait(self, events: lines.Lines) -> None:
        poller = select.poll()
        poller.register(events, select.POLLIN)
        poller.register(self._stop, select.POLLIN)
        poller.register(self._sink.fd, 0)  # its reader may leave before the daemon has anything for it
        ready = dict(poller.poll())
        if self._stop.fileno() in ready:
            raise sockets.Interrupted
        if events.fileno() in ready:
            events.receive()
        elif ready.get(self._sink.fd, 0) & select.POLLERR:
            self._sink.broken()

    def _take(self, event: dict[str, Any]) -> streams.Result | None:
        """One event; the result where it is the last."""
        self._moved = streams.Moved(max(self._moved.bytes, event.get("bytes", 0)))
        match event.get("event"):
            case "joined":
                self._joined = True
            case "progress":
                self._tell(waiting=event.get("waiting"))
            case "complete":
                self._sink.finish(self._stop)
                return streams.Result("complete", self._moved.bytes)
            case "closed":
                self._sink.broken()
            case "failed":
                raise errors.Problem(errors.BUFFER_FAILED, str(event.get("reason") or "its writer failed"))
        return None

    def _tell(self, *, waiting: str | None) -> None:
        self._report(self._moved._replace(waiting=waiting))


class _Sink:
    """The pipe that the daemon fills. `copy` empties one of ours to where the bytes are to go."""

    def __init__(self, fd: int, copy: _Copy | None = None) -> None:
        self.fd = fd
        self._copy = copy

    def broken(self) -> None:
        """Nobody reads the pipe any more. Raises OSError, which says why."""
        if self._copy is not None:
            self._copy.wait(None)
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def finish(self, stop: streams.Stop) -> None:
        """All is in the pipe: wait until it is where it should be. Raises OSError; Interrupted for `stop`."""
        if self._copy is not None:
            os.close(self.fd)
            self.fd = -1
            self._copy.wait(stop)
            self._copy.join()


class _Copy(threading.Thread):
    """Copies from a pipe of ours to a file, socket, terminal or device, until its end; owns `reader`."""

    def __init__(self, reader: int, fd: int) -> None:
        super().__init__(name="copy", daemon=True)
        self._reader = reader
        self._fd = fd
        self._failure: OSError | None = None
        self._done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def run(self) -> None:
        """See above; what goes wrong is kept for `wait`."""
        try:
            while data := os.read(self._reader, _COPY):
                pipes.write_all(self._fd, data)
        except OSError as error:
            self._failure = error
        finally:
            os.close(self._reader)
            os.eventfd_write(self._done, 1)

    def wait(self, stop: streams.Stop | None) -> None:
        """Wait for its end. Raises the OSError that ended it, and Interrupted where `stop` was requested."""
        poller = select.poll()
        poller.register(self._done, select.POLLIN)
        if stop is not None:
            poller.register(stop, select.POLLIN)
        if self._done not in dict(poller.poll()):
            raise sockets.Interrupted
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Release what is held, where it has ended; else it ends with its reader, or with this process."""
        if not self.is_alive():
            os.close(self._done)


@contextlib.contextmanager
def _sink(fd: int) -> Iterator[_Sink]:
    """A pipe for the daemon that leads to `fd`: `fd` itself, or one that a thread copies from."""
    appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
    if stat.S_ISFIFO(os.fstat(fd).st_mode) and not appends:
        pipes.enlarge(fd)
        yield _Sink(fd)
        return
    reader, writer = os.pipe()
    pipes.enlarge(writer)
    copy = _Copy(reader, fd)
    pipes.start_without_signals(copy)
    sink = _Sink(writer, copy)
    try:
        yield sink
    finally:
        if sink.fd >= 0:
            os.close(sink.fd)
        copy.close()
