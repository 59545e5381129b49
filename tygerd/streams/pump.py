"""`tygerd pump`: moves one buffer between a data plane and one named pipe, beside a job that knows neither.

The program of a pod, shipped alone: its imports hold no catalog, API, engine or run. `input` and `output`
are named from the job's side. Its life (contract buffers.md 10.2, compute.md 12.1): it finds the access URL,
waits until the job opens its end of the pipe or is over (the tombstone), moves bytes to the end, and says how
that went with its exit code. SIGTERM and SIGINT stop it; an output is then marked as failed.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence

import trio

from tyger import errors, pipes
from tygerd import logs
from tygerd.blocks import container, writer
from tygerd.stores import access, network, retrying
from tygerd.streams import (
    capture,
    download,
    fifo,
    hashing,
    pumpmoves,
    pumpoptions,
    pumppod,
    ship,
)

PATIENCE = retrying.Policy(deadline=3600.0, first_contact=60.0)
"""An hour without the data plane is an outage that a run survives; a minute at the start, a wrong address."""

_log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Run `tygerd pump` with these arguments; its exit code."""
    try:
        options = pumpoptions.parser().parse_args(argv)
    except SystemExit as ended:  # argparse has said what was wrong, or has helped
        return errors.USAGE.exit_code if ended.code else 0
    logs.set_up(options.log_format or logs.choose(sys.stderr, os.environ))
    try:
        return trio.run(pumppod.run if options.way == "pod" else _until_signalled, options)
    except errors.Problem as problem:
        _log.error("%s", problem)
        return problem.exit_code
    except KeyboardInterrupt:  # before we handled signals
        return 128 + signal.SIGINT
    except Exception:  # noqa: BLE001 - a program's last line of defence
        _log.critical("a defect of tygerd pump; please report it with these lines", exc_info=True)
        return errors.INTERNAL.exit_code


# --- running ---------------------------------------------------------------------------------------------


async def _until_signalled(options: argparse.Namespace) -> int:
    """Move the buffer, unless SIGTERM or SIGINT comes first."""
    received = 0
    failure: Exception | None = None
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def stop_on_signal() -> None:
                nonlocal received
                async for number in signals:
                    received = received or number
                    _log.warning("%s: stopping", signal.Signals(number).name)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(stop_on_signal)
            try:
                await _pump(options)
            except Exception as error:  # noqa: BLE001 - raised again below, without the nursery's wrapping
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return 128 + received if received else 0


async def _pump(options: argparse.Namespace) -> None:
    opened = await trio.to_thread.run_sync(access.locate, options.buffer)
    settings = await trio.to_thread.run_sync(network.settings, os.environ)
    hasher = hashing.Hasher()
    remote = pumpmoves.reach(opened, settings, PATIENCE, hasher, dop=options.dop)
    if options.way == "input":
        await _input(options, remote)
    else:
        await _output(options, remote, hasher)


async def _abandoned(tombstone: str | None) -> None:
    """Returns when the job is over, where somebody says so."""
    if tombstone is None:
        await trio.sleep_forever()
    else:
        await fifo.appears(tombstone)


# --- a job's input ---------------------------------------------------------------------------------------


async def _input(options: argparse.Namespace, remote: retrying.Retrying) -> None:
    async def abandon() -> None:
        await _abandoned(options.tombstone)

    with await fifo.opened(options.pipe, os.O_WRONLY, abandon) as pipe:
        if pipe.abandoned:
            _log.warning("the job ended without having opened %s; nothing was read", options.pipe)
            return
        fd = pipe.fileno()
        os.set_blocking(fd, False)  # this open file is ours alone
        pipes.enlarge(fd)

        async def deliver(data: memoryview) -> None:
            await pumpmoves.write_all(fd, data)

        taking = download.Download(remote, deliver, download.Options(width=lambda: options.dop))
        try:
            await taking.run()
        except BrokenPipeError:
            message = (
                f"the job closed {options.pipe} before it had read everything: {taking.bytes} bytes of whole"
                " blocks were delivered"
            )
            raise errors.Problem(errors.IO_ERROR, message) from None
        _log.info("read %d bytes of buffer %s", taking.bytes, remote.access.url.name)


# --- a job's output --------------------------------------------------------------------------------------


async def _output(options: argparse.Namespace, remote: retrying.Retrying, hasher: hashing.Hasher) -> None:
    try:
        spool = tempfile.mkdtemp(prefix="tyger-pump-", dir=options.spool)
    except OSError as error:
        message = f"cannot make a spool in {options.spool or tempfile.gettempdir()}: {error.strerror}"
        raise errors.Problem(errors.CONFIG, message) from None
    target = container.Container(spool)
    try:
        await _capture_and_ship(options, remote, target, hasher)
    finally:
        target.close()
        shutil.rmtree(spool, ignore_errors=True)


async def _capture_and_ship(
    options: argparse.Namespace,
    remote: retrying.Retrying,
    target: container.Container,
    hasher: hashing.Hasher,
) -> None:
    into = writer.Writer.create(target, options.block_size)
    shipping = ship.Ship(target, remote, dop=options.dop)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:

        async def take() -> None:
            nonlocal failure
            try:
                await _take(options, into, shipping, hasher)
            except errors.Problem as problem:
                failure = problem

        nursery.start_soon(take)
        try:
            await shipping.run()
        except Exception as error:  # noqa: BLE001 - raised again below, without the nursery's wrapping
            failure = failure or error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    _log.info("wrote %d bytes to buffer %s", shipping.accepted_bytes, remote.access.url.name)


async def _take(
    options: argparse.Namespace, into: writer.Writer, shipping: ship.Ship, hasher: hashing.Hasher
) -> None:
    """Capture the job's pipe to its end, and end the container accordingly.

    An opening that was given up leaves an end of file at once: the buffer becomes empty and complete.
    """

    async def abandon() -> None:
        await _abandoned(options.tombstone)
        _log.warning("the job ended without having opened %s; the buffer is empty", options.pipe)

    async def admit() -> None:
        await shipping.wait_for_room(pumpmoves.SPOOL_BLOCKS * options.dop)

    try:
        with await fifo.opened(options.pipe, os.O_RDONLY, abandon) as pipe:
            pipes.enlarge(pipe.fileno())
            taking = capture.Capture(
                into,
                pipe.fileno(),
                block_size=options.block_size,
                flush_interval=options.flush_interval,
                hasher=hasher,
                admit=admit,
            )
            try:
                await taking.run()
                await pumpmoves.finish(into, "complete")
            except OSError as error:
                message = f"cannot store what the job wrote: {error.strerror}"
                raise errors.Problem(errors.IO_ERROR, message) from error
    except errors.Problem as problem:
        await pumpmoves.finish(into, "failed", problem.message)
        raise
