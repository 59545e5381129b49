"""One `run exec` or `run attach` in progress: the run, its streams, its log, and what becomes of them.

Theory of operation. Everything that happens is put into one queue: a signal, a snapshot of the run, the
end of a transfer. The main thread takes from it and decides; threads only move bytes and lines. However
the command ends, a run that hasn't ended by then is cancelled or left alone, as `--on-exit` says.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tyger import access, errors, pipes, reading, streams, writing
from tyger.cli import data, progress, runfollow, runrequest, session, signals, stdio

if TYPE_CHECKING:
    from tyger import producer as producer_module

SIGPIPE = 13

LOGS_GRACE = 20.0
"""Seconds that the log stream may go on behind the run's end (contract cli.md 6.5)."""

REASON_GRACE = 5.0
"""Seconds that a failed transfer waits for the run's own, better, reason."""

STOP_GRACE = 3.0
"""Seconds that transfers get to tell the daemon that they stopped."""

ANSWER_GRACE = 5.0
"""Seconds that the daemon gets, after a signal, to say what has become of the run that it was asked for."""

_FAILED = {
    "input": "Failed to write input",
    "output": "Failed to read output",
    "watch": "Failed to watch run",
    "logs": "Failed to get logs",
}
"""What a thread that failed means for the user (contract cli.md 6.5)."""


class Settings(NamedTuple):
    """What is joined to what, and how."""

    show_logs: bool
    on_exit: str
    timestamps: bool = False
    source_name: str | None = None
    source: int | None = None
    producer: producer_module.Producer | None = None
    sink_name: str | None = None
    sink: int | None = None
    block_size: int = 0
    flush_interval: float = 0.0
    retry_for: float | None = None
    part: tuple[int, int | None] = (0, None)
    """Which bytes of the output: from which one on, and how many."""
    input_may_be_written: bool = False
    """Whether it is fine that somebody else has written the input, or writes it: then ours is not used."""
    on_log: Callable[[bytes], None] | None = None
    """What becomes of a line of the log; None: it is shown as it came."""


class Signal(NamedTuple):
    """A signal came; 13 also stands for a reader of standard output that went away."""

    number: int


class Snapshot(NamedTuple):
    """The run changed."""

    run: dict[str, Any]


class Ended(NamedTuple):
    """A thread is through; `error` says why it failed."""

    what: str
    result: streams.Result | None
    error: BaseException | None


class Question(NamedTuple):
    """The input has ended; was it a good end? Asked of the main thread, because only it knows all signals."""

    answer: queue.SimpleQueue[tuple[str, str | None]]


Event = Signal | Snapshot | Ended | Question


