"""The files in a run's directory, by which the engine remembers what it was asked to do. Blocking.

    job.json       the job, and what is created for it; written by `start`, then never changed
    cancel.json    why the run is to end; the first one counts
    begun          something of it may have been created
    created        all of it was created: what is missing from now on was taken away
    verdict.json   how the run will have ended, once what still runs of it is stopped
    log            what it printed, and `logged.json`, how far that is (`logs`)
    end.json       how it ended; from then on nothing of it is needed in the cluster
    cleaned        nothing of it is left there

Each appears whole. A reader refuses a version that it does not know: it may be a newer daemon's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TypeVar

import msgspec

from tygerd.engines import base
from tygerd.engines.kubernetes import objects
from tygerd.osutil import durable

VERSION = 1

JOB, CANCEL, BEGUN, CREATED, VERDICT, LOG, END, CLEANED = (
    "job.json",
    "cancel.json",
    "begun",
    "created",
    "verdict.json",
    "log",
    "end.json",
    "cleaned",
)

T = TypeVar("T")


class Record(msgspec.Struct, kw_only=True, frozen=True):
    """What a run is. `namespace` is where its objects are, `installation` whose."""

    version: int = VERSION
    namespace: str
    installation: str
    job: base.Job
    objects: objects.Objects


class _Cancel(msgspec.Struct, frozen=True):
    reason: str


class _Ended(msgspec.Struct, kw_only=True, frozen=True):
    version: int = VERSION
    observation: base.Observation


class RunDirectory:
    """One run's. With `sync` what is written survives a loss of power."""

    def __init__(self, path: str, *, sync: bool) -> None:
        self.path = path
        self._sync = sync

    @property
    def exists(self) -> bool:
        """Whether anything of the run is here."""
        return os.path.isdir(self.path)

    @property
    def was_started(self) -> bool:
        """Whether the run is to be executed, whatever happens."""
        return os.path.exists(self._at(JOB))

    @property
    def log(self) -> str:
        """The path of its log."""
        return self._at(LOG)

    def start(self, record: Record) -> None:
        """Remember a run. Raises OSError: it is not remembered."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        self._write(JOB, record)
        if self._sync:
            durable.sync_path(os.path.dirname(self.path))

    def record(self) -> Record:
        """What the run is.

        Raises:
            NeverStarted: it is none of ours.
            ValueError: it was written by another version of the daemon, or is broken.
        """
        record = self._read(JOB, Record)
        if record is None:
            raise base.NeverStarted
        if record.version != VERSION:
            raise ValueError(f"{self._at(JOB)} has version {record.version}, and this daemon knows {VERSION}")
        return record

    def cancel(self, reason: str) -> None:
        """Remember that it is to end, unless that is known, or it has ended."""
        if self.was_started and self.end() is None and self.cancelled() is None:
            self._write(CANCEL, _Cancel(reason))

    def cancelled(self) -> str | None:
        """Why it is to end, if it is."""
        found = self._read(CANCEL, _Cancel)
        return None if found is None else found.reason

    def note_begun(self) -> None:
        """Remember that something may be in the cluster from now on."""
        durable.replace(self._at(BEGUN), b"", sync=self._sync)

    @property
    def was_begun(self) -> bool:
        """Whether something may be in the cluster."""
        return os.path.exists(self._at(BEGUN))

    def note_created(self) -> None:
        """Remember that all was created."""
        durable.replace(self._at(CREATED), b"", sync=self._sync)

    @property
    def was_created(self) -> bool:
        """Whether all was created."""
        return os.path.exists(self._at(CREATED))

    def note_verdict(self, observation: base.Observation) -> None:
        """Remember how it will have ended."""
        self._write(VERDICT, _Ended(observation=observation))

    def verdict(self) -> base.Observation | None:
        """How it will have ended, if that is decided."""
        found = self._read(VERDICT, _Ended)
        return None if found is None else found.observation

    def note_end(self, observation: base.Observation) -> None:
        """Remember how it ended."""
        self._write(END, _Ended(observation=observation))

    def end(self) -> base.Observation | None:
        """How it ended, if it has."""
        found = self._read(END, _Ended)
        return None if found is None else found.observation

    def note_cleaned(self) -> None:
        """Remember that nothing of it is left in the cluster."""
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            durable.replace(self._at(CLEANED), b"", sync=False)

    @property
    def was_cleaned(self) -> bool:
        """Whether nothing of it is left in the cluster."""
        return os.path.exists(self._at(CLEANED))

    def remove(self) -> None:
        """Forget it. What there was to do is forgotten before that it is done: nobody does it again."""
        for name in (JOB, END):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._at(name))
        shutil.rmtree(self.path, ignore_errors=True)

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _write(self, name: str, content: msgspec.Struct) -> None:
        durable.replace(self._at(name), msgspec.json.encode(content), sync=self._sync)

    def _read(self, name: str, kind: type[T]) -> T | None:
        try:
            with open(self._at(name), "rb") as file:
                return msgspec.json.decode(file.read(), type=kind)
        except FileNotFoundError:
            return None
