"""One container as requests to its engine, each repeated until it is known what has become of it.

An engine may go away at any time, and be killed in the middle of a request. What must never happen is that a
program is started twice. So nothing is started before attaching has succeeded, which has Podman prepare the
container: what is half made until then has never run, and is removed and made again. An engine that was
killed while it started a container says `created` of it for ever, and would start it once more. With Podman
its first process tells whether that would be the first time; with Docker nothing does, and the run fails.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from typing import Any

from tygerd.supervisor import dockerapi, spec

BACK_OFF = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to reach the engine; the last is repeated."""

PATIENCE = 60.0
"""Seconds that an engine that is away is waited for before the container runs; afterwards for ever."""

LOST = 30.0
"""Seconds after KILL was first asked for in which the engine must have answered. A run that was canceled has
to end even if its engine never returns; the daemon removes its container when it does."""

SETTLE = 0.1
"""Seconds before a look at what has become of a request that broke: programs that obey it may still run."""

CREATION = 1.0
"""Seconds in which an engine that answers has obeyed an earlier request to create, or never will."""

TRIES = 5
"""Times that a container is made, as long as what is in the way is the rest of one before."""

_TAKEN = re.compile("name .*in use")
"""Of a refusal to create. Podman has other words for it when another request was a moment earlier."""

_ENDED = frozenset({"exited", "stopped", "dead", "removing"})
"""States from which a container does not come back. Podman's `stopped` is `exited` once it has cleaned up."""


class NeverError(Exception):
    """The container does not run, and has no exit code; the message is why, where there is a word for it."""


class _RemnantError(Exception):
    """What is left of a container before, or of one that was half made, is in the way."""


def has_ended(state: dict[str, Any]) -> bool:
    """Whether a container in this state runs no more and never will."""
    return state.get("Status") in _ENDED


