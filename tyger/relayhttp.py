"""Ephemeral buffers behind an access URL: the relay protocol over HTTP, as its client (buffers.md 11.2).

For URLs of other servers than the daemon that we talk to, and of tyger-proxy: nothing has to be stored or
come back, so we go there ourselves. Blocking; waits for the peer and for `Stop` alike. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tyger import client, errors, pipes, relaying, sockets, streams

if TYPE_CHECKING:
    from tyger import producer as producer_module

PIECE = 64 * 1024
"""Bytes of an upload that are sent at a time, and that are kept to begin it once more."""

ATTEMPTS, PAUSE = 11, 1.0
"""How often an upload is begun again that broke within the first `PIECE`, each time after so many seconds."""

PASSING = 10
"""Failures to connect, other than that nobody listens yet, after which it is given up."""

NOBODY = "buffer relay server does not exist"

_CODES = {
    "AlreadyCalled": "the buffer endpoint can only be called once",
    "FailedToOpenReader": "failed to open reader",
    "ContextCancelled": "context cancelled",
}

_IS_OUTPUT = "the buffer is an output buffer and cannot be written to"
_IS_INPUT = "the buffer is an input buffer and cannot be read from"


def pauses() -> Iterator[float]:
    """Seconds between attempts to reach a relay that is not there yet."""
    yield from [0.1] * 10 + [0.5] * 90 + [1.0] * 900
    while True:
        yield 5.0


def read(
    url: str, fd: int, *, stop: streams.Stop, on_progress: streams.Progress = lambda _: None
) -> streams.Result:
    """Write what comes out of a relay to `fd`.

    Raises:
        Problem: the relay's own (read before, ...), its writer's, or it cannot be reached.
        BrokenPipeError: nobody reads `fd` any more.
        OSError: writing to `fd` failed.
    """
    moved = 0
    try:
        _await_relay(url, stop)
        with contextlib.closing(_connect(url, stop)) as channel:
            _request(channel, url, "GET", stop)
            answer = client.answer_on(channel)
            if answer.status != 200:
                raise _refusal(answer, _IS_INPUT)
            for piece in answer.pieces():
                pipes.write_all(fd, piece)
                moved += len(piece)
                on_progress(streams.Moved(moved))
            _check_trailer(answer)
    except sockets.Interrupted:
        return streams.Result("stopped", moved, stop.reason)
    except errors.Problem as problem:
        raise relaying.prefixed(problem, relaying.READING) from None
    return streams.Result("complete", moved)


def write(
    url: str,
    fd: int,
    *,
    verdict: Callable[[], tuple[str, str | None]],
    stop: streams.Stop,
    producer: producer_module.Producer | None = None,
    on_progress: streams.Progress = lambda _: None,
) -> streams.Result:
    """Send what `fd` yields through a relay; arguments and result as of `writing.write`.

    An upload that must not count as whole is cut. Raises Problem.
    """
    upload = _Upload(url, fd, stop, on_progress)
    try:
        _await_relay(url, stop)
        if producer is not None:
            producer.start()
        upload.run()
        state, reason = verdict()
        if state == "complete" and producer is not None:
            while not producer.wait(60):
                pass
            if failure := producer.failure():
                state, reason = "failed", failure
        if state == "complete":
            upload.finish()
        return streams.Result(state, upload.moved, reason)
    except sockets.Interrupted:
        return streams.Result("stopped", upload.moved, stop.reason)
    except errors.Problem as problem:
        raise relaying.prefixed(problem, relaying.WRITING) from None
    finally:
        upload.close()


class _Upload:
    """One PUT, begun again while all that was sent is still at hand."""

    def __init__(self, url: str, fd: int, stop: streams.Stop, report: streams.Progress) -> None:
        self.moved = 0
        self._url = url
        self._fd = fd
        self._stop = stop
        self._report = report
        self._kept: bytearray | None = bytearray()
        self._failures = 0
        self._channel: _Channel | None = None

    def run(self) -> None:
        """Send all that there is, but for the end. Raises Problem, Interrupted."""
        self._safely(lambda _: None, again=True)
        while data := self._next():
            if self._kept is not None:
                self._kept += data
                if len(self._kept) > PIECE:
                    self._kept = None
            self._safely(functools.partial(_send, data=_chunk(data), stop=self._stop), again=True)
            self.moved += len(data)
            self._report(streams.Moved(self.moved))

    def finish(self) -> None:
        """Send the end, and hear that all went through. Raises Problem, Interrupted."""

        def end(channel: _Channel) -> None:
            _send(channel, b"0\r\n\r\n", self._stop)
            answer = client.answer_on(channel)
            if answer.status != 202:
                raise _refusal(answer, _IS_OUTPUT)

        self._safely(end)

    def close(self) -> None:
        """Cut the connection, where it is still open."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _safely(self, action: Callable[[_Channel], None], *, again: bool = False) -> None:
        """Do something with the connection; where it breaks early, begin once more.

        `again`: that does for the action, too.
        """
        while True:
            try:
                if self._channel is None:
                    self._begin()
                    if again:
                        return
                assert self._channel is not None  # noqa: S101 - for mypy
                action(self._channel)
            except sockets.Disconnected as lost:
                self.close()
                self._failures += 1
                if self._kept is None or self._failures > ATTEMPTS:
                    raise errors.Problem(errors.IO_ERROR, lost.message) from None
                if self._stop.wait(PAUSE):
                    raise sockets.Interrupted from None
            else:
                return

    def _begin(self) -> None:
        self._channel = _connect(self._url, self._stop)
        _request(self._channel, self._url, "PUT", self._stop)
        if self._kept:
            _send(self._channel, _chunk(bytes(self._kept)), self._stop)

    def _next(self) -> bytes:
        """The next bytes of the input; none at its end. Raises Problem for an answer that comes early."""
        while True:
            poller = select.poll()
            poller.register(self._stop, select.POLLIN)
            poller.register(self._fd, select.POLLIN)
            if self._channel is not None:
                poller.register(self._channel, select.POLLIN)
            ready = dict(poller.poll())
            if self._stop.fileno() in ready:
                raise sockets.Interrupted
            if self._fd in ready:
                with contextlib.suppress(BlockingIOError):
                    return os.read(self._fd, PIECE)
            else:
                self._safely(_hear_refusal, again=True)


