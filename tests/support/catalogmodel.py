"""What the catalog must answer about buffers, codespecs and runs: states, and what operations make of them.

An operation whose answer was lost has happened or has not. So what is known of an object is a set of states;
each answer leaves those from which it can have come, and an answer that leaves none is a defect. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import xxhash

UNKNOWN = "?"
"""An expiry that the server has chosen, and nobody has seen yet."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: Any


class Wrong(AssertionError):  # noqa: N818 - a verdict
    """An answer that nothing explains."""


# --- buffers -----------------------------------------------------------------------------------------------


class Buffer(NamedTuple):
    """One state of a buffer. `expires` is the text that is shown; `expired` says that it is in the past."""

    tags: tuple[tuple[str, str], ...]
    deleted: bool = False
    expires: str | None = None
    expired: bool = False
    gone: bool = False


class Op(NamedTuple):
    """An operation on a buffer. `soft` is the query parameter, `etag` goes into If-Match.

    `ttl` and `expires` are sent as they are; `past` says that they make the buffer expire at once.
    """

    kind: str
    soft: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    etag: str | None = None
    ttl: str | None = None
    expires: str | None = None
    past: bool = False


def buffer_etag(buffer_id: str, *, deleted: bool, millis: int, tags: Iterable[tuple[str, str]]) -> str:
    """Contract rest-api.md 2.4, written down once more."""
    text = b"".join(f"{key}\0{value}".encode() for key, value in sorted(tags)) or b"\xff"
    data = buffer_id.encode() + str(deleted).encode() + struct.pack("<q", millis) + text
    return str(xxhash.xxh3_64_intdigest(data))


def reaped(state: Buffer) -> Buffer:
    """What the reaper makes of a state."""
    if not state.expired or state.gone:
        return state
    if state.deleted:
        return state._replace(gone=True)
    return state._replace(deleted=True, expires=UNKNOWN, expired=False)


def possible(state: Buffer, op: Op, current_etag: str | None) -> Iterator[tuple[int, Buffer]]:
    """Status and next state of each answer there can be. `current_etag` is None where it is not known."""
    if state.gone or (op.kind in ("show", "set") and state.deleted != op.soft):
        yield 404, state
    elif op.kind == "show":
        yield 200, state
    elif op.kind == "set":
        guarded = op.etag not in (None, "*")
        if guarded and op.etag != current_etag:
            yield 412, state
        if not guarded or current_etag in (None, op.etag):
            changed = state._replace(tags=op.tags)
            yield 200, changed._replace(expires=op.expires, expired=op.past) if op.expires else changed
    elif state.expired:
        yield 404, state
    elif state.deleted == (op.kind == "delete"):
        yield 412, state
    elif op.kind == "restore":
        yield 200, state._replace(deleted=False, expires=None)
    else:
        yield 200, state._replace(deleted=True, expires=UNKNOWN, expired=op.past)


def shown(buffer_id: str, state: Buffer, body: dict[str, Any]) -> Buffer | None:
    """The state with what a body shows of it; None where they contradict each other."""
    tags = tuple(sorted((body.get("tags") or {}).items()))
    deleted, expires = body.get("isSoftDeleted", False), body.get("expiresAt")
    if (buffer_id, state.tags, state.deleted) != (body["id"], tags, deleted):
        return None
    if state.expires == UNKNOWN and expires is not None:
        return state._replace(expires=expires)
    return state if state.expires == expires else None


