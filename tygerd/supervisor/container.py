"""A program of a run in a container of an engine that speaks Docker's API: its whole life.

Theory of operation. One thread lives the container's life: create, attach, start, inspect; then it sleeps
until the output ends, inspects again, and says how it ended. It never asks the engine to *wait*: Podman polls
for that, and takes a third of a core and up to half a second for it. An engine that goes away is waited for,
with a back-off; the container goes on meanwhile. What a request has done whose connection broke is found out:
a name that is taken is that of our own first try (or of a supervisor that was killed), and is removed; a
container that has a start time was started, and is never started twice. Signals have threads of their own,
for a request may wait.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import select
import threading
import time
from collections.abc import Callable
from typing import Any

from tygerd.supervisor import dockerapi, lifeline, log, mains, memory, output, spec

BACK_OFF = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to reach the engine; the last is repeated."""

PATIENCE = 60.0
"""Seconds that an engine that is away is waited for before the container runs; afterwards for ever."""

LOST = 30.0
"""Seconds after KILL was first asked for in which the engine must have answered. A run that was canceled has
to end even if its engine never returns; the daemon removes its container when it does."""

SETTLE = (0.003, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Seconds between looks at a container whose output has ended: it may be about to end."""

LOOK, LOOK_CLOSELY = 30.0, 1.0
"""Seconds between looks at a container of which nothing is heard; the latter when it was told to end."""

LAST_WORDS = 0.5
"""Seconds after the end of its first process in which its output ends, too."""

REMOVAL = 10.0
"""Seconds for the removal at the end; the daemon removes what is left."""

_ENDED = frozenset({"exited", "stopped", "dead", "removing"})
"""States from which a container does not come back. Podman's `stopped` becomes `exited` once it has cleaned
up."""


class _NeverError(Exception):
    """The container does not run, and has no exit code; the message is why, where there is a word for it."""


class ContainerMain(mains.Main):
    """See `Main`. `report` wakes the main loop."""

    leftovers = math.inf  # `output` ends them

    def __init__(
        self,
        setup: spec.MainSpec,
        container: spec.ContainerSpec,
        stamps: log.Stamps,
        report: Callable[[], None],
    ) -> None:
        super().__init__(setup, stamps)
        self._container = container
        self._whose = f"{self.name}'s container"
        self._api = dockerapi.Api(container.api)
        self._report = report
        self._path = f"/containers/{container.name}"
        self._memory: memory.Memory | None = None
        self._lifeline: lifeline.Lifeline | None = None
        self._lock = threading.Lock()
        self._running = False
        self._stopping = False
        self._killed_at: float | None = None
        self._damaged = False
        self._done = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def doubtful(self) -> bool:
        """See `Main`."""
        line = self._lifeline
        return not self.ended and line is not None and line.cut

    @property
    def life(self) -> int:
        """See `Main`."""
        return -1 if self._lifeline is None else self._lifeline.fileno()

    # --- what the main loop calls --------------------------------------------------------------------------

    def start(self) -> None:
        """See `Main`. Never raises: what goes wrong is how it ends."""
        self._output = output.Output(self._api, self._source)
        self.sources = self._output.sources
        self._nudged = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._killed = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread(self._live)

    def terminate(self) -> None:
        """See `Main`."""
        with self._lock:
            self._stopping = True
            running = self._running
        os.eventfd_write(self._nudged, 1)
        if running:
            self._thread(self._signal, "SIGTERM")

    def kill(self) -> None:
        """See `Main`."""
        with self._lock:
            first = self._killed_at is None
            self._killed_at = self._killed_at or time.monotonic()
            self._stopping = True
            running = self._running
        os.eventfd_write(self._nudged, 1)
        os.eventfd_write(self._killed, 1)
        if running and first:
            self._thread(self._signal, "SIGKILL")

    def close(self) -> None:
        """See `Main`. The container is removed, if its engine answers in time. Idempotent."""
        if self._done.is_set():
            return
        self._done.set()
        self._remove(REMOVAL)
        for thread in self._threads:
            thread.join(REMOVAL)
        if any(thread.is_alive() for thread in self._threads):
            return  # an engine that hangs; the process ends soon, and what they hold with it
        self._output.close()
        if self._memory is not None:
            self._memory.close()
        if self._lifeline is not None:
            self._lifeline.close()
        os.close(self._nudged)
        os.close(self._killed)

    def _thread(self, target: Callable[..., None], *arguments: str) -> None:
        thread = threading.Thread(target=target, args=arguments, name=self.name, daemon=True)
        self._threads.append(thread)
        thread.start()

    # --- its life ------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            self._create()
            self._begin()
            state = self._watch()
            if (code := int(state.get("ExitCode") or 0)) >= 0:
                self.code, self.reason = code, self._worse(code, oom=bool(state.get("OOMKilled")))
            else:
                self.reason = f"{self._whose} has ended, and its engine has lost the exit code"
        except _NeverError as error:
            self.reason = str(error) or None
        except Exception as error:  # noqa: BLE001 - a defect of ours must not leave a run without an end
            self.reason = f"a defect of the run's supervisor: {error!r}"
        self.ended = True
        self._output.finish(damaged=self._damaged)
        self._report()

    def _create(self) -> None:
        body, query = self._body(), {"name": self._container.name}
        since, attempt = time.monotonic(), 0
        while True:
            try:
                self._call("POST", "/containers/create", query=query, body=body)
            except dockerapi.Refused as refusal:
                # 409 of Docker, 500 of Podman
                if "already in use" not in refusal.message or attempt > 3:
                    raise _NeverError(f"cannot create {self._whose}: {refusal}") from None
                self._remove(PATIENCE)
            except dockerapi.Unreachable as error:
                if time.monotonic() > since + PATIENCE:
                    raise _NeverError(f"cannot create {self._whose}: {error}") from None
                self._pause(attempt)
            else:
                return
            attempt += 1

    def _begin(self) -> None:
        """Bring it to run, and have its output copied."""
        attached = self._attach()
        try:
            self._start()
        except BaseException:
            if attached is not None:
                attached.close()
            raise
        at = time.time_ns() // 1000
        self._output.begin(self._container.name, attached)
        with self._lock:
            self._running = True
            stopping, killed = self._stopping, self._killed_at is not None
        if stopping:
            self._thread(self._signal, "SIGKILL" if killed else "SIGTERM")
        if self._container.body.get("HostConfig", {}).get("NetworkMode") != "none":
            self._look()  # for its address, before anybody is told that it runs
        self.started_at = at
        self._report()

    def _attach(self) -> dockerapi.Answer | None:
        """A connection that brings its output from the first byte; None where only the log is left."""
        query = {"stream": "1", "stdout": "1", "stderr": "1"}
        try:
            return self._api.stream("POST", f"{self._path}/attach", query=query, wake=self._killed)
        except (dockerapi.Refused, dockerapi.Unreachable):
            return None
        except dockerapi.Interrupted:
            raise _NeverError from None

    def _start(self) -> None:
        attempt = 0
        while True:
            try:
                self._call("POST", f"{self._path}/start")
            except dockerapi.Refused as refusal:
                raise _NeverError(self._cannot_start(refusal)) from None
            except dockerapi.Unreachable:
                self._pause(attempt)
                attempt += 1
                if not str(self._look().get("StartedAt", "0001")).startswith("0001"):
                    return
            else:
                return

    def _watch(self) -> dict[str, Any]:
        """Its state, once it has ended."""
        resumed, detached, gone = 0, False, False
        state = self._look()
        while not _has_ended(state):
            poller = select.poll()
            poller.register(self._nudged, select.POLLIN)
            poller.register(self._output.paused, select.POLLIN)
            if self.life >= 0 and not gone:
                poller.register(self.life, select.POLLIN)
            seconds = LAST_WORDS if gone else LOOK_CLOSELY if self._stopping else LOOK
            ready = dict(poller.poll(seconds * 1000))
            if self._memory is not None:
                self._memory.killed()  # as long as the count is there
            if self._nudged in ready:
                os.eventfd_read(self._nudged)
            gone = gone or self.life in ready
            if self._output.blocked and (self._stopping or gone) and not detached:
                detached = True
                self._output.detach()
            early = self._nudged in ready or self.life in ready
            if self._output.paused not in ready and (early or (self._output.blocked and not detached)):
                continue  # it needs time; and who looks while nobody reads spoils what is there to be seen
            state = self._look()
            if self._output.paused in ready:
                os.eventfd_read(self._output.paused)
                if not _has_ended(state := self._settled(state)):
                    self._pause(resumed)
                    resumed += 1
                    self._output.resume()
        return state

    def _settled(self, state: dict[str, Any]) -> dict[str, Any]:
        """Its state a little after its output has ended."""
        for seconds in SETTLE:
            if _has_ended(state):
                break
            self._done.wait(seconds)
            state = self._look()
        return state

    def _look(self) -> dict[str, Any]:
        """Its state, from an engine that is waited for; what else there is to see of it is noted."""
        attempt = 0
        while True:
            try:
                found = self._api.call("GET", f"{self._path}/json", patience=LOST)
            except (dockerapi.Refused, dockerapi.Unreachable) as error:
                if isinstance(error, dockerapi.Refused) and error.status == 404:
                    raise _NeverError(f"{self._whose} was removed by somebody else") from None
                self._damaged = True
                if self._killed_at is not None and time.monotonic() > self._killed_at + LOST:
                    raise _NeverError(
                        f"the container engine does not answer ({error}); container {self._container.name} "
                        "may still run, and is removed when the engine is back"
                    ) from None
                self._pause(attempt)
                attempt += 1
            else:
                self._note(found)
                state: dict[str, Any] = found["State"]
                return state

    def _note(self, found: dict[str, Any]) -> None:
        if self._memory is None and (pid := int(found["State"].get("Pid") or 0)):
            self._memory = memory.Memory(pid, str(found["Id"]))
            self._lifeline = lifeline.Lifeline(pid, str(found["Id"]))
        if self.started_at is None:
            settings = found.get("NetworkSettings") or {}
            known = [settings, *(settings.get("Networks") or {}).values()]
            self.address = next((str(net["IPAddress"]) for net in known if net.get("IPAddress")), None)
            ports = (settings.get("Ports") or {}).items()
            self.published = {int(port.split("/")[0]): int(to[0]["HostPort"]) for port, to in ports if to}

    # --- requests ------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, **more: Any) -> None:
        """A request on the way to running, which is left when the run is to end. Raises as `Api.call`."""
        if self._stopping:
            raise _NeverError
        try:
            self._api.call(method, path, wake=self._killed, **more)
        except dockerapi.Interrupted:
            raise _NeverError from None
        except dockerapi.Unreachable:
            self._damaged = True
            raise

    def _pause(self, attempt: int) -> None:
        self._done.wait(BACK_OFF[min(attempt, len(BACK_OFF) - 1)])

    def _signal(self, name: str) -> None:
        """Send a signal, whenever the engine takes it. What has ended cannot be signalled, which is well."""
        attempt = 0
        while not self.ended and not self._done.is_set():
            with contextlib.suppress(dockerapi.Unreachable):
                with contextlib.suppress(dockerapi.Refused):
                    self._api.call("POST", f"{self._path}/kill", query={"signal": name}, patience=LOST)
                return
            self._pause(attempt)
            attempt += 1

    def _remove(self, patience: float) -> None:
        """Kill and remove whatever has its name, if the engine answers in time.

        What fails, the daemon repeats.
        """
        until, attempt = time.monotonic() + patience, 0
        while True:
            try:
                self._api.call("DELETE", self._path, query={"force": "1", "v": "1"}, patience=patience)
            except dockerapi.Refused:
                return
            except dockerapi.Unreachable:
                if time.monotonic() > until:
                    return
                time.sleep(BACK_OFF[min(attempt, len(BACK_OFF) - 1)])
                attempt += 1
            else:
                return

    # --- words ---------------------------------------------------------------------------------------------

    def _body(self) -> dict[str, Any]:
        """The request that creates it, with the addresses of the workers, which nobody knew before."""
        body = self._container.body
        host = body.get("HostConfig", {})
        found = ((name, self.addresses.get(worker)) for name, worker in self._container.hosts.items())
        names = [f"{name}:{address}" for name, address in found if address]
        return {**body, "HostConfig": {**host, "ExtraHosts": [*host.get("ExtraHosts", ()), *names]}}

    def _cannot_start(self, refusal: dockerapi.Refused) -> str:
        if refusal.status == 404 and "no such container" in refusal.message.lower():
            return f"{self._whose} was removed by somebody else before it was started"
        body = self._container.body
        words = [*(body.get("Entrypoint") or ()), *(body.get("Cmd") or ())]
        what = f"'{words[0]}'" if words else self._whose
        # runc's words, wrapped in those of each program above it.
        why = re.sub(r"^.*(unable to start container process|create failed): ", "", refusal.message)
        found = re.search(r'exec: "[^"]*": (.*?)(: unknown|: OCI runtime .*)?$', why)
        return f"cannot start {what}: {found[1] if found else why}"

    def _worse(self, code: int, *, oom: bool) -> str | None:
        """A better word than the code."""
        if not code or not (oom or (self._memory is not None and self._memory.killed())):
            return None
        who = "Worker" if self.name.startswith("worker") else "Main"
        which = "" if self.name == "main" else f" in {self.name}"
        limit = int(self._container.body.get("HostConfig", {}).get("Memory") or 0)
        why = "out of memory" + (f" (its limit is {_size(limit)})" if limit else "")
        if code == 128 + 9:
            return f"{who} was killed{which}: {why}"
        return f"{who} exited with code {code}{which}, after a process in it was killed: {why}"


def _has_ended(state: dict[str, Any]) -> bool:
    return state.get("Status") in _ENDED


def _size(count: int) -> str:
    """Bytes in the largest binary unit that has no fraction."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count % 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} TiB"
