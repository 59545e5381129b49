"""The client's half of a read: verified bytes from the daemon into a descriptor, from the exact byte on.

Theory of operation. Chunks are spliced to their destination and counted: a chunk is a block, or a part of one
at the ends. After a cut, or a new daemon, the rest is asked for from the byte that was delivered, with the
block that it is in as a hint. While nothing comes, a second connection tells what the daemon waits for.
Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
from collections.abc import Callable

from tyger import access, errors, lines, pipes, relaying, sockets, streams
from tyger import client as client_module

QUIET = 1.0
"""Seconds without data after which the daemon is asked what it waits for: a person begins to wonder."""

_COPY = 256 * 1024
_SPLICE = getattr(os, "SPLICE_F_MOVE", 1) | getattr(os, "SPLICE_F_NONBLOCK", 2)


def read(
    client: client_module.Client,
    target: access.Access,
    fd: int,
    *,
    stop: streams.Stop,
    offset: int = 0,
    length: int | None = None,
    follow: bool = True,
    on_progress: streams.Progress | None = None,
    patience: streams.Patience = streams.Patience(),  # noqa: B008 - immutable
    quiet: float = QUIET,
) -> streams.Result:
    """Write the verified bytes of a buffer to `fd`, `length` of them from `offset` on.

    Waits for what is not yet written; without `follow` it ends with what is there. `fd` stays the caller's;
    its flags are not changed. After `quiet` seconds without data the daemon is asked what it waits for.
    Returns `complete`, or `stopped` when `stop` was requested; `bytes` counts what was delivered.

    Raises:
        Problem: the daemon's own (unknown buffer, failed buffer, corrupt block, ...), or it stayed away.
        BrokenPipeError: nobody reads `fd` any more, also noticed while no data comes.
        OSError: writing to `fd` failed.
    """
    report = on_progress or (lambda _: None)
    is_part = offset or length is not None or not follow
    if is_part and (target.is_ephemeral or target.relay_url):
        message = "an ephemeral buffer can only be read as a whole: it passes by once"
        raise errors.Problem(errors.INVALID_INPUT, message)
    if target.relay_url:
        from tyger import relayhttp

        return relayhttp.read(target.relay_url, fd, stop=stop, on_progress=report)
    if target.is_ephemeral:
        return relaying.read(client, target, fd, stop=stop, on_progress=report, patience=patience)
    reader = _Reader(client, target, fd, stop, report, patience, quiet)
    try:
        return reader.run(offset, length, follow=follow)
    finally:
        reader.close()


class _Reader:
    """One read: where it is, and how it goes on after a cut."""

    def __init__(
        self,
        client: client_module.Client,
        target: access.Access,
        fd: int,
        stop: streams.Stop,
        report: streams.Progress,
        patience: streams.Patience,
        quiet: float,
    ) -> None:
        self._client = client
        self._target = target
        self._fd = fd
        self._sink = _sink(fd)
        self._stop = stop
        self._report = report
        self._quiet = quiet
        self._retries = streams.Retries(client, stop, patience)
        self._delivered = 0
        self._block: tuple[int, int] | None = None
        """The block that the next byte is in, and the byte of the stream that it begins with, where known."""
        self._reason: _Reason | None = None

    def run(self, offset: int, length: int | None, *, follow: bool) -> streams.Result:
        self._block = (0, 0) if offset == 0 else None
        while True:
            try:
                with self._ask(offset, length, follow=follow) as stream:
                    self._retries.success()
                    self._take(stream, offset)
                    if said := stream.trailers.get("tyger-error"):
                        raise _trailer_problem(said)
                    return streams.Result("complete", self._delivered)
            except sockets.Interrupted:
                break
            except errors.Problem as lost:
                self.close()
                if lost.kind is errors.ACCESS_EXPIRED and self._target.is_url:
                    if not self._renewed(lost.message):
                        break
                elif isinstance(lost, _ToldError):
                    raise
                elif not self._retries.pause(lost, lambda: self._tell(streams.AWAY)):
                    break
        return streams.Result("stopped", self._delivered, self._stop.reason)

    def close(self) -> None:
        """Close the second connection, where there is one. Idempotent."""
        if self._reason is not None:
            self._reason.close()
            self._reason = None

    def _ask(self, offset: int, length: int | None, *, follow: bool) -> client_module.Stream:
        wanted: dict[str, int | bool] = {"offset": offset + self._delivered}
        if length is not None:
            wanted["length"] = length - self._delivered
        if not follow:
            wanted["follow"] = False
        if self._block is not None and self._block != (0, 0):
            wanted["block"], wanted["start"] = self._block
        wake = self._stop.fileno()
        if self._target.is_url:
            body = self._target.fields() | wanted
            return self._client.stream("POST", "/transfers/read", body=body, wake=wake)
        query = [(name, str(value).lower()) for name, value in wanted.items()]
        return self._client.stream("GET", f"/transfers/read/{self._target.buffer}", query=query, wake=wake)

    def _take(self, stream: client_module.Stream, offset: int) -> None:
        while left := self._next_chunk(stream):
            while left:
                moved = self._sink(stream.channel, left, self._stop)
                left -= moved
                self._delivered += moved
            if self._block is not None:  # before anything else of the chunk can be cut
                self._block = (self._block[0] + 1, offset + self._delivered)
            stream.end_chunk()
            self._tell(None)

    def _tell(self, waiting: str | None) -> None:
        self._report(streams.Moved(self._delivered, waiting))

    def _renewed(self, refusal: str) -> bool:
        """The access URL has expired: wait for another; False when `stop` was requested. Raises Problem."""
        while not self._target.renewed(refusal):
            self._tell(self._target.waiting)
            if self._stop.wait(self._target.look):
                return False
        return True

    # --- while nothing comes -----------------------------------------------------------------------------

    def _next_chunk(self, stream: client_module.Stream) -> int:
        """Wait for the next chunk, watching the destination: a reader that went away ends a quiet stream."""
        asked = False
        while not stream.channel.pending:
            source = stream.fileno()
            others = () if self._reason is None else (self._reason.fileno(),)
            wait = None if asked else self._quiet
            ready = _wait(source, select.POLLIN, self._fd, 0, self._stop, others=others, seconds=wait)
            if source in ready:
                break
            if self._reason is None:
                asked = True
                self._reason = _Reason.ask(self._client, stream.headers.get("transfer-id"))
            elif self._reason.fileno() in ready and not self._reason.learn(self._tell):
                self.close()
        self.close()
        return stream.next_chunk()


class _Reason:
    """The connection that tells what a read waits for: the daemon's line for each change of its transfer."""

    def __init__(self, sent: client_module.Sent) -> None:
        self._sent = sent
        self._lines: lines.Lines | None = None

    @classmethod
    def ask(cls, client: client_module.Client, transfer: str | None) -> _Reason | None:
        """Ask, without waiting for an answer; None where nobody can be asked."""
        if not transfer:
            return None
        with contextlib.suppress(errors.Problem):
            return cls(client.send("GET", f"/transfers/{transfer}/watch"))
        return None

    def fileno(self) -> int:
        """Readable when `learn` has something to learn."""
        return self._sent.fileno()

    def learn(self, tell: Callable[[str | None], None]) -> bool:
        """Take what came, and tell the last reason in it; False when nothing more will come."""
        try:
            if self._lines is None:
                self._lines = lines.Lines(self._sent.stream())
            else:
                self._lines.receive()
            last = None
            while (said := self._lines.object()) is not None:
                last = said
        except errors.Problem:  # the read itself notices what matters
            return False
        if last is not None:
            waiting = last.get("waiting")
            tell(None if waiting is None else str(waiting))
        return not self._lines.ended

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._sent.close()