class Known:
    """What is known of one buffer: the states it can be in, and the ETag that was seen last."""

    def __init__(self, buffer_id: str, states: Iterable[Buffer]) -> None:
        self.id = buffer_id
        self.states = set(states)
        self.created_at = ""
        self.etag: str | None = None
        """Of the one state there is, if that was seen."""
        self.reaping = True
        """Whether the reaper may come at any moment."""

    def follow(self, op: Op, answer: Answer | None) -> None:
        """Take an answer in; None for one that was lost.

        Raises:
            Wrong: it cannot be.
        """
        before = self.might_be()
        after = set() if answer is not None else set(before)
        for state in before:
            for status, following in possible(state, op, self.etag if len(before) == 1 else None):
                if answer is None:
                    after.add(following)
                elif answer.status == status:
                    seen = following if status != 200 else shown(self.id, following, answer.body)
                    after |= set() if seen is None else {seen}
        if not after:
            raise Wrong(f"{op} on {self.id}: {answer} after {before}")
        self.states = after
        if answer is None:
            self.etag = None
        elif answer.status == 200:
            self.etag = answer.body["eTag"]
        elif len(after) > 1:
            self.etag = None

    def might_be(self) -> set[Buffer]:
        """All states, also those that the reaper has brought about meanwhile."""
        if not self.reaping:
            return self.states
        return self.states | {reaped(state) for state in self.states}

    def listed(self, *, soft: bool | None, counted: bool = False) -> tuple[bool, bool]:
        """Whether it must be, and may be, in a list (or, `counted`, in a count, which has no expired)."""
        each = [
            not state.gone and soft in (None, state.deleted) and not (counted and state.expired)
            for state in self.might_be()
        ]
        return all(each), any(each)


# --- runs --------------------------------------------------------------------------------------------------

OPEN = {"instant": {"Pending", "Running", "Succeeded"}, "patient": {"Pending", "Running"}}
"""In which statuses a run can be that nobody has canceled, by what its job does."""


class Run:
    """What is known of one run: its possible tags and statuses."""

    def __init__(self, run_id: int, kind: str, tags: Iterable[tuple[tuple[str, str], ...]]) -> None:
        self.id = run_id
        self.tags = set(tags)
        self.statuses = set(OPEN[kind])
        self.created_at = ""
        self.etag: str | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing but a client can change its ETag."""
        return len(self.statuses) == 1 and len(self.tags) == 1 and self.statuses <= {"Succeeded", "Canceled"}

    def see(self, body: dict[str, Any]) -> None:
        """Take in how it is shown. Raises Wrong."""
        tags = tuple(sorted((body.get("tags") or {}).items()))
        status = body["status"]
        if body["id"] != self.id or tags not in self.tags or status not in self.statuses:
            raise Wrong(f"run {self.id}: {body}; known are {self.tags} and {self.statuses}")
        self.tags = {tags}
        if status in ("Succeeded", "Canceled"):
            self.statuses = {status}
        elif status == "Running":
            self.statuses.discard("Pending")
        self.etag = body["eTag"]

    def cancel(self) -> None:
        """It was asked to end; whether that came through is not known yet."""
        if self.statuses & {"Pending", "Running"}:
            self.statuses.add("Canceled")


# --- codespecs ---------------------------------------------------------------------------------------------


class Codespec:
    """What is known of one codespec: the images of its versions, in every history there can be."""

    def __init__(self) -> None:
        self.histories: set[tuple[str, ...]] = {()}

    def put(self, image: str, answer: Answer | None) -> None:
        """Take in the answer to a PUT of that image. Raises Wrong."""
        after = {past if past[-1:] == (image,) else (*past, image) for past in self.histories}
        if answer is None:
            self.histories |= after
            return
        version = answer.body.get("version")
        fitting = {past for past in after if len(past) == version}
        if not fitting or answer.status != (201 if version == 1 else 200) or answer.body["image"] != image:
            raise Wrong(f"{image} became {answer}; the histories are {self.histories}")
        self.histories = fitting

    def show(self, answer: Answer) -> None:
        """Take in the newest version. Raises Wrong."""
        if answer.status == 404:
            fitting = self.histories & {()}
        else:
            seen = (answer.body["version"], answer.body["image"])
            fitting = {past for past in self.histories if past and (len(past), past[-1]) == seen}
        if not fitting:
            raise Wrong(f"{answer}; the histories are {self.histories}")
        self.histories = fitting
