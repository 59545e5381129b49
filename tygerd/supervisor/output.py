"""What a container prints, brought whole and in order into two pipes that the main loop reads.

Theory of operation. One thread copies. At first it reads the connection that was attached before the
container was started: that has every byte at once, holds the container up while nobody reads, as a pipe does,
and costs the engine nothing (Podman spends half a core on a log that is followed). When that connection ends,
the thread *pauses*: the container has ended, or the connection broke, and which of these is for the owner to
find out. It answers with `resume`, and the log is followed while the container runs, or with `finish`, and
what the log has more is fetched. The engine keeps the same bytes as the log, so the count of those that were
copied says where to go on: it is read from its start, and so many bytes of each stream are left out.
(`locallog` puts in what is missing in Docker's.)
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from tygerd.supervisor import dockerapi, locallog, log

SMALL = 16 * 1024 * 1024
"""Bytes of output that are compared with the log at the end, which takes 0.2 s, even if no connection
broke."""

STUCK = 10.0
"""Seconds after the container's end that we wait for room in a pipe: there is none while the disk is full."""

BEGINNING = 2.0
"""Seconds in which an engine shows how a log begins: it may wait for the container, which waits for us."""

UNREAD = 2.0
"""Seconds without reading from the attached connection while the engine may wait for the container's end.
Podman waits 5 s for conmon, which cannot end before it is rid of the output, and then loses the exit code."""

PATIENCE = 60.0
"""Seconds after the container's end that we wait for an engine that has the rest of the log."""

Order = Literal["pause", "resume", "finish", "stop"]