class _ToldError(errors.Problem):
    """The daemon's own last word about a stream: trying again would not change it."""


def _trailer_problem(said: str) -> errors.Problem:
    code, _, message = said.partition(": ")
    return _ToldError(errors.BY_CODE.get(code, errors.IO_ERROR), message)


# --- where the bytes go ----------------------------------------------------------------------------------

Sink = Callable[[sockets.Channel, int, streams.Stop], int]
"""Moves up to so many bytes from the channel to the destination; returns how many, at least one."""


def _sink(fd: int) -> Sink:
    """How to move bytes to `fd`: splice into a pipe, copy into anything else."""
    appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
    if not stat.S_ISFIFO(os.fstat(fd).st_mode) or appends:
        return lambda channel, limit, stop: _copy(channel, fd, min(limit, _COPY), stop)
    pipes.enlarge(fd)
    return lambda channel, limit, stop: _splice(channel, fd, limit, stop)


def _splice(channel: sockets.Channel, fd: int, limit: int, stop: streams.Stop) -> int:
    if channel.pending:  # what came glued to the chunk's head
        return _copy(channel, fd, min(limit, len(channel.pending)), stop)
    while True:
        try:
            moved = os.splice(channel.fileno(), fd, limit, flags=_SPLICE)
        except BlockingIOError:
            _wait(channel.fileno(), select.POLLIN, fd, 0, stop)
            _wait(fd, select.POLLOUT, None, 0, stop)
            continue
        except ConnectionResetError as error:
            raise sockets.Disconnected("the connection to the daemon broke") from error
        if moved == 0:
            raise sockets.Disconnected("the daemon closed the connection")
        return moved


def _copy(channel: sockets.Channel, fd: int, limit: int, stop: streams.Stop) -> int:
    if not channel.pending:
        _wait(channel.fileno(), select.POLLIN, fd, 0, stop)
    data = channel.take(limit)
    _wait(fd, select.POLLOUT, None, 0, stop)
    pipes.write_all(fd, data)
    return len(data)


def _wait(
    fd: int,
    events: int,
    other: int | None,
    other_events: int,
    stop: streams.Stop,
    *,
    others: tuple[int, ...] = (),
    seconds: float | None = None,
) -> dict[int, int]:
    """Wait until `fd` has one of `events`, or one of `others` is readable, at most `seconds`; what is ready.

    `other` is the destination: its end raises BrokenPipeError. Raises Interrupted when `stop` is requested.
    """
    poller = select.poll()
    poller.register(fd, events)
    for watched in (stop.fileno(), *others):
        poller.register(watched, select.POLLIN)
    if other is not None:
        poller.register(other, other_events)
    ready = dict(poller.poll(None if seconds is None else seconds * 1000))
    if stop.fileno() in ready:
        raise sockets.Interrupted
    if other is not None and fd not in ready and ready.get(other, 0) & (select.POLLERR | select.POLLHUP):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    return ready