class Handle:
    """Requests about one container. `whose` names it in messages. To be closed, when no thread uses it."""

    def __init__(self, container: spec.ContainerSpec, whose: str) -> None:
        self.api = dockerapi.Api(container.api)
        self.whose = whose
        self.name = container.name
        self.stopping = False
        """It is to end; what was not yet started never will be."""
        self.damaged = False
        """A connection broke."""
        self.lost = False
        """The engine is not waited for any more."""
        self.path = f"/containers/{container.name}"
        self._pending = False
        """A request to create it has no answer yet, and may still be obeyed."""
        self._killed_at: float | None = None
        self._killed = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._done = threading.Event()

    def make(self, body: dict[str, Any]) -> dockerapi.Answer | None:
        """Create it, and attach to what it will print; None where only the log will tell.

        Raises:
            NeverError: that cannot be done, or is not to be any more.
        """
        attempt = 0
        while True:
            try:
                self._create(body)
                return self._attach()
            except _RemnantError as error:
                attempt += 1
                if attempt == TRIES:
                    raise NeverError(f"cannot create {self.whose}: {error}") from None
                self.remove(PATIENCE)
                if attempt > 1:
                    self.pause(attempt)

    def _create(self, body: dict[str, Any]) -> None:
        query = {"name": self.name}
        until, attempt = time.monotonic() + PATIENCE, 0
        while not self.stopping:
            try:
                self.api.call("POST", "/containers/create", query=query, body=body, wake=self._killed)
            except dockerapi.Refused as refusal:
                self._pending = False
                if _TAKEN.search(refusal.message):
                    raise _RemnantError(refusal.message) from None
                image = body.get("Labels", {}).get(spec.IMAGE_LABEL)
                gone = image and "no such image" in refusal.message.lower()
                why = f"the image '{image}' was removed after the run was created" if gone else refusal
                raise NeverError(f"cannot create {self.whose}: {why}") from None
            except dockerapi.Unreachable as error:
                self._pending |= error.sent
                attempt = self._again(attempt, until, "create", error)
            except dockerapi.Interrupted:
                self._pending = True
                break
            else:
                self._pending = False
                return
        raise NeverError

    def _attach(self) -> dockerapi.Answer | None:
        query = {"stream": "1", "stdout": "1", "stderr": "1"}
        until, attempt = time.monotonic() + PATIENCE, 0
        while not self.stopping:
            try:
                return self.api.stream("POST", f"{self.path}/attach", query=query, wake=self._killed)
            except dockerapi.Refused as refusal:
                if refusal.status == 404 or "already exists" in refusal.message:
                    raise _RemnantError(refusal.message) from None
                return None  # whatever it is, starting says it better
            except dockerapi.Unreachable as error:
                attempt = self._again(attempt, until, "create", error)
            except dockerapi.Interrupted:
                break
        raise NeverError

    def _again(self, attempt: int, until: float, verb: str, error: dockerapi.Unreachable) -> int:
        """Wait before another attempt, whose number it returns, or give up."""
        self.damaged = True
        if time.monotonic() > until:
            raise NeverError(f"cannot {verb} {self.whose}: {error}") from None
        self.pause(attempt)
        return attempt + 1

    def start(self) -> None:
        """Have it run. When this returns, it was started, by whichever attempt.

        Raises:
            Refused: the engine's own error.
            NeverError: it is not to run any more.
        """
        until, attempt, broken = time.monotonic() + PATIENCE, 0, False
        while True:
            if self.stopping and not broken:
                raise NeverError
            try:
                self.api.call("POST", f"{self.path}/start", patience=LOST)
            except dockerapi.Refused:
                if not broken:
                    raise
            except dockerapi.Unreachable as error:
                if not error.sent and not broken:
                    attempt = self._again(attempt, until, "start", error)
                    continue
                broken = self.damaged = True
            else:
                return
            self.rest(SETTLE)
            if self._was_started():
                return

    def _was_started(self) -> bool:
        """Whether it was, after a request to start it that was not answered."""
        state = self.look()["State"]
        if state.get("Running") or has_ended(state) or not str(state["StartedAt"]).startswith("0001"):
            return True
        if _is_waiting(int(state.get("Pid") or 0)):
            return False
        raise NeverError(
            f"the connection to the container engine broke while it started {self.whose}, and nothing tells "
            "whether that has run or runs, so it is removed: create the run again"
        )

    def look(self) -> dict[str, Any]:
        """All that the engine knows of it; an engine that is away is waited for.

        Raises:
            NeverError: there is no such container, or it was killed and the engine has not answered since.
        """
        attempt = 0
        while True:
            try:
                found: dict[str, Any] = self.api.call("GET", f"{self.path}/json", patience=LOST)
            except (dockerapi.Refused, dockerapi.Unreachable) as error:
                if isinstance(error, dockerapi.Refused) and error.status == 404:
                    raise NeverError(f"{self.whose} was removed by somebody else") from None
                self.damaged = True
                if self._killed_at is not None and time.monotonic() > self._killed_at + LOST:
                    self.lost = True
                    raise NeverError(
                        f"the container engine does not answer ({error}); container {self.name} "
                        "may still run, and is removed when the engine is back"
                    ) from None
                self.pause(attempt)
                attempt += 1
            else:
                return found

    def signal(self, name: str) -> None:
        """Send a signal, whenever the engine takes it. What has ended cannot be signalled, which is well."""
        attempt = 0
        while not self._done.is_set():
            with contextlib.suppress(dockerapi.Unreachable):
                with contextlib.suppress(dockerapi.Refused):
                    self.api.call("POST", f"{self.path}/kill", query={"signal": name}, patience=LOST)
                return
            self.pause(attempt)
            attempt += 1

    def killed(self) -> bool:
        """It is to be killed: who waits for the engine waits not much longer. Whether that is new."""
        first = self._killed_at is None
        self._killed_at = self._killed_at or time.monotonic()
        os.eventfd_write(self._killed, 1)
        return first

    def remove(self, patience: float) -> None:
        """Kill and remove whatever has its name, if the engine answers in so many seconds.

        What fails, the daemon repeats.
        """
        until, attempt = time.monotonic() + patience, 0
        while True:
            try:
                self.api.call("DELETE", self.path, query={"force": "1", "v": "1"}, patience=patience)
                gone = True
            except dockerapi.Refused as refusal:
                if not (gone := refusal.status == 404):
                    until = min(until, time.monotonic() + dockerapi.REMOVABLE)
            except dockerapi.Unreachable:
                gone = False
            if gone and not self._pending:
                return
            if gone:  # Podman also removes what it is just making, and then goes on to make it
                until = min(until, time.monotonic() + CREATION)
            if time.monotonic() > until:
                return
            time.sleep(BACK_OFF[min(attempt, len(BACK_OFF) - 1)])
            attempt += 1

    def pause(self, attempt: int) -> None:
        """Wait before the attempt that follows this one."""
        self.rest(BACK_OFF[min(attempt, len(BACK_OFF) - 1)])

    def rest(self, seconds: float) -> None:
        """Wait, but not once all is done."""
        self._done.wait(seconds)

    def finish(self) -> None:
        """It has ended: nobody waits for anything but its removal any more. Idempotent."""
        self._done.set()

    def close(self) -> None:
        """Release what is held."""
        os.close(self._killed)


def _is_waiting(pid: int) -> bool:
    """Whether a container's first process is still the runtime's, which waits for the order to start."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().startswith(("runc", "crun", "youki"))
    except OSError:
        return False
