"""The lines of an answer that is still coming, for loops that wait for other things, too.

`take` never waits and `receive` reads once, so that the caller's own poll is the only place that blocks.
Takes chunked answers only, which is what all our long streams of lines are. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from tyger import client, errors, sockets

T = TypeVar("T")

LONGEST = 1024 * 1024
"""Bytes of one line that we accept; a transfer's is a few hundred."""


class Lines:
    """Takes the answer of `stream` apart. The stream stays the caller's to close."""

    def __init__(self, stream: client.Stream) -> None:
        if stream.headers.get("transfer-encoding", "").lower() != "chunked":
            raise errors.Problem(errors.PROTOCOL, "the answer is not a stream of lines")
        self._channel = stream.channel
        self._text = bytearray()
        self._left = 0
        """Bytes of the chunk in hand that have not come yet."""
        self.ended = False
        """Whether the answer has come to its proper end; `take` still has what was before it."""

    def fileno(self) -> int:
        """Readable when `receive` has something to read."""
        return self._channel.fileno()

    def receive(self) -> None:
        """Read what is there; waits where there is nothing. Raises `Disconnected`."""
        self._channel.receive()

    def take(self) -> bytes | None:
        """The next whole line, without its ending; None when it has not come yet.

        Raises:
            Problem: PROTOCOL, it is not what was announced.
        """
        while (end := self._text.find(b"\n")) < 0:
            if len(self._text) > LONGEST:
                raise errors.Problem(errors.PROTOCOL, "a line of the answer is too long")
            if not self._decode():
                return None
        line = bytes(self._text[:end])
        del self._text[: end + 1]
        return line

    def object(self) -> dict[str, Any] | None:
        """The next line as a JSON object, empty lines left out; None when it has not come yet.

        Raises:
            Problem: PROTOCOL.
        """
        while (line := self.take()) == b"":
            pass
        return None if line is None else decoded(line)

    def until(self, take: Callable[[dict[str, Any]], T | None], wait: Callable[[Lines], None]) -> T:
        """Hand objects to `take` until it returns something, which is the result.

        `wait` is called when there is none, to receive more, whatever else it waits for.

        Raises:
            Problem: PROTOCOL.
            Disconnected: the answer has ended before.
        """
        while True:
            while (value := self.object()) is not None:
                if (result := take(value)) is not None:
                    return result
            if self.ended:
                raise sockets.Disconnected("the daemon closed the connection")
            wait(self)

    def _decode(self) -> bool:
        """Move decoded bytes to the text; False when more has to come first."""
        pending = self._channel.pending
        if self.ended or not pending:
            return False
        if self._left:
            count = min(self._left, len(pending))
            self._text += pending[:count]
            self._left -= count
            del pending[:count]
            return True
        if (end := pending.find(b"\n")) < 0:
            if len(pending) > client.MAX_HEAD:
                raise errors.Problem(errors.PROTOCOL, f"not a chunk length: {bytes(pending[:40])!r}")
            return False
        line = bytes(pending[:end]).removesuffix(b"\r")
        del pending[: end + 1]
        if line:  # else the line ending behind a chunk
            self._begin(line)
        return True

    def _begin(self, line: bytes) -> None:
        try:
            self._left = int(line.split(b";", 1)[0], 16)
        except ValueError:
            raise errors.Problem(errors.PROTOCOL, f"not a chunk length: {line[:40]!r}") from None
        self.ended = self._left == 0  # trailers say nothing here


def decoded(line: bytes) -> dict[str, Any]:
    """A line as a JSON object.

    Raises:
        Problem: PROTOCOL.
    """
    try:
        value = json.loads(line)
    except ValueError as error:
        raise errors.Problem(errors.PROTOCOL, f"unable to understand server response: {error}") from None
    if not isinstance(value, dict):
        raise errors.Problem(errors.PROTOCOL, "unable to understand server response: not a JSON object")
    return value