def _hear_refusal(channel: _Channel) -> None:
    raise _refusal(client.answer_on(channel), _IS_OUTPUT)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _check_trailer(answer: client.Stream) -> None:
    """Raises Problem: the stream is not whole."""
    if code := answer.trailers.get("x-ms-error-code"):
        raise errors.Problem(errors.BUFFER_FAILED, _CODES.get(code, code))


def _refusal(answer: client.Stream, wrong_way: str) -> errors.Problem:
    """What an answer that is none of the usual ones means."""
    if answer.status == 405:
        return errors.Problem(errors.CONFLICT, wrong_way)
    code = answer.headers.get("x-ms-error-code")
    kind = {400: errors.CONFLICT, 403: errors.FORBIDDEN, 404: errors.NOT_FOUND}.get(
        answer.status, errors.BUFFER_FAILED
    )
    text = f"unexpected status code {errors.status_line(answer.status)}"
    return errors.Problem(kind, _CODES.get(code, code) if code else text)


# --- connections -----------------------------------------------------------------------------------------


class _Channel(sockets.Channel):
    """One whose TLS layer may hold bytes that its socket does not show."""

    def wait_readable(self) -> None:
        pending = getattr(self.sock, "pending", None)
        if pending is None or not pending():
            super().wait_readable()


def _await_relay(url: str, stop: streams.Stop) -> None:
    """Ask until the relay listens. Raises Problem, Interrupted."""
    failures = 0
    for pause in pauses():
        try:
            with contextlib.closing(_connect(url, stop)) as channel:
                _request(channel, url, "HEAD", stop)
                answer = client.answer_on(channel)
            said = answer.headers.get("x-ms-error") if answer.status == 502 else None
            if answer.status == 200:
                return
            if said == "ENOENT":
                raise errors.Problem(errors.NOT_FOUND, NOBODY)
            if said not in (None, "ECONNREFUSED"):
                raise errors.Problem(errors.UNAVAILABLE, said)
        except _NotYetError:
            pass
        except sockets.Disconnected as lost:
            failures += 1
            if failures > PASSING:
                raise errors.Problem(errors.UNAVAILABLE, lost.message) from None
        if stop.wait(pause):
            raise sockets.Interrupted


class _NotYetError(Exception):
    """Nobody listens there yet."""


def _connect(url: str, stop: streams.Stop) -> _Channel:
    """A connection to where a URL leads.

    Raises:
        Problem: NOT_FOUND, there is no such socket any more; `Disconnected` for everything that may pass.
    """
    parts = urlsplit(url)
    try:
        if parts.scheme.endswith("+unix"):
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(unquote(parts.path.partition(":")[0]))
            except BaseException:
                sock.close()
                raise
        else:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            sock = socket.create_connection((parts.hostname or "", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme.startswith("https"):
            import ssl

            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise errors.Problem(errors.NOT_FOUND, NOBODY) from None
        if error.errno == errno.ECONNREFUSED:
            raise _NotYetError from None
        place = parts.netloc or parts.path.partition(":")[0]
        raise sockets.Disconnected(f"cannot connect to {place}: {error.strerror or error}") from None
    return _Channel(sock, stop.fileno())


def _request(channel: _Channel, url: str, method: str, stop: streams.Stop) -> None:
    """Send a request's head. Raises as `_send`."""
    parts = urlsplit(url)
    path = parts.path.partition(":")[2] if parts.scheme.endswith("+unix") else parts.path
    lines = [
        f"{method} {path or '/'}?{parts.query} HTTP/1.1",
        f"Host: {parts.netloc or 'tyger-server'}",
        "Connection: close",
        *(["Transfer-Encoding: chunked"] if method == "PUT" else []),
    ]
    _send(channel, "\r\n".join([*lines, "", ""]).encode(), stop)


def _send(channel: _Channel, data: bytes, stop: streams.Stop) -> None:
    """Send all of `data`, however long that takes.

    Raises:
        Disconnected: the connection broke before there was an answer.
        Interrupted: `stop` was requested.
    """
    poller = select.poll()
    poller.register(channel.sock, select.POLLOUT)
    poller.register(stop, select.POLLIN)
    left = memoryview(data)
    try:
        while left:
            if stop.fileno() in dict(poller.poll()):
                raise sockets.Interrupted
            left = left[channel.sock.send(left[:PIECE]) :]
    except OSError as error:
        # What the server said before it closed is in the socket.
        if not select.select([channel.sock], [], [], 0)[0]:
            raise sockets.Disconnected(f"the connection broke: {error.strerror or error}") from None
        raise _refusal(client.answer_on(channel), _IS_OUTPUT) from None