class Output:
    """The two streams of one container, `sources` their read ends. To be closed.

    `local`: the engine is Docker, which keeps the log with its driver of that name. `ending`, from any
    thread: whether the container may be about to end, or somebody asks the engine how it is.
    """

    def __init__(
        self,
        api: dockerapi.Api,
        source: Callable[[int, bytes], log.Source],
        *,
        local: bool = False,
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._api = api
        self._local = local
        self._ending = ending
        self._container = ""
        out, out_in = os.pipe2(os.O_CLOEXEC)
        err, err_in = os.pipe2(os.O_CLOEXEC)
        self.sources = [source(out, b"O"), source(err, b"E")]
        self._pipes = {dockerapi.STDOUT: out_in, dockerapi.STDERR: err_in}
        for fd in self._pipes.values():
            os.set_blocking(fd, False)
        self._copied = dict.fromkeys(self._pipes, 0)
        self._order: Order | None = None
        self._until = 0.0
        self._damaged = self._lost = False
        self._attached = False
        self._lock = threading.Lock()
        self.paused = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable when the copying has come to an end and waits for an order."""
        self.ordered = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Ends waiting for more of a connection, also of the attached one."""
        self._thread: threading.Thread | None = None
        self.blocked = False
        """The main loop takes nothing, and so the container's end may be hidden behind what it printed."""

    def begin(self, container: str, attached: dockerapi.Answer | None) -> None:
        """Copy what comes; without an attached connection, pause at once."""
        self._container = container
        if attached is not None:
            attached.wait_for_ever(self.ordered)
        self._thread = threading.Thread(target=self._run, args=(attached,), name="output", daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """The container runs: follow its log. Only while paused."""
        self._give("resume")

    def detach(self) -> None:
        """The container is to end and `blocked` stands in its way: leave the attached connection, and pause.

        While nobody reads that, Podman cannot take notice of the end, and loses the exit code.
        """
        self._give("pause")

    def finish(self, *, damaged: bool, lost: bool = False) -> None:
        """The container has ended: copy what is left and close the pipes.

        `damaged`: a connection broke. `lost`: there is no engine any more that could be asked for the log.
        """
        self._damaged |= damaged
        self._lost = lost
        self._until = time.monotonic() + PATIENCE
        if self._thread is None:
            self._close_pipes()
        else:
            self._give("finish")

    def close(self) -> None:
        """Copy no more, and release everything but the sources."""
        if self._thread is not None:
            self._give("stop")
            self._thread.join()
        self._close_pipes()
        os.close(self.paused)
        os.close(self.ordered)

    def _give(self, order: Order) -> None:
        with self._lock:
            self._order = order
            os.eventfd_write(self.ordered, 1)

    def _run(self, answer: dockerapi.Answer | None) -> None:
        try:
            if answer is not None:
                frames = answer.frames()
                self._attached = True
                self._copy(answer, frames if self._local else self._from_the_start(frames), {})
                self._attached = False
            while (order := self._next()) == "resume":
                self._damaged = True  # of a log that is followed, the end is not taken
                with contextlib.suppress(dockerapi.Refused, dockerapi.Unreachable, dockerapi.Interrupted):
                    self._copy_log(follow=True)
            if (
                order == "finish"
                and not self._lost
                and (self._damaged or sum(self._copied.values()) <= SMALL)
            ):
                self._fetch()
        except _StuckError:
            pass
        finally:
            self._close_pipes()

    def _next(self) -> Order:
        """What to do now, from the owner."""
        with self._lock:
            if self._order == "pause":
                self._taken()
            if self._order is None:
                os.eventfd_write(self.paused, 1)
        while True:
            select.select([self.ordered], [], [])
            with self._lock:
                order = self._order
                if order in ("finish", "stop"):  # these stay: they are the last
                    return order
                self._taken()
                if order == "resume":
                    return order

    def _taken(self) -> None:
        """The order is being followed, and its signal is no longer needed."""
        self._order = None
        os.eventfd_read(self.ordered)

    def _fetch(self) -> None:
        """Copy what the log has more than was copied. An engine that comes back in time is waited for."""
        wait = 0.05
        while True:
            try:
                if self._copy_log(follow=False):
                    return
            except dockerapi.Refused:  # there is no such container any more
                return
            except dockerapi.Unreachable:
                pass
            if self._order == "stop" or time.monotonic() + wait > self._until:
                return
            time.sleep(wait)
            wait = min(2 * wait, 1.0)

    def _copy_log(self, *, follow: bool) -> bool:
        """Copy what the log has more than was copied. Returns as `_copy`; raises Refused, Unreachable."""
        query = {"stdout": "1", "stderr": "1", "follow": "1" if follow else "0"}
        if self._local:
            query["timestamps"] = "1"
        path = f"/containers/{self._container}/logs"
        if follow:
            answer = self._api.stream("GET", path, query=query, wake=self.ordered)
            answer.wait_for_ever(self.ordered)
        else:
            answer = self._api.stream("GET", path, query=query, patience=PATIENCE)
        if self._local:
            frames = locallog.printed(answer.entries(), whole=not self._damaged)
        else:
            frames = answer.frames()
        if follow:
            frames = self._while_it_runs(frames)
        return self._copy(answer, frames, dict(self._copied))

    def _from_the_start(self, frames: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        """Pieces of the attached connection, as long as it has had the first of each stream.

        Podman's conmon takes a connection when it comes to that; on a busy machine it may have read from the
        container before, and then only the log has what it read.
        """
        began: set[int] = set()
        for stream, data in frames:
            if stream not in began and not self._begins_with(stream, data):
                self._damaged = True
                return
            began.add(stream)
            yield stream, data

    def _begins_with(self, stream: int, data: bytes) -> bool:
        """Whether the log of a stream begins with these bytes, or with as many of them as it has.

        Raises Unreachable, Interrupted.
        """
        query = {
            "stdout": str(int(stream == dockerapi.STDOUT)),
            "stderr": str(int(stream == dockerapi.STDERR)),
        }
        path = f"/containers/{self._container}/logs"
        try:
            answer = self._api.stream(
                "GET", path, query={**query, "follow": "0"}, wake=self.ordered, patience=BEGINNING
            )
        except dockerapi.Refused:
            return True  # no log will ever say otherwise
        logged = b""
        with contextlib.closing(answer):
            for _, piece in answer.frames():
                logged += piece
                if len(logged) >= len(data):
                    break
        size = min(len(logged), len(data))
        return logged[:size] == data[:size]

    def _while_it_runs(self, frames: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        """What is known to have come before the container's end. Raises Refused, Unreachable, Interrupted.

        Podman ends a log that is followed soon after the container, whether it was read or not, and leaves
        lines out before that (4.3.1: in one of twenty logs of 3,000 lines).
        """
        for stream, data in frames:
            state = self._api.call("GET", f"/containers/{self._container}/json", wake=self.ordered)["State"]
            if not (state.get("Running") or state.get("Paused")):
                return
            yield stream, data

    def _copy(
        self, answer: dockerapi.Answer, frames: Iterable[tuple[int, bytes]], skip: dict[int, int]
    ) -> bool:
        """Copy to the end; whether there was one, and the connection didn't break."""
        try:
            for stream, data in frames:
                left_out = min(skip.get(stream, 0), len(data))
                if left_out:
                    skip[stream] -= left_out
                if left_out < len(data) and stream in self._pipes:
                    self._write(stream, data[left_out:] if left_out else data)
        except (dockerapi.Unreachable, dockerapi.Interrupted):
            self._damaged = True
            return False
        finally:
            answer.close()
        return True

    def _write(self, stream: int, data: bytes) -> None:
        fd = self._pipes[stream]
        with memoryview(data) as view:
            written = 0
            while fd >= 0 and written < len(view):
                try:
                    size = os.write(fd, view[written:])
                except BlockingIOError:
                    self._wait_for_room(fd)
                except BrokenPipeError:  # the main loop wants no more
                    break
                else:
                    written += size
                    self._copied[stream] += size

    def _wait_for_room(self, fd: int) -> None:
        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        last = self._order in ("finish", "stop")
        if not last:
            poller.register(self.ordered, select.POLLIN)
        self.blocked = True
        try:
            if last:
                ready = poller.poll(STUCK * 1000)
            elif self._attached:
                while not (ready := poller.poll(UNREAD * 1000)):
                    if self._ending():  # who would say `detach` may himself wait for the engine
                        raise dockerapi.Interrupted
            else:
                ready = poller.poll()
        finally:
            self.blocked = False
        if self._order == "stop" or not ready:
            raise _StuckError
        if self._order == "pause":
            raise dockerapi.Interrupted

    def _close_pipes(self) -> None:
        for stream, fd in self._pipes.items():
            if fd >= 0:
                self._pipes[stream] = -1
                os.close(fd)


class _StuckError(Exception):
    """Nobody takes the output any more."""
