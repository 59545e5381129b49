"""One ephemeral buffer: a writer's pipe and a reader's, joined, with nothing kept between them.

Theory of operation. Each end is claimed once: by a client or the job's supervisor, who bring a descriptor of
a pipe, or by an HTTP request, whose body goes through a pipe of ours (`api.relays`). Once both ends are there
both are told that they are `joined`; then one thread splices from pipe to pipe. End of file completes
nothing: the writer says how its producer ended, as for a buffer that is stored. No byte is ever in our
memory, so who has brought a descriptor comes back to the next daemon and goes on at the exact byte, provided
that both do: one that was joined is never joined to one that was not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import trio

from tyger import errors, streams
from tygerd.streams import reporting, splicing

Direction = Literal["input", "output"]
"""As the job sees it."""

Role = Literal["writer", "reader"]

Outcome = Literal["complete", "failed"]

QUIET = 1.0
"""Seconds that an end waits for the other one before it is told for whom: a person begins to wonder."""

HALT_PATIENCE = 2.0
"""Seconds that an end which leaves waits for the thread. Whoever holds a pipe's lock, as a `splice` from a
terminal into it does, can keep it in the kernel for ever; it touches no pipe again once it is back."""

ALREADY_CALLED = "the buffer endpoint can only be called once"
FAILED_TO_OPEN = "failed to open reader: the job has ended without opening its pipe"
NEVER_OPENED = "the job has ended without opening its pipe"
WRITER_GONE = "its writer was killed, or lost its connection, before it said how its input ended"
READER_GONE = "its reader went away before it had taken everything"
JOB_HAD_ENOUGH = "the job has ended before it had taken everything"
JOB_LOST = "the run has ended before the stream did"
NOT_BACK = "the daemon was restarted in the middle of the stream, and its other end has not come back"
STOPS = "the daemon stops, and an end of the stream that came over HTTP cannot come back to the next one"


class Phase(StrEnum):
    """Where the stream is."""

    WAITING = "waiting"  # not both of its ends are there
    MOVING = "moving"
    ENDED = "ended"  # all of it is in the reader's pipe, and the writer has not said how it ended
    COMPLETE = "complete"
    CLOSED = "closed"  # its reader takes no more, which is not the writer's fault
    FAILED = "failed"


class Event(StrEnum):
    """What happens to it."""

    JOINED = "joined"
    EOF = "eof"
    SAID_COMPLETE = "said complete"
    READER_LEFT = "reader left"
    FAILED = "failed"


_BADLY = {Event.READER_LEFT: Phase.CLOSED, Event.FAILED: Phase.FAILED}

TRANSITIONS: dict[Phase, dict[Event, Phase]] = {
    Phase.WAITING: {Event.JOINED: Phase.MOVING, **_BADLY},
    Phase.MOVING: {Event.EOF: Phase.ENDED, **_BADLY},
    Phase.ENDED: {Event.SAID_COMPLETE: Phase.COMPLETE, **_BADLY},
    Phase.COMPLETE: {},
    Phase.CLOSED: {},
    Phase.FAILED: {},
}


class WrongWayError(errors.Problem):
    """The end that was asked for is the job's own."""


class AlreadyCalledError(errors.Problem):
    """The end has, or had, somebody else."""

    def __init__(self) -> None:
        super().__init__(errors.CONFLICT, ALREADY_CALLED)


@dataclass(eq=False, slots=True)
class End:
    """One who writes or reads. `pipe` is the caller's, open until `Relay.leave` has returned.

    `joined`: an earlier daemon had joined it. `comes_back`: it would come to the next daemon, too.
    """

    role: Role
    pipe: int
    of_job: bool = False
    joined: bool = False
    comes_back: bool = True
    ready: bool = False
    """It knows that it is joined."""


