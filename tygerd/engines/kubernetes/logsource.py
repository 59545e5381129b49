"""The output of one container of a cluster, from its first byte to its last, whatever breaks in between.

While the container runs, a thread follows its log; once it has ended, what is missing is read without
following, since only an answer that began after the end is known to be whole: the API server ends an answer
orderly also when the kubelet breaks off. A break is repaired by asking again from the last position
(`lines`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import trio

from tygerd.engines.kubernetes import lines, logmarks, logspool, refusals
from tygerd.supervisor import log

CONTAINER = "main"
"""The one whose output is a run's log."""

LAST_WORDS = 3.0
"""Seconds that an open answer has to end by itself when its pod is being deleted: what the kubelet removes
with that cannot be asked for again. It looks every second whether a container has ended."""

PATIENCE = 60.0
"""Seconds after a run's end until we go without the rest of a log that the cluster answers for with errors:
its node may be gone for good."""

STARTING = 10.0
"""Seconds after which a log of a container that has ended is believed to be gone: a kubelet that has just
come back knows what has become of a pod before it knows of its log."""

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0
"""Seconds between two attempts, doubled each time."""

END_PAUSE = 1.0
"""Seconds in which a container's end comes to be known after its log has ended."""

_follows = trio.CapacityLimiter(5000)
"""A thread a container that runs: one that waits costs some 50 kB. Runs are limited elsewhere."""

_reads = trio.CapacityLimiter(16)

logger = logging.getLogger(__name__)

Object = Mapping[str, Any]


