"""The lives of a pod's pump, and what each leaves to the next: a kubelet starts a sidecar again that ended.

A pump that is started a second time can't go on: bytes that it had taken from a pipe are lost, and main
has seen the pipe's end. So it only ends what its first life began, and fails the run; or, where the first
life had finished its work, waits until the pod is stopped.
"""

from __future__ import annotations

import contextlib
import os
from typing import Literal, NamedTuple

STATE, NEXT = "life", ".life.new"

MOST = 4096
"""Bytes of last words: no more comes through."""

LOST = (
    "the pod's pump was killed while it was at work (perhaps its node was short of memory): what it had not"
    " delivered is lost"
)

Stage = Literal["running", "failed", "served", "done"]


class Life(NamedTuple):
    """What is known of a life: `reason` why it failed."""

    stage: Stage
    reason: str | None = None


class Lives:
    """Kept in a file of `directory`; the last words are what a cluster shows. Blocking."""

    def __init__(self, directory: str, last_words: str) -> None:
        self._directory = directory
        self._last_words = last_words

    def earlier(self) -> Life | None:
        """What became of an earlier life; None where there was none. Raises OSError."""
        try:
            with open(os.path.join(self._directory, STATE), encoding="utf-8") as file:
                stage, _, reason = file.read().partition(" ")
        except FileNotFoundError:
            return None
        match stage:
            case "served":
                return Life("served")
            case "done":
                return Life("done")
            case _:
                return Life("failed", reason or LOST)

    def begin(self) -> None:
        """Begin a life, the first: main may start (`pumpready`). Raises OSError."""
        self._put(Life("running"))

    def end(self, life: Life) -> None:
        """Say how it ended, to the cluster and to the next life. Raises OSError."""
        if life.reason is not None:
            with contextlib.suppress(OSError):  # the exit code says the rest
                self._say(life.reason)
        self._put(life)

    def _say(self, reason: str) -> None:
        with open(self._last_words, "wb") as file:
            file.write(reason.encode()[:MOST].decode(errors="ignore").encode())

    def _put(self, life: Life) -> None:
        new = os.path.join(self._directory, NEXT)
        with open(new, "w", encoding="utf-8") as file:
            file.write(f"{life.stage} {life.reason or ''}")
        os.rename(new, os.path.join(self._directory, STATE))
