"""What the fault proxy can do to one request or connection: a value each, made by a function with its name.

Offsets count the body's bytes of a request ("up") or an answer ("down"); in raw mode those of the connection.
"""

from __future__ import annotations

from typing import NamedTuple


class Way(NamedTuple):
    """What happens to the bytes in one direction."""

    rate: float | None = None
    """Bytes per second."""

    cut_at: int | None = None
    """Both connections are reset (or, where `gently`, closed) once so many bytes have passed."""

    gently: bool = False

    half_close_at: int | None = None
    """Nothing more is sent in this direction once so many bytes have passed; the connection stays open."""

    corrupt_at: int | None = None
    """The byte at this offset arrives with one bit changed."""

    shorten: int = 0
    """Bytes that are left out at the end; Content-Length says so, the message is well-formed."""


class Answer(NamedTuple):
    """An answer of the proxy's own; the request never reaches the server."""

    status: int
    code: str = ""
    retry_after: str | None = None
    body: bytes = b""
    early: bool = False
    """Before the request's body was read; the connection is closed then, as servers do."""


class Fault(NamedTuple):
    """All that may go wrong with one request. Its name is for failures of the test."""

    name: str
    up: Way = Way()
    down: Way = Way()
    delay: float = 0
    """Seconds before the request is passed on."""

    silent: bool = False
    """The request is swallowed, and nothing is said until the client gives up."""

    lose_reply: bool = False
    """The request is carried out, its answer is swallowed, and the connection breaks."""

    mute: bool = False
    """The same, but the connection stays open and silent until the client gives up."""

    answer: Answer | None = None


NOTHING = Fault("nothing")


def delay(seconds: float) -> Fault:
    """A request that takes its time before it reaches the server."""
    return Fault(f"delay {seconds} s", delay=seconds)


def throttle(*, up: float | None = None, down: float | None = None) -> Fault:
    """A request whose bytes trickle, bytes per second."""
    return Fault(f"throttle up {up} down {down}", up=Way(rate=up), down=Way(rate=down))


def cut(*, up: int | None = None, down: int | None = None, gently: bool = False) -> Fault:
    """Connections that break within the request's body or the answer's."""
    return Fault(
        f"cut up {up} down {down}",
        up=Way(cut_at=up, gently=gently),
        down=Way(cut_at=down, gently=gently),
    )


def half_close(*, up: int | None = None, down: int | None = None) -> Fault:
    """An end of file in the middle, while the other direction stays open."""
    return Fault(f"half-close up {up} down {down}", up=Way(half_close_at=up), down=Way(half_close_at=down))


def corrupt(*, up: int | None = None, down: int | None = None) -> Fault:
    """One wrong bit in the request's body or the answer's."""
    return Fault(f"corrupt up {up} down {down}", up=Way(corrupt_at=up), down=Way(corrupt_at=down))


def shorten(by: int) -> Fault:
    """An answer whose body lacks its last bytes, with a Content-Length that fits."""
    return Fault(f"shorten by {by}", down=Way(shorten=by))


def lose_reply(*, gently: bool = False) -> Fault:
    """A request that the server carries out, and whose answer nobody hears: the connection breaks."""
    return Fault("lose the reply", lose_reply=True, down=Way(gently=gently))


def mute_reply() -> Fault:
    """The same, on a connection that stays open and silent."""
    return Fault("mute the reply", mute=True)


def silence() -> Fault:
    """A black hole: the request goes in, and that is all."""
    return Fault("silence", silent=True)


def answer(
    status: int, code: str = "", *, retry_after: str | None = None, body: bytes = b"", early: bool = False
) -> Fault:
    """A refusal in the server's name, with an Azure error code."""
    return Fault(f"answer {status} {code}", answer=Answer(status, code, retry_after, body, early))