class Relay:
    """One stream. `start` runs a task that outlives requests; `grace` is in seconds."""

    def __init__(self, name: str, direction: Direction, start: Callable[..., None], *, grace: float) -> None:
        self.name = name
        self.direction = direction
        self.phase = Phase.WAITING
        self.reason: str | None = None
        self.bytes = 0
        self.never_opened = False
        """The job has ended without opening its pipe."""
        self.over = trio.Event()
        self.changed = trio.Event()
        """The next change of its phase or of who is there."""
        self._moved = trio.Event()
        self._heeded = False
        self._start = start
        self._grace = grace
        self._ends: dict[Role, End] = {}
        self._came: set[Role] = set()
        self._stop: streams.Stop | None = None
        """Ends the thread that moves, while there is one."""
        self._halted = trio.Event()
        self._halted.set()

    @property
    def job_role(self) -> Role:
        """Which of the ends is the job's."""
        return "reader" if self.direction == "input" else "writer"

    # --- who comes and goes ------------------------------------------------------------------------------

    def claim(self, end: End) -> None:
        """Take an end; `leave` must follow.

        Raises:
            Problem: CONFLICT, there is or was somebody, or the stream is over.
            WrongWayError: the end is the job's own.
        """
        if end.of_job != (end.role == self.job_role):
            # The original has the two the wrong way round.
            what, verb = ("input", "read from") if self.direction == "input" else ("output", "written to")
            raise WrongWayError(errors.CONFLICT, f"the buffer is an {what} buffer and cannot be {verb}")
        if self.phase in (Phase.CLOSED, Phase.FAILED) and end.role not in self._came:
            raise errors.Problem(errors.BUFFER_FAILED, self.reason or "the stream has failed")
        if self.over.is_set() or end.role in self._came:
            raise AlreadyCalledError
        self._came.add(end.role)
        self._ends[end.role] = end
        end.ready = not end.comes_back  # there is nobody to tell
        if len(self._ends) < 2:
            if end.joined:
                self._start(self._await_other)
        elif len({each.joined for each in self._ends.values()}) > 1:
            self._conclude(Event.FAILED, NOT_BACK)
        else:
            self._begin_once_ready()
        self._stir()

    async def leave(self, end: End, *, gone: bool) -> None:
        """An end lets go of its pipe; not cancelled. `gone`: for good, else only this daemon goes."""
        self._halt()
        await self.halted()
        if self.over.is_set():
            return
        if not gone and end.comes_back:
            self.stop()
        elif end.role == "writer":
            self._conclude(Event.FAILED, JOB_LOST if end.of_job else WRITER_GONE)
        elif end.of_job:
            self._conclude(Event.READER_LEFT, JOB_HAD_ENOUGH)
        elif len(self._ends) == 1 and not end.joined:
            self._came.discard("reader")  # nothing was lost: another may come
        else:
            self._conclude(Event.READER_LEFT, READER_GONE)
        del self._ends[end.role]
        self._stir()

    async def halted(self) -> None:
        """Return once nothing is moved any more, where the stream is over; not cancelled."""
        with trio.move_on_after(HALT_PATIENCE, shield=True):
            await self._halted.wait()

    def say(self, outcome: Outcome, reason: str | None) -> None:
        """The writer says how its producer ended. Idempotent.

        Raises:
            Problem: CONFLICT, the stream has ended otherwise, or `complete` came before end of file.
        """
        if self.over.is_set():
            if self.phase.value != outcome:
                why = f": {self.reason}" if self.reason else ""
                raise errors.Problem(errors.CONFLICT, f"the buffer is already {self.phase.value}{why}")
        elif outcome == "failed":
            self._conclude(Event.FAILED, reason or "its writer failed")
        elif self.phase is Phase.ENDED:
            self._conclude(Event.SAID_COMPLETE, None)
        else:
            message = "the buffer cannot be completed: end of file has not been seen yet"
            raise errors.Problem(errors.CONFLICT, message)

    def stop(self) -> None:
        """The daemon stops: who came over HTTP is not kept."""
        if not self.over.is_set() and any(not each.comes_back for each in self._ends.values()):
            self._conclude(Event.FAILED, STOPS)

    def end(self, failure: str | None) -> None:
        """Its run is over; `failure` says why it did not succeed."""
        if self.over.is_set():
            return
        self.never_opened = self.job_role not in self._came
        if failure is not None:
            self._conclude(Event.FAILED, failure)
        elif self.direction == "output":
            self._conclude(Event.FAILED, FAILED_TO_OPEN if self.never_opened else JOB_LOST)
        else:
            self._conclude(Event.READER_LEFT, NEVER_OPENED if self.never_opened else JOB_HAD_ENOUGH)

    # --- what an end is told -----------------------------------------------------------------------------

    async def follow(self, end: End, report: reporting.Report) -> None:
        """Report what becomes of the stream to an end that has claimed it, until it is over."""
        await report({"event": "attached"})
        sent: dict[str, Any] = {}
        told_end = False
        quiet = trio.current_time() + QUIET
        while not self.over.is_set():
            changed, moved = self.changed, self._moved
            if len(self._ends) == 2 and not end.ready:
                await report({"event": "joined"})
                end.ready = True
                self._begin_once_ready()
            elif self.phase is Phase.ENDED and end.role == "writer" and not told_end:
                told_end = True
                await report({"event": "eof", "bytes": self.bytes})
            elif len(self._ends) < 2 and trio.current_time() < quiet:
                with trio.move_on_at(quiet):
                    await changed.wait()
            elif (now := self._progress()) != sent:
                sent = now
                await report(now)
                with trio.move_on_after(reporting.INTERVAL):
                    await changed.wait()
            else:
                self._heeded = True
                if self._progress() == sent:  # the thread may have moved more just before
                    await moved.wait()
        await report(self._last())

    @property
    def waiting(self) -> str | None:
        """For whom the one end that is there waits, in words."""
        if self.over.is_set() or len(self._ends) != 1:
            return None
        (end,) = self._ends.values()
        if end.joined:
            return "its other end has not come back yet"
        if not end.of_job:
            return "the job has not opened its pipe yet"
        return f"its {'reader' if end.role == 'writer' else 'writer'} has not come yet"

    def _progress(self) -> dict[str, Any]:
        now: dict[str, Any] = {"event": "progress", "bytes": self.bytes}
        return now | ({"waiting": waiting} if (waiting := self.waiting) else {})

    def _last(self) -> dict[str, Any]:
        last: dict[str, Any] = {"event": self.phase.value, "bytes": self.bytes}
        return last | ({"reason": self.reason} if self.reason else {})

    # --- moving ------------------------------------------------------------------------------------------

    def _begin_once_ready(self) -> None:
        if self.phase is Phase.WAITING and len(self._ends) == 2 and all(e.ready for e in self._ends.values()):
            self._change(Event.JOINED)
            self._halted = trio.Event()
            self._stop = streams.Stop()
            self._start(self._move, self._ends["writer"].pipe, self._ends["reader"].pipe, self._stop)

    async def _move(self, source: int, sink: int, stop: streams.Stop) -> None:
        """Move to the end; then nothing uses the two pipes any more."""
        token = trio.lowlevel.current_trio_token()

        def moved(count: int) -> None:
            self.bytes += count
            if self._heeded:  # else nobody sleeps: a stream in full flow has no need to wake anybody
                self._heeded = False
                with contextlib.suppress(trio.RunFinishedError):
                    token.run_sync_soon(self._stir)

        failure: OSError | None = None
        how = splicing.How.STOPPED
        try:
            how = await trio.to_thread.run_sync(
                splicing.join,
                source,
                sink,
                stop,
                moved,
                limiter=trio.CapacityLimiter(1),
                abandon_on_cancel=True,  # only a daemon that ends does, after every end has left
            )
        except OSError as error:
            failure = error
        finally:
            self._stop = None
            stop.close()
            self._halted.set()
        if self.over.is_set():
            return
        if failure is not None:
            self._conclude(Event.FAILED, f"the stream cannot be moved: {failure.strerror}")
        elif how is splicing.How.EOF:
            self._change(Event.EOF)
        elif how is splicing.How.GONE:
            self._conclude(Event.READER_LEFT, READER_GONE)

    async def _await_other(self) -> None:
        """An end has come back from an earlier daemon: without the other one it would wait for ever."""
        with trio.move_on_after(self._grace):
            while len(self._ends) == 1:
                await self.changed.wait()
        if len(self._ends) == 1 and not self.over.is_set():
            self._conclude(Event.FAILED, NOT_BACK)

    def _halt(self) -> None:
        if self._stop is not None:
            self._stop.request("the stream ends")

    def _conclude(self, event: Event, reason: str | None) -> None:
        self.reason = reason
        self._change(event)
        self.over.set()
        self._halt()

    def _change(self, event: Event) -> None:
        self.phase = TRANSITIONS[self.phase][event]
        self._stir()

    def _stir(self) -> None:
        self.changed.set()
        self._moved.set()
        self.changed, self._moved = trio.Event(), trio.Event()