class Answer(Protocol):
    """What the cluster sends of a log: it is asked at the first byte.

    `close` may be called in another thread, and ends the iteration, also one that has not begun.
    """

    def __iter__(self) -> Iterator[bytes]:
        """What has come."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class Cluster(Protocol):
    """What of a cluster is needed here; blocking. Errors are those of `refusals`."""

    def logs(
        self,
        pod: str,
        container: str,
        *,
        follow: bool,
        since: str | None = None,
        previous: bool = False,
        stream: str | None = None,
    ) -> Answer:
        """A container's log with times, from a whole second on; `previous`: that before its last restart.

        `stream` is `Stdout` or `Stderr`, where the cluster can tell them apart.
        """
        ...


class _State(NamedTuple):
    """What a pod says of its container: how often it was restarted, and whether it runs or has ended.

    `leaving`: the pod is being deleted, or gone.
    """

    uid: str
    restarts: int
    running: bool
    ended: bool
    leaving: bool


class Source:
    """The output of one pod's container, through all its restarts. `over` is set once everything is taken."""

    def __init__(self, cluster: Cluster, spool: logspool.Spool, pod: str, label: str) -> None:
        self._cluster = cluster
        self._spool = spool
        self._pod = pod
        self._label = f"{label} ".encode() if label else b""
        self.over = trio.Event()
        self._changed = trio.Event()
        self._progress = trio.Event()
        self._state: _State | None = None
        self._uid, self._instance = "", 0
        self._taken = False
        self._gained = False
        self._given_up_at: float | None = None
        self._missed_since: float | None = None
        self._reading = _Reading()
        self._cutter: lines.Cutter | None = None
        self._warned = False

    def observe(self, pod: Object | None) -> None:
        """The newest state of the pod; None: there is none."""
        state = _state_of(pod) if pod is not None else None
        if state is None and self._state is not None:
            state = self._state._replace(running=False, ended=True, leaving=True)
        if state != self._state:
            self._state = state
            self._ring()

    def finish(self) -> None:
        """Come to an end: nobody waits for what a container that runs prints from now on."""
        if self._given_up_at is None:
            self._given_up_at = trio.current_time() + PATIENCE
            self._ring()

    def close(self) -> None:
        """Have the thread come to its end."""
        self._reading.cut()

    @property
    def has_printed(self) -> bool:
        """Something was taken."""
        return self._spool.position(self._key).since is not None

    def mark(self, path: str) -> None:
        """Mark in the run's log which records are of standard error. Blocking; to be done at the end.

        Raises:
            OSError: the file cannot be written.
            Trouble: the cluster cannot say.
        """
        answer = self._cluster.logs(self._pod, CONTAINER, follow=False, stream="Stderr")
        try:
            cutter = lines.Cutter(lines.Position())
            logmarks.mark(path, self._label, _lines(answer, cutter))
        finally:
            answer.close()

    def can_tell(self) -> bool:
        """Whether the cluster can tell the two streams apart: then it names those that there are. Blocking.

        Raises:
            Trouble: the cluster cannot say.
        """
        answer = self._cluster.logs(self._pod, CONTAINER, follow=False, stream="Neither")
        try:
            next(iter(answer), None)
        except refusals.NotFound:
            raise
        except refusals.Refused as refusal:
            return refusal.status == 422 and "Unsupported value" in refusal.message  # else it is off
        finally:
            answer.close()
        return False

    async def run(self) -> None:
        """Take everything, until `finish` was called and there is no more."""
        pause = FIRST_PAUSE
        while True:
            changed, state = self._changed, self._state
            finishing = self._given_up_at is not None
            if state is not None and state.uid != self._uid:
                self._begin(state)
            progress, self._progress = self._progress, trio.Event()
            progress.set()
            if state is None or self._nothing_new(state):
                if finishing:
                    break
                await changed.wait()
                continue
            try:
                if await self._advance(state, finishing=finishing):
                    pause = FIRST_PAUSE
                    if finishing and not state.ended and self._instance == state.restarts:
                        break
                    continue
                least = END_PAUSE
            except refusals.Transient as trouble:
                least = 0.0
                if self._is_hopeless(trouble):
                    self._warn(str(trouble))
                    break
            if self._gained:
                pause, self._gained = FIRST_PAUSE, False
            with trio.move_on_after(max(pause, least)):
                await changed.wait()
            pause = min(2 * pause, LONGEST_PAUSE)
        self.over.set()
        self._progress.set()

    async def settled(self) -> None:
        """Until everything was taken of a container that has ended; of one that runs at once."""
        while not self.over.is_set():
            state, progress = self._state, self._progress
            if state is None or not state.ended or (state.uid == self._uid and self._nothing_new(state)):
                return
            await progress.wait()

    # --- steps -------------------------------------------------------------------------------------------

    def _begin(self, state: _State) -> None:
        """Another pod has come under our name, or the first one: where to begin."""
        self._uid = state.uid
        known = [int(key.rpartition("/")[2]) for key in self._spool.keys(f"{state.uid}/")]
        self._instance = max(known, default=max(0, state.restarts - 1))
        self._taken = False
        self._missed_since = None

    def _nothing_new(self, state: _State) -> bool:
        if self._instance < state.restarts:
            return False
        return self._taken or not (state.running or state.ended)

    async def _advance(self, state: _State, *, finishing: bool) -> bool:
        """One step; False: nothing was to be had, try again in a while.

        Raises:
            Transient: the cluster cannot give it at present.
        """
        if self._instance < state.restarts:
            if not self._taken and self._instance == state.restarts - 1:
                await self._read(previous=True, final=True)
            self._spool.forget(self._key)
            self._instance, self._taken = max(self._instance + 1, state.restarts - 1), False
            return True
        if state.ended or finishing:
            had = await self._read(final=True)
            if not had and state.ended and not state.leaving and not self._is_surely_gone():
                return False
            if not had and self._cutter is not None:  # it is gone, but for what was followed
                await trio.to_thread.run_sync(self._take_rest, self._cutter, limiter=_reads)
            self._cutter = None
            self._taken = state.ended
            return had or state.ended or finishing
        trouble: refusals.Transient | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_when_over, state)
            try:
                await self._read(follow=True)
            except refusals.Transient as each:  # a nursery would wrap it
                trouble = each
            nursery.cancel_scope.cancel()
        if trouble is not None:
            raise trouble
        now = self._state
        return now is None or now.ended or now.restarts > self._instance or self._given_up_at is not None

    async def _cut_when_over(self, followed: _State) -> None:
        """End the following once it can give no more than a reading does."""
        while True:
            changed, now = self._changed, self._state
            if self._given_up_at is not None or now is None or now[:4] != followed[:4]:
                if now is not None and now.leaving:
                    await trio.sleep(LAST_WORDS)
                self._reading.cut()
                return
            await changed.wait()

    async def _read(self, *, follow: bool = False, previous: bool = False, final: bool = False) -> bool:
        """Take what one answer gives; whether there was one, and it was nothing but the log.

        Raises:
            Transient: it was cut, or there is none at present.
        """
        position = self._spool.position(self._key)
        before = position.last, position.taken
        self._reading = reading = _Reading()
        cutter = lines.Cutter(position)
        since = None if position.since is None else log.timestamp(position.since * 1_000_000_000)

        def take() -> None:
            answer = self._cluster.logs(self._pod, CONTAINER, follow=follow, since=since, previous=previous)
            if not reading.has(answer):
                return
            try:
                for data in answer:
                    if not self._spool.add(lambda data=data: cutter.feed(data), self._label):  # type: ignore[misc]
                        return
                if not follow:
                    self._spool.add(lambda: cutter.end(final=final), self._label)
            except refusals.Transient:
                if not reading.is_cut:
                    raise
            finally:
                answer.close()

        try:
            await trio.to_thread.run_sync(
                take, limiter=_follows if follow else _reads, abandon_on_cancel=True
            )
        except (refusals.NotFound, refusals.Refused) as refusal:
            logger.info("no log of pod %s: %s", self._pod, refusal)
            if isinstance(refusal, refusals.Refused) and refusal.status in (401, 403):
                self._warn(str(refusal))
            return False
        finally:
            self._gained |= before != (position.last, position.taken)
            if follow:
                self._cutter = cutter
        if cutter.strangers:
            logger.info("the cluster says of the log of pod %s: %s", self._pod, cutter.strangers[0])
            return False
        return True

    def _is_surely_gone(self) -> bool:
        """Whether a log that cannot be had is not going to come any more."""
        now = trio.current_time()
        if self._missed_since is None:
            self._missed_since = now
        return now >= self._missed_since + STARTING

    def _take_rest(self, cutter: lines.Cutter) -> None:
        self._spool.add(lambda: cutter.end(final=True), self._label)

    @property
    def _key(self) -> str:
        return f"{self._uid}/{CONTAINER}/{self._instance}"

    def _is_hopeless(self, trouble: refusals.Transient) -> bool:
        """Whether the run's end should wait no longer: we can ask, but for this there is no good answer."""
        late = self._given_up_at is not None and trio.current_time() >= self._given_up_at
        return late and trouble.status is not None

    def _warn(self, words: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("the log of pod %s cannot be had whole: %s", self._pod, words)

    def _ring(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


class _Reading:
    """An answer that a thread reads, and that another one may cut, also before it is there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answer: Answer | None = None
        self.is_cut = False

    def has(self, answer: Answer) -> bool:
        """It has come; False: it is wanted no more, and closed."""
        with self._lock:
            self._answer = answer
            cut = self.is_cut
        if cut:
            answer.close()
        return not cut

    def cut(self) -> None:
        """End it. Idempotent."""
        with self._lock:
            self.is_cut = True
            answer = self._answer
        if answer is not None:
            answer.close()


def _lines(answer: Answer, cutter: lines.Cutter) -> Iterator[lines.Line]:
    for data in answer:
        yield from cutter.feed(data)
    yield from cutter.end(final=True)


def _state_of(pod: Object) -> _State:
    """What is to be known of a pod's container."""
    metadata = pod["metadata"]
    statuses = pod.get("status", {}).get("containerStatuses") or []
    status: Object = next((each for each in statuses if each["name"] == CONTAINER), {})
    state, last = status.get("state") or {}, status.get("lastState") or {}
    running = "running" in state
    return _State(
        uid=metadata["uid"],
        restarts=status.get("restartCount", 0),
        running=running,
        ended="terminated" in state or ("terminated" in last and not running),
        leaving="deletionTimestamp" in metadata,
    )
