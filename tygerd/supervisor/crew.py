"""All programs of a run: its workers and the replicas of its job; when each starts, and what its end means.

Theory of operation. Workers are started first. Once all of them run the job's replicas are started, all at
once; one that cannot be started, as one that fails, gives the run its cause to end. The job has *ended* once
every replica has, or nobody will start them any more; then the workers are killed, and with them every
process that anybody left behind. All are *gone* when that is done.
"""

from __future__ import annotations

import signal
import threading

from tyger import errors
from tygerd.supervisor import ending, log, mains, spec, tree


class Crew:
    """Used by the main loop alone. Nothing here blocks."""

    def __init__(self, setup: spec.Spec, end: ending.Ending) -> None:
        self._end = end
        stamps = log.Stamps()  # shared: there is one log
        self.job = [mains.make(main, stamps, end) for main in setup.mains]
        self.workers = [mains.make(worker, stamps, end) for worker in setup.workers]
        self.begun = False
        """The job was started; its replicas may be on their way to run."""
        self.started: list[mains.Main] = []
        self._judged: set[mains.Main] = set()
        self._told: set[mains.Main] = set()
        """Those of whose end `Ending` knows: a moment later, as other threads see it."""
        self._children = False

    @property
    def started_at(self) -> int | None:
        """When the first replica began to run, in microseconds since the epoch."""
        return min((main.started_at for main in self.job if main.started_at is not None), default=None)

    @property
    def running(self) -> int:
        """How many replicas of the job run."""
        return sum(main.runs for main in self.job)

    @property
    def ended(self) -> bool:
        """No replica runs, and none ever will; what that means has been noted."""
        job = [main for main in self.started if main in self.job]
        return self._judged.issuperset(job) and (self.begun or self._end.wanted)

    @property
    def doubtful(self) -> bool:
        """Something has ended, but how is not known yet. From any thread."""
        return any(main.doubtful or (main.ended and main not in self._told) for main in tuple(self.started))

    @property
    def gone(self) -> bool:
        """Nothing that was started is left."""
        return not self._children and self._judged.issuperset(self.started)

    def advance(self) -> None:
        """Start what is to be started now, and take notice of what has ended."""
        if not self._end.wanted and not self.begun:
            if not self.started:
                self._start(self.workers)
            if not self._end.wanted and all(worker.started_at is not None for worker in self.workers):
                self.begun = True
                self._start(self.job)
        if self._children:
            self._reap()
        for main in (*self.job, *self.workers):  # a worker's end counts only before the job's
            if main.ended and main not in self._judged:
                self._judged.add(main)
                self._judge(main)
                self._told.add(main)

    def _start(self, group: list[mains.Main]) -> None:
        addresses = {worker.name: worker.address for worker in self.workers if worker.address is not None}
        for main in group:
            main.addresses = addresses
            try:
                main.start()
            except errors.Problem as problem:
                self._end.fail(problem.message)
                return
            self.started.append(main)
            self._children |= isinstance(main, mains.ProcessMain)

    def _reap(self) -> None:
        codes, self._children = tree.reap()
        for main in self.started:
            if isinstance(main, mains.ProcessMain) and main.pid in codes:
                main.reaped(codes[main.pid])

    def _judge(self, main: mains.Main) -> None:
        """What the end of this one means for the run."""
        if main in self.workers:
            if not self.ended and (main.code or main.reason):
                which = f" in {main.name}" if len(self.workers) > 1 else ""
                code = ending.describe(main.code or 0)
                self._end.fail(main.reason or f"Worker exited with code {code}{which}")
        elif main.code or main.reason:
            self._end.exited(
                main.code, main.reason or f"Main exited with code {ending.describe(main.code or 0)}"
            )
        elif self.ended and main.code is not None:
            self._end.exited(main.code)

    def terminate(self) -> None:
        """Ask the job to end. Its workers stay until it has."""
        known = {main.pid for main in self.started if isinstance(main, mains.ProcessMain) and main.pid}
        strays = tree.descendants(skip=known) if self._children else []
        for main in self.started:
            if main in self.job and not main.ended:
                main.terminate()
        tree.send(signal.SIGTERM, strays)

    def kill(self) -> None:
        """End everything, and what it left behind."""
        for main in self.started:
            if not main.ended:
                main.kill()
        if self._children:
            tree.kill()

    def close(self) -> None:
        """Release what is held; may wait, for all at once."""
        threads = [threading.Thread(target=main.close, daemon=True) for main in self.started]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
