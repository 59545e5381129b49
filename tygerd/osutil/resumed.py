"""A stream of bytes over connections that may break: both sides of one, and the frames between them.

Whoever has a `Session` keeps what the other has not taken yet. On each connection both first say how much
they have received; then one goes on from there, and nothing is lost or doubled while both processes live.

    frame = kind (1 byte), length of the payload (4 bytes, big-endian), payload
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import Literal

import msgspec
import trio

WINDOW = 1024 * 1024
"""Bytes that were sent and not taken, at most: a second of a fast stream's round trip."""

PIECE = 64 * 1024
"""Bytes of one frame's payload, at most."""

_HEAD = struct.Struct("!cI")
_COUNT = struct.Struct("!Q")


class Kind(enum.Enum):
    """What a frame says."""

    HELLO = b"H"
    DATA = b"D"
    TAKEN = b"T"
    """So many bytes, in all, have gone on from here."""
    OPENED = b"O"
    """The job has opened its pipe."""
    JOINED = b"J"
    """The other end is there: from now on a daemon that is lost takes bytes with it."""
    END = b"E"
    """All was sent; the payload says how the producer ended."""
    CLOSED = b"C"
    """No more is taken; the payload says why."""
    GOODBYE = b"G"
    """All is done, and nothing more will be said."""


_SAYINGS = (Kind.OPENED, Kind.JOINED, Kind.CLOSED, Kind.GOODBYE)
"""What is said once, and again on each connection."""


class GarbledError(ValueError):
    """What came is no frame."""


def frame(kind: Kind, payload: bytes | memoryview = b"") -> bytes:
    """The bytes of a frame."""
    return b"".join((_HEAD.pack(kind.value, len(payload)), payload))


class Frames:
    """Frames out of bytes as they come."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The frames that are complete by now. Raises GarbledError."""
        self._rest += data
        while len(self._rest) >= _HEAD.size:
            code, length = _HEAD.unpack_from(self._rest)
            try:
                kind = Kind(code)
            except ValueError:
                raise GarbledError(f"there is no frame of the kind {code!r}") from None
            if length > PIECE:
                raise GarbledError(f"a frame of {length} bytes is too long")
            if len(self._rest) < _HEAD.size + length:
                return
            payload = bytes(self._rest[_HEAD.size : _HEAD.size + length])
            del self._rest[: _HEAD.size + length]
            yield kind, payload


class Hello(msgspec.Struct, forbid_unknown_fields=True):
    """What a daemon begins with; `session` tells one life of it from the next."""

    relay: str
    session: str
    received: int = 0


class Answer(msgspec.Struct):
    """What it is told: how many bytes came from it, or that another one's stream cannot go on."""

    received: int = 0
    lost: bool = False


class Ended(msgspec.Struct):
    """How a producer ended, or why no more is taken."""

    outcome: Literal["complete", "failed"] = "failed"
    reason: str | None = None


def ended(payload: bytes) -> Ended:
    """Read one; what makes no sense is a failure."""
    try:
        return msgspec.json.decode(payload, type=Ended)
    except msgspec.DecodeError:
        return Ended(reason="the other side of the stream talks nonsense")


