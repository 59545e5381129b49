"""What a fault proxy notes of the requests that come to it, and which fault each of them meets."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

import trio

from tests.support import faultproxy_faults as faults
from tests.support import faultproxy_wire as wire

ACCOUNTS = re.compile(r"^/(?:containers|devstoreaccount\d+)(?=/|$)")
"""What stands before the container in a path: our own data plane, and Azurite's accounts."""


@dataclass(eq=False)
class Seen:
    """One request that came, or in raw mode one connection. Times are trio's, in seconds."""

    number: int
    connection: int
    method: str
    container: str
    blob: str
    comp: str
    """What the operation is about, where it isn't the blob or container itself: `lease`, `metadata`, ..."""

    query: dict[str, str]
    headers: dict[str, str]
    began: float
    ended: float | None = None
    status: int | None = None
    """What the client was answered; None: nothing, or not yet."""

    carried_out: int | None = None
    """What the server answered, whether the client heard it or not."""

    up: int = 0
    down: int = 0
    """Bytes of the bodies that went through."""

    fault: str | None = None


@dataclass(eq=False)
class Planned:
    """A fault that waits for its requests; `times` None: for all until it is lifted."""

    fault: faults.Fault
    method: str
    container: str
    blob: str
    comp: str
    nth: int
    times: int | None
    matched: int = 0
    met: list[Seen] = field(default_factory=list)

    def takes(self, seen: Seen) -> bool:
        """Whether this request meets the fault; counts it where it might have."""
        wanted = (self.method, self.container, self.blob, self.comp)
        found = (seen.method, seen.container, seen.blob, seen.comp)
        if not all(fnmatch.fnmatchcase(f, w) for f, w in zip(found, wanted, strict=True)):
            return False
        if self.times is not None and len(self.met) >= self.times:
            return False
        self.matched += 1
        return self.matched >= self.nth

    def __str__(self) -> str:
        return f"{self.fault.name} for {self.method} {self.blob}: {len(self.met)} of {self.times or 'some'}"


def describe(request: wire.Head, connection: int) -> Seen:
    """What a request is about. The part before the container depends on whose data plane it is."""
    method, target, _ = request.first
    parts = urlsplit(target)
    path = ACCOUNTS.sub("", parts.path)
    container, _, blob = path.lstrip("/").partition("/")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return Seen(
        number=0,
        connection=connection,
        method=method,
        container=unquote(container),
        blob=unquote(blob),
        comp=query.get("comp", ""),
        query=query,
        headers=request.headers,
        began=trio.current_time(),
    )