class Execution:
    """One run followed to its end, from its submission or from the middle. Used once, in the main thread."""

    def __init__(self, invocation: session.Session, settings: Settings) -> None:
        self._invocation = invocation
        self._console = invocation.console
        self._settings = settings
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._stop = streams.Stop()  # ends the transfers and the watching
        self._logs_stop = streams.Stop()
        self._signalled = streams.Stop()
        self._interrupts: signals.Interrupts
        self._threads: dict[str, threading.Thread] = {}
        self._transferring: set[str] = set()
        self._meters: dict[str, progress.Meter] = {}
        self._over = threading.Event()  # the run has reached a terminal state
        self._input_comes = settings.source is not None  # its end has not been seen
        self._submitting = False
        self._run_id = 0
        self._status = ""
        self._waits_for = ""
        self._failure: tuple[str, errors.Problem] | None = None
        terminal = any(fd is not None and os.isatty(fd) for fd in (settings.source, settings.sink))
        self._board = progress.Board(self._console, drawn=not terminal)

    def run(self, request: runrequest.Request) -> None:
        """Submit and see it through; returns when the run succeeded and all was delivered.

        Raises:
            Fatal, Exit: it ended otherwise.
            Problem: the run could not be created.
        """
        with signals.Interrupts(self._note) as self._interrupts:
            self._see_through(self._submit(request), "Run created")

    def _submit(self, request: runrequest.Request) -> dict[str, Any]:
        """Create the run. A signal gives it up while its images are fetched; otherwise it is obeyed after.

        A daemon that hangs is left alone: without its answer there is no run that could be cancelled.
        """
        limit = self._patience(self._settings.source)
        self._submitting = True
        try:
            return runrequest.submit(self._invocation, request, self._signalled, limit)
        except errors.Problem:
            if (number := self._interrupts.received()) is not None:
                raise session.Exit(128 + number) from None
            raise
        finally:
            self._submitting = False
            signals.after(0, lambda: None)

    def _unanswered(self, number: int) -> None:
        if self._submitting:
            self._console.log("warn", runrequest.MAY_BE_THERE)
            raise session.Exit(128 + number)

    def attach(self, run: Mapping[str, Any], said: str = "Attached to the run") -> None:
        """See a run through that is there already; the same ends as `run`. Raises as `run` does."""
        with signals.Interrupts(self._note) as self._interrupts:
            self._see_through(run, said)

    def _see_through(self, run: Mapping[str, Any], said: str) -> None:
        self._run_id = int(run["id"])
        self._console.log("info", said, runId=self._run_id)
        self._board.set("run", f"run {self._run_id}")
        try:
            self._start(session.as_object(run["job"]).get("buffers") or {})
            self._follow()
        finally:
            self._leave()

    def _note(self, number: int) -> None:
        self._signalled.request("a signal came")
        if self._submitting:
            signals.after(ANSWER_GRACE, lambda: self._unanswered(number))
        self._events.put(Signal(number))

    # --- threads ----------------------------------------------------------------------------------------

    def _start(self, buffers: Mapping[str, str]) -> None:
        settings = self._settings
        if settings.source is not None:
            buffer = buffers[str(settings.source_name)]
            self._transfer("input", buffer, lambda meter: self._write(buffers, meter))
        if settings.sink is not None:
            buffer = buffers[str(settings.sink_name)]
            self._transfer("output", buffer, lambda meter: self._read(buffers, meter))
        self._thread("watch", self._watch)
        if settings.show_logs:
            self._thread("logs", self._logs)

    def _transfer(self, what: str, buffer: str, move: Callable[[progress.Meter], streams.Result]) -> None:
        operation = "buffer write" if what == "input" else "buffer read"
        meter = progress.Meter(self._board, what, buffer=buffer, operation=operation, runId=self._run_id)
        self._meters[what] = meter
        self._transferring.add(what)
        self._thread(what, lambda: move(meter))

    def _thread(self, what: str, work: Callable[[], streams.Result | None]) -> None:
        def body() -> None:
            try:
                self._events.put(Ended(what, work(), None))
            except BaseException as error:  # noqa: BLE001 - it is raised in the main thread
                self._events.put(Ended(what, None, error))

        self._threads[what] = threading.Thread(target=body, name=what, daemon=True)
        pipes.start_without_signals(self._threads[what])

    def _write(self, buffers: Mapping[str, str], meter: progress.Meter) -> streams.Result:
        settings = self._settings
        assert settings.source is not None and settings.source_name is not None  # noqa: PT018, S101 - for mypy
        return writing.write(
            self._invocation.client,
            access.Access(buffer=buffers[settings.source_name]),
            settings.source,
            verdict=self._verdict,
            stop=self._stop,
            block_size=settings.block_size,
            flush_interval=settings.flush_interval,
            run=self._run_id,
            priority="bulk" if stdio.is_regular(settings.source) else "live",
            producer=settings.producer,
            on_progress=meter,
            patience=self._patience(settings.source),
        )

    def _patience(self, fd: int | None) -> streams.Patience:
        """The daemon has made the run: it is one that was met."""
        return data.patience(self._settings.retry_for, fd)._replace(first=True)

    def _verdict(self) -> tuple[str, str | None]:
        question = Question(queue.SimpleQueue())
        self._events.put(question)
        return question.answer.get()

    def _read(self, buffers: Mapping[str, str], meter: progress.Meter) -> streams.Result:
        settings = self._settings
        assert settings.sink is not None and settings.sink_name is not None  # noqa: PT018, S101 - for mypy
        return reading.read(
            self._invocation.client,
            access.Access(buffer=buffers[settings.sink_name]),
            settings.sink,
            stop=self._stop,
            offset=settings.part[0],
            length=settings.part[1],
            on_progress=meter,
            patience=self._patience(settings.sink),
        )

    def _watch(self) -> None:
        limit = data.patience(self._settings.retry_for, None)
        for run in runfollow.snapshots(self._invocation, self._run_id, self._stop, limit):
            self._events.put(Snapshot(run))

    def _logs(self) -> None:
        try:
            runfollow.log_lines(
                self._invocation,
                self._run_id,
                self._logs_stop,
                self._settings.on_log or self._console.raw,
                timestamps=self._settings.timestamps,
                is_over=self._over.is_set,
            )
        except errors.Problem as problem:  # the run and its streams go on without
            self._console.log("error", "Failed to get logs", error=str(problem))

    # --- decisions --------------------------------------------------------------------------------------

    def _follow(self) -> None:
        deadline: float | None = None
        while self._transferring or not self._over.is_set():
            try:
                wait = None if deadline is None else max(0.0, deadline - time.monotonic())
                event = self._events.get(timeout=wait)
            except queue.Empty:
                break
            match event:
                case Signal(number):
                    self._interrupted(number)
                case Snapshot(run):
                    self._changed(run)
                case Ended(what, result, error):
                    self._ended(what, result, error)
                case Question(answer):
                    self._input_comes = False
                    answer.put(data.verdict(self._interrupts))
            if self._failure is not None:
                if self._over.is_set():
                    break
                deadline = deadline or time.monotonic() + REASON_GRACE
        if self._failure is not None:
            message, problem = self._failure
            raise session.Fatal(message, problem)
        self._await_logs()

    def _changed(self, run: dict[str, Any]) -> None:
        status, reason = str(run.get("status")), run.get("statusReason")
        if status != self._status:
            self._status = status
            count = {"runningCount": run["runningCount"]} if run.get("runningCount") else {}
            self._console.log("info", "Run status changed", runId=self._run_id, status=status, **count)
            self._board.set("run", f"run {self._run_id} {status}")
        if status == "Pending" and reason and reason != self._waits_for:
            self._waits_for = reason
            self._console.log("info", "Run is waiting", runId=self._run_id, reason=reason)
        if status in runfollow.TERMINAL and not self._over.is_set():
            self._over.set()
            if status == "Succeeded" and self._input_comes:
                self._console.log("info", "The run is done; the rest of its input is still being stored")
        if status in ("Failed", "Canceled", "Canceling"):
            # What is still on its way is not waited for (contract cli.md 6.5).
            self._stop.request(f"run {self._run_id} ended with status {status}")
            self._await_logs()
            if "logs" not in self._threads:
                self._console.log("info", f"What it printed is shown by: tyger run logs {self._run_id}")
            detail = f" ({reason})" if reason else ""
            problem = errors.Problem(errors.RUN_FAILED, f"run failed with status {status}{detail}")
            raise session.Fatal("Run failed", problem)

    def _ended(self, what: str, result: streams.Result | None, error: BaseException | None) -> None:
        self._transferring.discard(what)
        if what == "input" and self._settings.input_may_be_written and _was_written(result, error):
            self._input_comes = False
            text = "The run's input has a writer already; standard input is not used"
            self._console.log("info", text, runId=self._run_id)
        elif result is not None and result.state == "complete":
            self._meters[what].complete(result.bytes)
        elif result is not None and result.state == "closed":  # whether that is fine, the run's end says
            self._input_comes = False
            text = "The job takes no more of its input"
            self._console.log("info", text, runId=self._run_id, reason=result.reason)
        elif result is not None:
            self._failure = self._failure or (_FAILED[what], data.failure(result))
        elif isinstance(error, BrokenPipeError) and what == "output":
            self._interrupted(SIGPIPE)
        elif isinstance(error, errors.Problem):
            self._failure = self._failure or (_FAILED[what], error)
        elif isinstance(error, OSError):
            words = str(error.strerror or error)
            said = f"cannot write the output: {words}" if what == "output" else words
            problem = errors.Problem(errors.IO_ERROR, said)
            self._failure = self._failure or (_FAILED[what], problem)
        elif error is not None:
            raise error

    def _interrupted(self, number: int) -> None:
        if number != SIGPIPE and self._settings.on_exit == "cancel":
            self._console.log("warn", "Canceling...")
        reason = "the reader of the output went away" if number == SIGPIPE else data.interrupted(number)
        self._stop.request(reason, leaves=self._settings.on_exit == "detach")
        raise session.Exit(128 + number)

    # --- the end ----------------------------------------------------------------------------------------

    def _await_logs(self) -> None:
        logs = self._threads.get("logs")
        if logs is None:
            return
        logs.join(LOGS_GRACE)
        if logs.is_alive():
            self._console.log("warn", "Timed out waiting for logs to finish streaming")

    def _leave(self) -> None:
        """Whatever happened: see to the run that goes on, stop the threads, let them say so to the daemon."""
        self._board.close()
        self._stop.request("the command ended")
        self._logs_stop.request("the command ended")
        if not self._over.is_set():
            if self._settings.on_exit == "cancel":
                self._cancel()
            else:
                self._console.log("info", "The run goes on", runId=self._run_id)
        deadline = time.monotonic() + STOP_GRACE
        while any(thread.is_alive() for thread in self._threads.values()) and time.monotonic() < deadline:
            # The last act of each thread is to put its end into the queue.
            with contextlib.suppress(queue.Empty):
                event = self._events.get(timeout=STOP_GRACE / 30)
                if isinstance(event, Question):
                    event.answer.put(("failed", self._stop.reason))
        if self._settings.producer is not None:
            data.see_off(self._console, self._settings.producer, self._interrupts, self._stop)

    def _cancel(self) -> None:
        try:
            run = self._invocation.ask("POST", f"/runs/{self._run_id}/cancel")
        except errors.Problem as problem:
            self._console.log("error", "Failed to cancel the run", runId=self._run_id, error=str(problem))
        else:
            self._console.log("info", "Run status changed", runId=self._run_id, status=run.get("status"))


def _was_written(result: streams.Result | None, error: BaseException | None) -> bool:
    """Whether a write was refused because the buffer has, or had, another writer."""
    if result is not None:
        return result.state == "failed" and result.code == errors.CONFLICT.code
    return isinstance(error, errors.Problem) and error.kind is errors.CONFLICT
