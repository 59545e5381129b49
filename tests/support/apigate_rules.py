"""Answers that a gate gives in a cluster's place: which requests, in which words.

rules.fail("PATCH", "/pods/", 409, times=2)        # two such requests are refused, and never arrive
rules.fail("POST", "/pods$", 500, arrives=True)    # it is done, but the answer says something else
rules.lose("POST", "/pods$")                       # it is done, and the connection ends without an answer
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.support import gating

REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def failure(status: int, message: str) -> dict[str, Any]:
    """As Kubernetes says it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": REASONS.get(status, ""),
        "code": status,
    }


TOO_OLD = json.dumps({"type": "ERROR", "object": failure(410, "too old resource version: 1 (2)")}).encode()
"""What a watch says whose version is no longer kept."""


class Rule(NamedTuple):
    """What becomes of requests. `status` 0: the connection ends."""

    method: str
    pattern: str
    status: int
    headers: Mapping[str, str]
    message: str
    arrives: bool


class Rules:
    """See above. From any thread."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def fail(
        self,
        method: str,
        pattern: str,
        status: int,
        *,
        times: int = 1,
        message: str = "a test wants it",
        arrives: bool = False,
        **headers: str,
    ) -> None:
        """Answer the next such requests with this status; `_` in names of headers stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with self._lock:
            self._rules += [Rule(method, pattern, status, named, message, arrives)] * times

    def lose(self, method: str, pattern: str, *, times: int = 1) -> None:
        """Let the next such requests through, and end the connection instead of the answer."""
        self.fail(method, pattern, 0, times=times, arrives=True)

    @property
    def unused(self) -> list[Rule]:
        """What was to fail and did not: a test that leaves some has not tested what it says."""
        with self._lock:
            return list(self._rules)

    def take(self, method: str, path: str) -> Rule | None:
        """The first rule for such a request, which is used up with it."""
        with self._lock:
            for rule in self._rules:
                if gating.matches(rule.method, rule.pattern, method, path):
                    self._rules.remove(rule)
                    return rule
        return None
