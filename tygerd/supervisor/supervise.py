"""The supervision of one run: starts its job, watches it, stops it, and says how it ended.

Theory of operation. One main loop sleeps in poll; the other threads are those of the pipes and of containers.
A run goes through four phases, and only forward: `starting` (workers are awaited, or the job's containers);
`running`; `stopping` (there is a cause to end it: TERM was sent to everything, KILL follows after the grace);
`ending` (the job is gone: whatever it left behind is killed, then the pipes are released, the log is read to
its end and the transfers finish). Then the status is written, told, and the process ends. Phases are derived
from what has happened; there are no flags to disagree.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Callable

from tygerd.supervisor import control, crew, ending, log, mains, pipes, sockets, spec, tree

RETRY_LOG = 1.0
"""Seconds between attempts to write a log for which the disk has no room."""

TAIL = 1.0
"""Seconds that the outputs of a canceled run get to store what is left in their pipes. The disk may be full,
or the daemon away; nobody wants to wait for that."""

LONGEST_SLEEP = 60.0
"""Seconds: poll's clock stands still while the machine is suspended, the timeout's does not."""

LOOK_AROUND = 5.0
"""Seconds between looks at the run's directory once only transfers are left: the daemon may never return."""


def boottime() -> float:
    """Seconds since boot, counting suspension: the clock of timeouts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boottime_of(moment: int | None) -> float | None:
    """A moment in microseconds since the epoch on that clock, as the two stand to each other now."""
    return None if moment is None else boottime() + moment / 1_000_000 - time.time()


class Supervisor:
    """One run. Use once, from the process's main thread: it handles signals and reaps every child."""

    def __init__(self, directory: str, setup: spec.Spec) -> None:
        self._directory = directory
        self._setup = setup
        self._end = ending.Ending()
        self._listener = control.Listener(directory)
        self._log = log.LogFile(os.path.join(directory, spec.LOG))
        self._crew = crew.Crew(setup, self._end)
        self._end.doubtful = lambda: self._crew.doubtful
        self._pipes = pipes.make(directory, setup, self._end)
        self._adapters = sockets.Adapters(directory, setup, self._crew.job, self._end)
        self._moving = False
        self._signals, self._signals_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._started_at: int | None = None
        self._timeout_at = _boottime_of(setup.deadline)
        self._running: int | None = None
        self._kill_at: float | None = None
        self._gone_at: float | None = None
        self._over = False
        self._place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._removed = False

    def run(self, ready: Callable[[], None]) -> spec.Status:
        """Supervise until the end. `ready` is called once peers can connect, before the job starts."""
        self._take_signals()
        tree.become_subreaper()
        ready()
        self._advance()
        while not self._finished():
            self._handle(self._wait())
            self._advance()
        status = self._status()
        if not self._removed:
            self._store(status)
        self._listener.broadcast({"event": "finished", "status": status._asdict()})
        self._close()
        return status

    # --- starting ----------------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        """Signals wake the loop. They get handlers, because the job would inherit that one is ignored."""
        signal.set_wakeup_fd(self._signals_in, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)

    # --- the loop ----------------------------------------------------------------------------------------

    @property
    def _phase(self) -> str:
        if self._gone_at is not None:
            return "ending"
        if self._end.wanted:
            return "stopping"
        return "starting" if self._started_at is None else "running"

    def _finished(self) -> bool:
        return (
            self._over
            and not (self._moving and any(not thread.ended for thread in self._pipes))
            and not self._is_logging
        )

    @property
    def _sources(self) -> list[log.Source]:
        return [source for main in self._crew.started for source in main.sources]

    @property
    def _is_logging(self) -> bool:
        return any(main.prints for main in self._crew.started)

    def _wait(self) -> dict[int, int]:
        """Sleep until something happens or is due."""
        poller = select.poll()
        for fd in (self._signals, self._end.changed, self._listener.fileno()):
            poller.register(fd, select.POLLIN)
        self._listener.forget_closed()
        for peer in self._listener.peers:
            poller.register(peer, select.POLLIN | (select.POLLOUT if peer.waiting else 0))
        due = [LOOK_AROUND if self._over else LONGEST_SLEEP]
        if self._log.blocked:
            due.append(RETRY_LOG)
        else:
            for source in self._sources:
                if source.fileno() >= 0:
                    poller.register(source, select.POLLIN)
        if self._gone_at is not None:
            patience = [mains.LEFTOVERS] if not self._adapters.released else []
            patience += [main.leftovers for main in self._crew.started if main.prints]
            due += [self._gone_at + seconds - boottime() for seconds in patience]
            if (at := self._tail_ends()) is not None:
                due.append(at - boottime())
        else:
            due += [at - boottime() for at in (self._kill_at, self._timeout_at) if at is not None]
        return dict(poller.poll(max(0.0, min(due)) * 1000 + 1))  # +1: never wake just before something is due

    def _handle(self, events: dict[int, int]) -> None:
        if self._signals in events and signal.SIGTERM in os.read(self._signals, 512):
            self._end.fail("the supervisor of the run was stopped (SIGTERM)")
            self._give_up()
        if self._end.changed in events:
            self._end.acknowledge()
        for peer in [peer for peer in self._listener.peers if peer.fileno() in events]:
            peer.flush()
            for message in peer.receive():
                self._command(peer, message)
        if self._listener.fileno() in events and (new := self._listener.accept()):
            hello = {"protocol": "tyger-supervisor", "version": spec.VERSION, "run": self._setup.run}
            new.send({"event": "hello", **hello})
            new.send(self._state())
        self._read_log(events)

    def _read_log(self, events: dict[int, int]) -> None:
        before = self._log.size
        if self._log.blocked:
            self._log.flush()
        for source in self._sources:
            if source.fileno() in events:
                self._log.append(source.read())
        if self._log.size > before:
            self._listener.broadcast({"event": "log", "size": self._log.size}, droppable=True)

    def _advance(self) -> None:
        """Do what is due now, given all that has happened."""
        now = boottime()
        if not self._removed and os.fstat(self._place).st_nlink == 0:
            # The whole state was deleted under us: nobody will ever ask for this run.
            self._removed = True
            self._end.fail("the run's directory was removed")
            self._give_up()
        if self._timeout_at is not None and now >= self._timeout_at and not self._crew.ended:
            self._time_out()
        self._crew.advance()
        self._tell_start()
        if self._adapters.served(self._pipes) and not (
            self._end.wanted or self._crew.ended or self._crew.doubtful
        ):
            self._end.serve()
        if self._gone_at is None and self._crew.ended:
            self._gone_at = now
            if self._started_at is not None:
                self._listener.broadcast({"event": "exited", "exitCode": self._end.result()[2]})
        if self._gone_at is None:
            self._stop_job(now)
        elif not self._over:
            self._end_crew(now)
        if (at := self._tail_ends()) is not None and now >= at:
            self._cut_tails()
        if self._gone_at is not None:
            for main in self._crew.started:
                if now >= self._gone_at + main.leftovers:
                    for source in main.sources:
                        self._log.append(source.close())

    def _tell_start(self) -> None:
        """The job was started, or its first replica runs: what follows from it."""
        if self._crew.begun and self._crew.started and not self._moving:
            self._moving = True  # not before: a fork is safe only while there is one thread
            for thread in self._pipes:
                thread.start()
            self._adapters.start()
        if self._started_at is None and (at := self._crew.started_at) is not None:
            self._started_at = at
            if self._setup.timeout is not None and self._setup.deadline is None:
                self._timeout_at = boottime() + self._setup.timeout
            self._listener.broadcast({"event": "started", "startedAt": at})
        if len(self._crew.job) > 1 and self._running != self._crew.running:
            self._running = self._crew.running
            self._listener.broadcast({"event": "running", "running": self._running})

    def _tail_ends(self) -> float | None:
        """When transfers that still go on are given up; None when not, or when they were already.

        An ephemeral buffer may have to wait for its reader, for which there is no time but the run's.
        """
        if not self._over or self._gone_at is None or not (going := self._going()):
            return None
        status, relayed = self._end.result()[0], any(thread.target.is_ephemeral for thread in going)
        if status == "Succeeded":
            return self._timeout_at if relayed else None
        return self._gone_at + TAIL if relayed or status == "Canceled" else None

    def _going(self) -> list[pipes.Pipe]:
        return [thread for thread in self._pipes if not thread.ended and thread.stop.reason is None]

    def _cut_tails(self) -> None:
        """The time of `_tail_ends` has come."""
        if self._end.result()[0] == "Canceled":
            self._give_up()
        for thread in self._going():
            if thread.target.is_ephemeral:
                name, seconds = thread.pipe.name, self._setup.timeout or 0
                self._end.fail(
                    f"DeadlineExceeded: nobody has read all of the ephemeral buffer '{name}' within the run's"
                    f" timeout of {seconds:g} seconds"
                )
                thread.stop.request("the run has ended")

    def _time_out(self) -> None:
        if self._started_at is None:
            self._end.cancel("Run exceeded its timeout while pending")
            return
        self._end.fail(
            f"DeadlineExceeded: the run was active longer than its timeout of {self._setup.timeout:g} seconds"
        )

    def _stop_job(self, now: float) -> None:
        """The job lives: see whether it has to end."""
        if not self._end.wanted:
            return
        if self._kill_at is None:
            self._kill_at = now + self._setup.cancel_grace
            self._crew.terminate()
        elif now >= self._kill_at:
            self._crew.kill()
            self._kill_at = now + 1.0

    def _end_crew(self, now: float) -> None:
        """The job is gone, or never was: kill what it left, then let the pipes end."""
        if not self._crew.gone and self._gone_at is not None and now < self._gone_at + mains.LEFTOVERS:
            self._crew.kill()
            return
        if not self._adapters.finish():
            return
        self._over = True
        self._end.finish()
        for thread in self._pipes:
            thread.release()
        if self._removed:
            self._give_up()

    # --- peers -------------------------------------------------------------------------------------------

    def _state(self) -> control.Message:
        moved: dict[str, int] = {}
        for thread in self._pipes:
            moved[thread.pipe.name] = moved.get(thread.pipe.name, 0) + thread.bytes
        states = pipes.combined(self._pipes)
        return {
            "event": "state",
            "phase": self._phase,
            "startedAt": self._started_at,
            "running": self._running,
            "log": self._log.size,
            "pipes": {name: {"state": state, "bytes": moved[name]} for name, state in states.items()},
        }

    def _command(self, peer: control.Peer, message: control.Message) -> None:
        match message.get("command"):
            case "cancel":
                self._end.cancel(str(message.get("reason") or "Canceled by user"))
                self._give_up()
                peer.send({"event": "accepted"})
            case "state":
                peer.send(self._state())
            case None:
                peer.send({"event": "error", "message": "not a command"})
            case other:
                peer.send({"event": "error", "message": f"unknown command {other!r}"})

    def _give_up(self) -> None:
        """Main may have ended already while a transfer still goes on, for its daemon may be away."""
        if self._gone_at is not None:
            self._adapters.stop("the run was stopped")
        if self._over:
            for thread in self._pipes:
                thread.stop.request(self._end.result()[1] or "the run was stopped")

    # --- the end -----------------------------------------------------------------------------------------

    def _status(self) -> spec.Status:
        status, reason, code = self._end.result()
        return spec.Status(
            run=self._setup.run,
            status=status,
            reason=reason,
            exit_code=code,
            started_at=self._started_at,
            finished_at=time.time_ns() // 1000,
            inputs=self._states(self._setup.inputs),
            outputs=self._states(self._setup.outputs),
        )

    def _states(self, which: tuple[spec.Pipe, ...]) -> dict[str, str]:
        states = pipes.combined(self._pipes)
        return {pipe.name: states[pipe.name] for pipe in which}

    def _store(self, status: spec.Status) -> None:
        """Write the result; a full disk only delays it."""
        while True:
            try:
                spec.write_status(self._directory, status)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                time.sleep(RETRY_LOG)
            else:
                return

    def _close(self) -> None:
        self._listener.close()
        self._log.close()
        os.close(self._place)
        for thread in self._pipes:
            thread.close()
        self._adapters.close()
        self._crew.close()
        self._end.close()
        signal.set_wakeup_fd(-1)
        os.close(self._signals)
        os.close(self._signals_in)

    def abandon(self, reason: str) -> None:
        """After a defect of ours: kill the job and leave a status, so that the run doesn't look alive."""
        self._end.fail(reason)
        self._crew.kill()
        with contextlib.suppress(OSError):
            spec.write_status(self._directory, self._status())
        self._crew.close()
