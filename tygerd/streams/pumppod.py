"""`tygerd pump pod`: all buffers and sockets of one pod of the Kubernetes engine, in one sidecar.

Theory of operation. It is started before main and, by the kubelet, stopped once main has ended; how that
went it asks the API server (`podfate`). The run's rules are a supervisor's, and so is the object that
knows how a run ends (`supervisor.ending`): by main's end, by a transfer that failed, or because all
sockets were served. With a cause to end, everything is cut, outputs are marked as failed, and the exit
code is 1; main's own failure, or that the pod was deleted, is not the pump's: then it is 0. Where main
goes on although its sockets were served, the pump ends with 0 before main does, and the engine deletes the
pod.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

import trio

from tyger import errors
from tygerd.blocks import container, journal
from tygerd.osutil import undumpable
from tygerd.stores import access, network, retrying
from tygerd.streams import (
    hashing,
    podfate,
    podlife,
    podmates,
    podpipes,
    podrelay,
    pumpmoves,
    pumpprepare,
    ship,
)
from tygerd.supervisor import ending

if TYPE_CHECKING:
    from tygerd.supervisor import sockets

SLOW_SETTLE = 5.0
"""Seconds until main's end is known for sure where only the kubelet tells: it looks around once a second, and
then stops us. Where main can be seen it is `ending.SETTLE`."""

PATIENCE = retrying.Policy(first_contact=300.0)
"""A day without the store is an outage that a run survives; five minutes at the start, a wrong address."""

LAST_WORDS = 3.0
"""Seconds that a second life takes to mark outputs as failed; the daemon does it, too."""

CERTIFICATES = "ca.pem"
"""In the directory of access URLs: what to trust besides the public authorities. No parameter has a dot."""

DONE, FAILED = 0, 1
"""Exit codes."""

_log = logging.getLogger(__name__)


async def run(options: argparse.Namespace) -> int:
    """Move everything; the exit code. What fails it is logged, and is the container's last words.

    Raises:
        Problem: the state's directory is of no use.
    """
    undumpable.keep_out()  # main may take any user, also ours, and has no business with our URLs and token
    lives = podlife.Lives(options.state, options.last_words)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        try:
            earlier = await trio.to_thread.run_sync(lives.earlier)
            life = await (
                _live(options, signals, lives) if earlier is None else _go_on(options, signals, earlier)
            )
            if life.reason is not None:
                _log.error("%s", life.reason)
            await trio.to_thread.run_sync(lives.end, life)
        except OSError as error:
            message = f"cannot use {options.state} to keep what is under way: {error.strerror}"
            raise errors.Problem(errors.CONFIG, message) from None
    return DONE if life.reason is None else FAILED


async def _live(
    options: argparse.Namespace, signals: AsyncIterator[int], lives: podlife.Lives
) -> podlife.Life:
    """The first life. Raises OSError."""
    pump = Pump(options)
    pump.kept = []  # this process ends with it
    try:
        for name in [*options.inputs, *options.outputs]:
            _make_pipe(os.path.join(options.fifos, name))
        await trio.to_thread.run_sync(lives.begin)  # and main may start
        return await pump.run(signals)
    except errors.Problem as problem:
        return podlife.Life("failed", problem.message)
    except Exception as error:  # noqa: BLE001 - a program's last line of defence: the run must not hang
        _log.critical("a defect of tygerd pump; please report it with these lines", exc_info=True)
        return podlife.Life("failed", f"a defect of tygerd pump: {error!r}")


def _make_pipe(path: str) -> None:
    """Make one of the named pipes, unless it is there. Raises Problem."""
    try:
        pumpprepare.make(path)
    except OSError as error:
        message = f"cannot make the named pipe {path}: {error.strerror}"
        raise errors.Problem(errors.CONFIG, message) from None


async def _go_on(
    options: argparse.Namespace, signals: AsyncIterator[int], earlier: podlife.Life
) -> podlife.Life:
    """What is left to do for a second life."""
    if earlier.stage == "served":
        _log.info("all sockets have been served: waiting for the pod's end")
        await anext(signals)
    elif earlier.stage == "failed":
        await bury(options, earlier.reason or podlife.LOST)
    return earlier


class Loopback:
    """A port of main, whose network is ours. See `sockets.Place`."""

    def __init__(self, port: int) -> None:
        self._port = port

    def look(self) -> tuple[sockets.Address, ...]:
        """See `sockets.Place`."""
        from tygerd.supervisor import ports, sockets

        found = ports.listeners(self._port)
        return tuple(
            sockets.Address(host, self._port) for each in found for host in ports.reachable(each.host)
        )

    def life(self) -> int:
        """See `sockets.Place`: the network is the pod's, and outlives main."""
        return -1


