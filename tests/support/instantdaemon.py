"""`tygerd` with an engine whose jobs are over as soon as they start, or, `image: patient`, when canceled.

For tests of what the daemon remembers of thousands of runs: a thousand real jobs would take minutes. Like a
real engine it knows, over `kill -9`, what it was asked to start.
"""

from __future__ import annotations

import os
import sys

import trio

from tygerd import __main__ as tygerd
from tygerd import app
from tygerd.engines import base

DONE = 1_700_000_000_000_000


class InstantEngine:
    """See the module."""

    def __init__(self, where, _settings, _supervisors):
        self.traits = base.Traits(name="instant")
        self._directory = os.path.join(where.state, "instant")
        os.makedirs(self._directory, exist_ok=True)
        self._cancelled = {}

    async def unavailable(self):
        """Never is."""

    async def check(self, _codespec, _worker=None, *, pull=False):
        """All can be run."""

    async def prepare(self, _image, _progress, *, pull=False):
        """There are no images."""

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        await trio.sleep_forever()

    async def start(self, job):
        draft = self._path(job.run) + ".new"
        with open(draft, "w") as file:
            file.write(job.codespec.image)
        os.rename(draft, self._path(job.run))  # a daemon that is killed here has started it whole, or not

    async def knows(self, run):
        return os.path.exists(self._path(run))

    def has(self, run):
        return os.path.exists(self._path(run))

    async def follow(self, run, report):
        try:
            with open(self._path(run)) as file:
                patient = file.read() == "patient"
        except FileNotFoundError:
            raise base.NeverStarted from None
        await report(base.Observation(status="Running", started_at=DONE - 1))
        status = "Succeeded"
        if patient:
            await self._event(run).wait()
            status = "Canceled"
        return base.Observation(status=status, started_at=DONE - 1, finished_at=DONE)

    async def cancel(self, run, _reason):
        self._event(run).set()

    def log_path(self, run):
        return self._path(run) + ".log"

    async def remove(self, run):
        self._cancelled.pop(run, None)
        if os.path.exists(self._path(run)):
            os.unlink(self._path(run))

    def _event(self, run):
        return self._cancelled.setdefault(run, trio.Event())

    def _path(self, run):
        return os.path.join(self._directory, str(run))


if __name__ == "__main__":
    app.process.ProcessEngine = InstantEngine
    sys.exit(tygerd.main())
