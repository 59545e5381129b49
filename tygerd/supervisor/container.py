"""A program of a run in a container of an engine that speaks Docker's API: its whole life.

Theory of operation. One thread lives the container's life: create, attach, start, inspect; then it sleeps
until the output ends, inspects again, and says how it ended. It never asks the engine to *wait*: Podman polls
for that, and takes a third of a core and up to half a second for it. An engine that goes away is waited for
(see `handle`); the container goes on meanwhile. Signals have threads of their own, for a request may wait.
"""

from __future__ import annotations

import math
import os
import re
import select
import threading
import time
from collections.abc import Callable
from typing import Any

from tygerd.supervisor import dockerapi, handle, lifeline, log, mains, memory, output, spec

SETTLE = (0.003, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Seconds between looks at a container whose output has ended: it may be about to end."""

LOOK, LOOK_CLOSELY = 30.0, 1.0
"""Seconds between looks at a container of which nothing is heard; the latter when it was told to end."""

LAST_WORDS = 0.5
"""Seconds after the end of its first process in which its output ends, too."""

REMOVAL = 10.0
"""Seconds for the removal at the end; the daemon removes what is left."""


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
        self._report = report
        self._memory: memory.Memory | None = None
        self._lifeline: lifeline.Lifeline | None = None
        self._lock = threading.Lock()
        self._running = False
        self._killed = False
        self._looking = False
        self._closed = False
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
        self._handle = handle.Handle(self._container, f"{self.name}'s container")
        logged = self._container.body.get("HostConfig", {}).get("LogConfig", {})
        self._output = output.Output(
            self._handle.api, self._source, local=logged.get("Type") == "local", ending=self._is_ending
        )
        self.sources = self._output.sources
        self._nudged = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread(self._live)

    def terminate(self) -> None:
        """See `Main`."""
        with self._lock:
            self._handle.stopping = True
            running = self._running
        os.eventfd_write(self._nudged, 1)
        if running:
            self._thread(self._handle.signal, "SIGTERM")

    def kill(self) -> None:
        """See `Main`."""
        with self._lock:
            self._handle.stopping = self._killed = True
            running = self._running
        os.eventfd_write(self._nudged, 1)
        if self._handle.killed() and running:
            self._thread(self._handle.signal, "SIGKILL")

    def close(self) -> None:
        """See `Main`. The container is removed, if its engine answers in time. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._handle.finish()
        self._handle.remove(REMOVAL)
        for thread in self._threads:
            thread.join(REMOVAL)
        if any(thread.is_alive() for thread in self._threads):
            return  # an engine that hangs; the process ends soon, and what they hold with it
        self._output.close()
        if self._memory is not None:
            self._memory.close()
        if self._lifeline is not None:
            self._lifeline.close()
        self._handle.close()
        os.close(self._nudged)

    def _thread(self, target: Callable[..., None], *arguments: str) -> None:
        thread = threading.Thread(target=target, args=arguments, name=self.name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _is_ending(self) -> bool:
        """Whether its end may be near, or a look at it is under way. From any thread."""
        return self._looking or self._handle.stopping or self.doubtful

    # --- its life ------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            self._begin()
            state = self._watch()
            if (code := int(state.get("ExitCode") or 0)) >= 0:
                self.code, self.reason = code, self._worse(code, oom=bool(state.get("OOMKilled")))
            else:
                self.reason = f"{self._handle.whose} has ended, and its engine has lost the exit code"
        except handle.NeverError as error:
            self.reason = str(error) or None
        except Exception as error:  # noqa: BLE001 - a defect of ours must not leave a run without an end
            self.reason = f"a defect of the run's supervisor: {error!r}"
        self.ended = True
        self._handle.finish()
        self._output.finish(damaged=self._handle.damaged, lost=self._handle.lost)
        self._report()

    def _begin(self) -> None:
        """Bring it to run, and have its output copied."""
        # Copied from before the start: a busy engine answers that long after the first lines, whose time is
        # when they are read.
        self._output.begin(self._container.name, self._handle.make(self._body()))
        host = self._container.body.get("HostConfig", {})
        if host.get("Memory"):
            self._look()  # its limit may be reached at once, and after that nobody can tell any more
        try:
            self._handle.start()
        except dockerapi.Refused as refusal:
            raise handle.NeverError(self._cannot_start(refusal)) from None
        at = time.time_ns() // 1000
        with self._lock:
            self._running = True
            stopping, killed = self._handle.stopping, self._killed
        if stopping:
            self._thread(self._handle.signal, "SIGKILL" if killed else "SIGTERM")
        if host.get("NetworkMode") != "none":
            self._look()  # for its address, before anybody is told that it runs
        self.started_at = at
        self._report()

    def _watch(self) -> dict[str, Any]:
        """Its state, once it has ended."""
        resumed, detached, gone = 0, False, False
        seconds = 0.0
        state: dict[str, Any] = {}
        while not handle.has_ended(state):
            poller = select.poll()
            poller.register(self._nudged, select.POLLIN)
            poller.register(self._output.paused, select.POLLIN)
            if self.life >= 0 and not gone:
                poller.register(self.life, select.POLLIN)
            ready = dict(poller.poll(seconds * 1000))
            if self._memory is not None:
                self._memory.killed()  # as long as the count is there
            if self._nudged in ready:
                os.eventfd_read(self._nudged)
            gone = gone or self.life in ready
            seconds = LAST_WORDS if gone else LOOK_CLOSELY if self._handle.stopping else LOOK
            if self._output.blocked and (self._handle.stopping or gone) and not detached:
                detached = True
                self._output.detach()
            early = self._nudged in ready or self.life in ready
            blind = bool(state) and self._output.blocked and not detached
            if self._output.paused not in ready and (early or blind):
                continue  # it needs time; and who looks while nobody reads spoils what is there to be seen
            state = self._look()
            if self._output.paused in ready:
                os.eventfd_read(self._output.paused)
                if not handle.has_ended(state := self._settled(state)):
                    self._handle.pause(resumed)
                    resumed += 1
                    self._output.resume()
        return state

    def _settled(self, state: dict[str, Any]) -> dict[str, Any]:
        """Its state a little after its output has ended."""
        for seconds in SETTLE:
            if handle.has_ended(state):
                break
            self._handle.rest(seconds)
            state = self._look()
        return state

    def _look(self) -> dict[str, Any]:
        """Its state; what else there is to see of it is noted."""
        self._looking = True
        found = self._handle.look()
        self._looking = False
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
            return f"{self._handle.whose} was removed by somebody else before it was started"
        body = self._container.body
        words = [*(body.get("Entrypoint") or ()), *(body.get("Cmd") or ())]
        what = f"'{words[0]}'" if words else self._handle.whose
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


def _size(count: int) -> str:
    """Bytes in the largest binary unit that has no fraction."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count % 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} TiB"