class Pump:
    """One life. Use once."""

    def __init__(self, options: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> None:
        self._options = options
        self._environ = environ
        self._own = podfate.Own(environ, options.service_account)
        self._end = ending.Ending(SLOW_SETTLE if podmates.main_lives() is None else None)
        self._over = trio.Event()
        self._stopped = self._gone = False
        self._theirs: str | None = None
        """A cause to end that is not the pump's, in words."""
        self._transfers: list[podpipes.Transfer] = []
        self._adapters: list[sockets.Adapter] = []
        self._relays = podrelay.Server(options.relay_port)
        self.kept: list[int] | None = None
        """See `podpipes.Scene`."""
        self._end.doubtful = self._is_doubtful

    def _is_doubtful(self) -> bool:
        """Whether main has ended, and we will hear how. From any thread."""
        return not self._gone and (self._stopped or podmates.main_lives() is False)

    async def run(self, signals: AsyncIterator[int]) -> podlife.Life:
        """Live it. Raises Problem."""
        await self._prepare()
        try:
            async with trio.open_nursery() as nursery:
                if self._options.relays:
                    nursery.start_soon(self._relays.run)
                nursery.start_soon(self._await_main, signals)
                for transfer in self._transfers:
                    nursery.start_soon(transfer.run)
                for adapter in self._adapters:
                    adapter.start()
                await self._until_ended()
                for adapter in self._adapters:
                    adapter.stop.request("the run has ended")
                nursery.cancel_scope.cancel()
            return self._judge()
        finally:
            for adapter in self._adapters:
                if adapter.ended or not adapter.is_alive():
                    adapter.close()

    async def _prepare(self) -> None:
        options = self._options
        settings = await _network(options, self._environ)
        scene = podpipes.Scene(
            end=self._end,
            over=self._over,
            hasher=hashing.Hasher(),
            openers=trio.CapacityLimiter(len(options.inputs) + 1),
            dop=options.dop,
            block_size=options.block_size,
            flush_interval=options.flush_interval,
            kept=self.kept,
        )
        self._transfers += podrelay.transfers(
            options.relays, options.inputs, options.fifos, scene, self._relays
        )
        for name in [*options.inputs, *options.outputs]:
            if name in options.relays:
                continue
            opened = await _opened(options, name)
            remote = pumpmoves.reach(opened, settings, PATIENCE, scene.hasher, dop=options.dop)
            path = os.path.join(options.fifos, name)
            if name in options.inputs:
                self._transfers.append(podpipes.Input(name, path, remote, scene))
            else:
                spool = os.path.join(options.state, name)
                self._transfers.append(podpipes.Output(name, path, remote, scene, spool))
        if options.sockets:
            self._join()
        if options.relays:
            await self._relays.listen()

    def _join(self) -> None:
        from tygerd.supervisor import sockets

        def path(name: str | None) -> str | None:
            return None if name is None else os.path.join(self._options.fifos, name)

        for each in self._options.sockets:
            files = sockets.Files(path(each.input), path(each.output))
            try:
                self._adapters.append(sockets.Adapter(each.port, Loopback(each.port), files, self._end))
            except OSError as error:
                message = f"socket {each.port}: cannot open {error.filename}: {error.strerror}"
                raise errors.Problem(errors.IO_ERROR, message) from None

    async def _await_main(self, signals: AsyncIterator[int]) -> None:
        """Learn that main has ended, and how; then only adapters write to the pipes."""
        await anext(signals)
        self._stopped = True
        try:
            fate = await self._own.fate()
        except errors.Problem as problem:
            self._end.fail(problem.message)
            return
        if fate.gone is not None:
            self._theirs = fate.gone
            self._end.cancel(fate.gone)
        elif fate.code:
            self._theirs = f"Main exited with code {ending.describe(fate.code)}"
            self._end.exited(fate.code, self._theirs)
        else:
            self._end.exited(fate.code)
        self._gone = True
        for adapter in self._adapters:
            adapter.release()
        self._end.report()

    async def _until_ended(self) -> None:
        """Until there is a cause to end, or nothing more will come."""
        while True:
            await trio.lowlevel.wait_readable(self._end.changed)
            self._end.acknowledge()
            if self._end.wanted:
                return
            if self._over.is_set():
                if all(transfer.ended for transfer in self._transfers):
                    return
            elif self._gone:
                if all(adapter.ended for adapter in self._adapters):  # what they took is in the pipes
                    self._over.set()
                    self._end.finish()
                    self._end.report()
            elif not self._end.doubtful() and self._is_served():
                self._end.serve()

    def _is_served(self) -> bool:
        """Whether there is nothing left that main could be needed for, as it only served its ports."""
        done = [adapter.ended and adapter.state == "complete" for adapter in self._adapters]
        states = [transfer.state for transfer in self._transfers]
        return bool(done) and all(done) and all(state in podpipes.FINAL for state in states)

    def _judge(self) -> podlife.Life:
        _, reason, _ = self._end.result()
        if reason is not None and reason != self._theirs:
            return podlife.Life("failed", reason)
        if reason is not None:
            _log.warning("%s: outputs that were not whole by then have failed", reason)
        return podlife.Life("done" if self._gone else "served")


async def _network(options: argparse.Namespace, environ: Mapping[str, str]) -> network.Network:
    pinned: str | None = os.path.join(options.access, CERTIFICATES)
    if not os.path.exists(pinned or ""):  # noqa: ASYNC240 - of a volume in memory
        pinned = None
    return await trio.to_thread.run_sync(functools.partial(network.settings, environ, pinned=pinned))


async def _opened(options: argparse.Namespace, name: str) -> access.Access:
    path = os.path.join(options.access, name)
    try:
        return await trio.to_thread.run_sync(access.locate, path)
    except errors.Problem as problem:
        raise errors.Problem(problem.kind, f"buffer '{name}': {problem.message}") from None


async def bury(options: argparse.Namespace, reason: str) -> None:
    """Mark as failed what an earlier life began to write; for a few seconds. Never raises Problem."""
    hasher = hashing.Hasher()

    async def mark(name: str) -> None:
        target = container.Container(os.path.join(options.state, name))
        try:
            if target.book() is None:
                return  # it was not begun
            opened = await _opened(options, name)
            policy = retrying.Policy(deadline=LAST_WORDS)
            settings = await _network(options, os.environ)
            remote = pumpmoves.reach(opened, settings, policy, hasher, dop=1)
            await trio.to_thread.run_sync(target.mark_failed, reason)
            await ship.Ship(target, remote, dop=1, last_words=None).tell_failure()
        except (errors.Problem, OSError, journal.DamagedError) as error:
            _log.warning("buffer %s could not be marked as failed: %s", name, error)
        finally:
            target.close()

    with trio.move_on_after(LAST_WORDS):
        async with trio.open_nursery() as nursery:
            for name in options.outputs:
                if name not in options.relays:
                    nursery.start_soon(mark, name)
