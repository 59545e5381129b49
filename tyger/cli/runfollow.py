"""A run seen from outside: its snapshots as they change, and its log lines as they are written.

Both ride out a daemon that is away for a while: they ask again, from where they were. Blocking; each is
the work of one thread, and ends early when its `Stop` is requested.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tyger import client, errors, sockets, streams
from tyger.cli import logposition, session

TERMINAL = frozenset({"Succeeded", "Failed", "Canceled"})

MERE_RESTART = 3
"""Attempts to reach a daemon that is away which are worth no word: a restart is over by then."""


class Patience:
    """Pauses between attempts; says once that it waits, and once that the wait is over.

    Only a daemon that has answered is waited for: before that, its absence is final.
    """

    def __init__(
        self,
        invocation: session.Session,
        stop: streams.Stop,
        limit: streams.Patience = streams.Patience(),  # noqa: B008 - immutable
    ) -> None:
        self._console = invocation.console
        self._retries = streams.Retries(invocation.client, stop, limit)
        if invocation.client.server_version is not None:
            self._retries.success()
        self._attempts = 0
        self._said = False

    def reached(self) -> None:
        """The daemon answered."""
        if self._said:
            self._console.log("info", "The daemon is back")
        self._said, self._attempts = False, 0
        self._retries.success()

    def again(self, problem: errors.Problem) -> bool:
        """Wait before the next attempt; False when it is time to stop. Raises what waiting can't mend."""
        return self._retries.pause(problem, lambda: self._say(problem))

    def _say(self, problem: errors.Problem) -> None:
        self._attempts += 1
        if self._attempts > MERE_RESTART and not self._said:
            self._console.log("warn", "The daemon is away; waiting for it", error=problem.message)
            self._said = True


def snapshots(
    invocation: session.Session,
    run_id: int,
    stop: streams.Stop,
    limit: streams.Patience = streams.Patience(),  # noqa: B008 - immutable
) -> Iterator[dict[str, Any]]:
    """The run as it is, then again at each change, up to and with its terminal state.

    A daemon that is away is waited for within `limit`.

    Raises:
        Problem: the daemon's own (unknown run, ...).
    """
    patience = Patience(invocation, stop, limit)
    while True:
        lost = sockets.Disconnected("the watch stream ended before the run did")
        try:
            path, query = f"/runs/{run_id}", [("watch", "true")]
            with invocation.stream("GET", path, query=query, wake=stop.fileno()) as stream:
                for line in stream.lines():
                    if not line:
                        continue
                    patience.reached()
                    run = _decoded(line)
                    yield run
                    if run.get("status") in TERMINAL:
                        return
        except sockets.Interrupted:
            return
        except errors.Problem as problem:
            if not patience.again(problem):
                return
            continue
        if not patience.again(lost):
            return


def log_stream(
    invocation: session.Session, run_id: int, query: Sequence[tuple[str, str]], wake: int | None = None
) -> client.Stream:
    """The answer to GET /runs/{id}/logs. An unknown run's has no body (rest-api.md 10): we say it.

    Raises:
        Problem: the daemon's own.
    """
    try:
        return invocation.stream("GET", f"/runs/{run_id}/logs", query=query, wake=wake)
    except errors.Problem as problem:
        if problem.kind is not errors.NOT_FOUND or problem.remote:
            raise
        raise errors.Problem(errors.NOT_FOUND, f"NotFound: The run '{run_id}' was not found") from None


def log_lines(
    invocation: session.Session,
    run_id: int,
    stop: streams.Stop,
    emit: Callable[[bytes], None],
    *,
    timestamps: bool,
    is_over: Callable[[], bool],
    tail: int | None = None,
    since: str | None = None,
) -> None:
    """Call `emit` with each log line (no line ending), the old ones first, until the run's log ends.

    After a cut, also in the middle of a line, it goes on at exactly the next line (`logposition`). A log that
    ends while `is_over()` is false was ended by a daemon that leaves or that has just come, and is asked for
    again; so it is once when it ended before that was known.

    Raises:
        Problem: the daemon's own (unknown run, ...).
    """
    patience = Patience(invocation, stop)
    position = logposition.Position(since=since, tail=tail)
    was_over = False
    while True:
        query = [("follow", "true"), ("timestamps", "true"), *position.query()]
        try:
            with log_stream(invocation, run_id, query, wake=stop.fileno()) as stream:
                patience.reached()
                for line in stream.lines():
                    stamp, _, rest = line.partition(b" ")
                    if position.takes(stamp):
                        emit(line if timestamps else rest)
            if was_over:
                return
            was_over = is_over()
            if not was_over and stop.wait(streams.FIRST_PAUSE):
                return
        except sockets.Interrupted:
            return
        except errors.Problem as problem:
            if not patience.again(problem):
                return


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        return session.as_object(json.loads(line))
    except ValueError as error:
        raise errors.Problem(errors.PROTOCOL, f"unable to understand server response: {error}") from None