class Session:
    """One side of a stream, whatever connection it is on, if any. For one trio run."""

    def __init__(self) -> None:
        self.heard: dict[Kind, bytes] = {}
        """What the other side has said, of what is said once, and END."""
        self.received = 0
        """Bytes that came from the other side."""
        self.taken = 0
        """Of those, how many have gone on from here."""
        self.sent_in_all = 0
        """Bytes that were given to `put`."""
        self.changed = trio.Event()
        """The next change of anything here."""
        self._said: dict[Kind, bytes] = {}
        self._end: bytes | None = None
        self._kept = bytearray()
        self._arrived = bytearray()
        self._connection: trio.CancelScope | None = None
        self._turn = 0
        """The number of the connection that counts."""

    # --- for who has the stream ----------------------------------------------------------------------------

    def say(self, kind: Kind, payload: bytes = b"") -> None:
        """Have the other side know something; the first payload counts."""
        self._said.setdefault(kind, payload)
        self._stir()

    async def put(self, data: bytes) -> bool:
        """Send some bytes; waits while the other side has not taken what it has. False: it takes no more."""
        await trio.lowlevel.checkpoint()
        while len(self._kept) >= WINDOW and Kind.CLOSED not in self.heard:
            await self.changed.wait()
        if Kind.CLOSED in self.heard:
            return False
        self._kept += data
        self.sent_in_all += len(data)
        self._stir()
        return True

    def end(self, payload: bytes) -> None:
        """Say, once all has arrived, that there is no more."""
        self._end = payload
        self._stir()

    async def get(self) -> bytes:
        """The next bytes that came; b"" where there are none left before END. `took` is to be called."""
        while not self._arrived:
            if Kind.END in self.heard:
                return b""
            await self.changed.wait()
        data = bytes(self._arrived[:PIECE])
        del self._arrived[:PIECE]
        return data

    def took(self, count: int) -> None:
        """So many more bytes have gone on from here."""
        self.taken += count
        self._stir()

    def presume(self, kind: Kind, payload: bytes) -> None:
        """Act as if the other side had said something: it never will."""
        self.heard.setdefault(kind, payload)
        self._stir()

    async def hears(self, *kinds: Kind) -> Kind:
        """Wait until the other side has said one of these."""
        while True:
            for kind in kinds:
                if kind in self.heard:
                    return kind
            await self.changed.wait()

    @property
    def is_untouched(self) -> bool:
        """Whether no byte has moved, and nobody waits for one: another process may take this one's part."""
        moved = self.received or self.sent_in_all or self._end is not None
        return not (moved or self.heard.keys() & {Kind.JOINED, Kind.END, Kind.CLOSED})

    @property
    def arrived_in_all(self) -> int:
        """Bytes that are known to have arrived, either way: it grows while a connection works."""
        return self.received + self.sent_in_all - len(self._kept)

    # --- for who has the connection ------------------------------------------------------------------------

    def begin(self) -> int:
        """Begin with a connection, before the other side is told what was `received`; returns its turn.

        Nothing counts from now on that comes over an older one: the other side sends it again.
        """
        if self._connection is not None:
            self._connection.cancel()
        self._turn += 1
        return self._turn

    async def serve(self, stream: trio.abc.Stream, frames: Frames, received: int, turn: int) -> None:
        """Speak on a connection, after the hello, until it breaks or a newer one has begun.

        `received` is how many of our bytes the other side has. Raises GarbledError.
        """
        if turn != self._turn:
            return
        base = self.sent_in_all - len(self._kept)
        if not base <= received <= self.sent_in_all:
            raise GarbledError(f"{received} bytes were received, of {self.sent_in_all}")
        with trio.CancelScope() as scope:
            self._connection = scope
            try:
                await self._serve(stream, frames, received, turn)
            finally:
                if self._connection is scope:
                    self._connection = None

    async def _serve(self, stream: trio.abc.Stream, frames: Frames, received: int, turn: int) -> None:
        garbled: GarbledError | None = None
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                nonlocal garbled
                try:
                    self._hear(frames, b"")
                    while data := await stream.receive_some(4 * PIECE):
                        if turn != self._turn:  # it was on its way to us when this was cancelled
                            break
                        self._hear(frames, bytes(data))
                except GarbledError as error:
                    garbled = error
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            try:
                await self._speak(stream, received)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                nursery.cancel_scope.cancel()
        if garbled is not None:
            raise garbled

    async def _speak(self, stream: trio.abc.Stream, sent: int) -> None:
        said: set[Kind] = set()
        told = -1
        while True:
            changed = self.changed
            for kind in _SAYINGS:
                if kind in self._said and kind not in said and self._may_say(kind, sent, said):
                    said.add(kind)
                    await stream.send_all(frame(kind, self._said[kind]))
            if told != self.taken:
                told = self.taken
                await stream.send_all(frame(Kind.TAKEN, _COUNT.pack(told)))
            start = sent - (self.sent_in_all - len(self._kept))
            if piece := bytes(self._kept[start : start + PIECE]):
                sent += len(piece)
                await stream.send_all(frame(Kind.DATA, piece))
            elif self._end is not None and Kind.END not in said:
                said.add(Kind.END)
                await stream.send_all(frame(Kind.END, self._end))
            else:
                await changed.wait()

    def _may_say(self, kind: Kind, sent: int, said: set[Kind]) -> bool:
        """Whether it is its turn: farewell comes last."""
        if kind is not Kind.GOODBYE:
            return True
        return sent == self.sent_in_all and (self._end is None or Kind.END in said)

    def _hear(self, frames: Frames, data: bytes) -> None:
        for kind, payload in frames.feed(data):
            if kind is Kind.DATA:
                self.received += len(payload)
                self._arrived += payload
                if len(self._arrived) > WINDOW + PIECE:
                    raise GarbledError("more was sent than may be under way")
            elif kind is Kind.TAKEN:
                self._hear_taken(payload)
            elif kind is Kind.HELLO:
                raise GarbledError("a second hello")
            else:
                self.heard.setdefault(kind, payload)
        self._stir()

    def _hear_taken(self, payload: bytes) -> None:
        if len(payload) != _COUNT.size:
            raise GarbledError("a count has 8 bytes")
        (count,) = _COUNT.unpack(payload)
        base = self.sent_in_all - len(self._kept)
        if not base <= count <= self.sent_in_all:
            raise GarbledError(f"{count} bytes were taken, of {self.sent_in_all}")
        del self._kept[: count - base]

    def _stir(self) -> None:
        self.changed.set()
        self.changed = trio.Event()
