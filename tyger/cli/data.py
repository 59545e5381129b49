"""What `buffer write`, `buffer read` and `run exec` share: signals, patience, and the end as an exit code."""

from __future__ import annotations

import contextlib
import math
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from tyger import errors, programs, streams
from tyger.cli import output, progress, session, signals, stdio

if TYPE_CHECKING:
    from tyger import producer as producer_module

Opened = TypeVar("Opened")

POWERSHELLS = ("pwsh", "pwsh.exe", "powershell.exe")
POWERSHELL_CORRUPTS = (
    "PowerShell I/O redirection may corrupt binary data. See"
    " https://github.com/PowerShell/PowerShell/issues/1908. Consider using a different shell."
)

PATIENCE_WITH_FILES = 600.0
"""Seconds that a daemon is waited for where both ends can be begun again: then telling somebody is better."""

PRODUCER_NOTICES, PRODUCER_GRACE = 1.0, 5.0
"""Seconds that a producer has to end when its pipe is closed, and after each signal that it is sent."""


@contextlib.contextmanager
def source(
    invocation: session.Session, path: str | None, words: Sequence[str] | None, *, hint: str
) -> Iterator[tuple[int, producer_module.Producer | None]]:
    """Where the bytes of a write come from: standard input, the file `path`, or the command `words`.

    Raises:
        Problem: it cannot be read, or be started; both are given.
    """
    if words is None:
        with stdio.source(invocation.console, path, hint=hint) as fd:
            yield fd, None
        return
    if not words:
        raise errors.Problem(errors.USAGE, "a command is required behind --")
    if path is not None:
        raise errors.Problem(errors.USAGE, "--input and a command behind -- exclude each other")
    from tyger import producer as producer_module

    it = producer_module.Producer(words, programs.child_environment(invocation.environ))
    try:
        yield it.reader, it
    finally:
        it.close()


@contextlib.contextmanager
def opened(manager: contextlib.AbstractContextManager[Opened], fatal: str | None) -> Iterator[Opened]:
    """What `manager` opens; that it cannot is told with the message `fatal`, where there is one.

    Raises:
        Fatal: it cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        try:
            it = stack.enter_context(manager)
        except errors.Problem as problem:
            if fatal is None:
                raise
            raise session.Fatal(fatal, problem) from problem
        yield it


def warn_of_powershell(console: output.Console, parent: int) -> None:
    """Tell who called us from PowerShell (`parent` is the caller's process) what it may do to bytes."""
    try:
        with open(f"/proc/{parent}/comm", encoding="utf-8", errors="replace") as file:
            name = file.read().strip()
    except OSError:
        return
    if name in POWERSHELLS:
        console.log("warn", POWERSHELL_CORRUPTS)


def patience(retry_for: float | None, fd: int | None, *, is_file: bool = False) -> streams.Patience:
    """How long to wait for a daemon: as the user says, else by what `fd`, our end of the stream, is.

    What was read from a pipe cannot be read again, nor what was written to one be taken back. `is_file`:
    behind the pipe that `fd` is there are files.
    """
    if retry_for is not None:
        return streams.Patience(None if math.isinf(retry_for) else retry_for, first=True)
    is_file = is_file or (fd is not None and stdio.is_regular(fd))
    return streams.Patience(PATIENCE_WITH_FILES if is_file else None)


def verdict(interrupts: signals.Interrupts) -> tuple[str, str | None]:
    """How our producer ended: end of file is a good end unless a signal came with it.

    A Ctrl-C at a pipeline reaches us and our producer together, and the producer's end of file can be here
    first.
    """
    number = interrupts.received()
    return ("complete", None) if number is None else ("failed", interrupted(number))


def interrupted(number: int) -> str:
    """Why a buffer whose writer was told to stop is failed."""
    return f"the writer was interrupted by {signals.name(number)}"


def stopped(number: int) -> str:
    """Why a reader has not got everything."""
    return f"interrupted by {signals.name(number)}"


@contextlib.contextmanager
def transfer(why: Callable[[int], str]) -> Iterator[tuple[streams.Stop, signals.Interrupts]]:
    """A `Stop` that the first INT, TERM or HUP requests, for the reason that `why` gives.

    A Ctrl-C means that the stream is not wanted. TERM and HUP come also from a machine that shuts down and a
    terminal that is closed: what is whole in the daemon's spool by then goes on.
    """
    stop = streams.Stop()
    try:
        with signals.Interrupts(
            lambda number: stop.request(why(number), leaves=number != signal.SIGINT)
        ) as interrupts:
            yield stop, interrupts
    finally:
        stop.close()


def see_off(
    console: output.Console, it: producer_module.Producer, interrupts: signals.Interrupts, stop: streams.Stop
) -> None:
    """The stream is over: see that its producer ends, as the signal that came asks, and say so if it lingers.

    A Ctrl-C reached it as it reached us; other signals are passed on. The second signal ends us at once.
    """
    number = interrupts.received()
    match number:
        case signal.SIGINT:
            steps = [(0, PRODUCER_GRACE), (int(signal.SIGTERM), PRODUCER_GRACE)]
        case None:
            steps = [(0, PRODUCER_NOTICES), (int(signal.SIGTERM), PRODUCER_GRACE)]
        case _:
            steps = [(number, PRODUCER_GRACE)]
    if it.started and not it.ended:
        console.log("debug", "Waiting for the producer to end", producer=it.name)
    it.end(steps, stop.fileno() if number is None and stop.reason is None else None)


def finish(
    console: output.Console,
    interrupts: signals.Interrupts,
    result: streams.Result,
    meter: progress.Meter,
    message: str,
) -> None:
    """Turn the result into records and an exit code; returns only when all is well."""
    if result.state in ("complete", "spooled"):
        meter.complete(result.bytes, spooled_as=result.transfer if result.state == "spooled" else None)
        return
    if (number := interrupts.received()) is not None:
        console.log("warn", "Canceling...")
        console.log("fatal", message, error=result.reason or stopped(number))
        raise session.Exit(128 + number)
    raise session.Fatal(message, failure(result))


def failure(result: streams.Result) -> errors.Problem:
    """What a failed transfer is for the user: the kind of failure that the daemon names decides the code."""
    kind = errors.BY_CODE.get(result.code or "", errors.BUFFER_FAILED)
    problem = errors.Problem(kind, result.reason or "the buffer failed")
    problem.remote = kind is not errors.BUFFER_FAILED  # its code is shown, as that of an answer
    return problem


def fatal(message: str, problem: errors.Problem, buffer: str) -> session.Fatal:
    """What a refused transfer ends with."""
    if problem.kind is errors.NOT_FOUND:
        return session.Fatal("Unable to access buffer", problem, buffer=buffer)
    return session.Fatal(message, problem)
