"""The writer of a write's container as the disk has it: at the beginning, after a cut, after a restart."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tygerd.blocks import container, writer
from tygerd.streams import capture, order


async def recover(
    target: container.Container,
    settings: order.Settings,
    *,
    limiter: trio.CapacityLimiter,
    on_waiting: Callable[[str | None], None],
) -> writer.Writer:
    """The one writer; what an interrupted capture left behind is sealed, and readers are woken.

    Waits for room on a full disk: `on_waiting` is told so, and None when it is over.

    Raises:
        OSError: the disk fails otherwise.
        Problem: DamagedError, it cannot be gone on with; CONFLICT, somebody else has begun it.
    """
    waits = False
    try:
        while True:
            try:
                made = await trio.to_thread.run_sync(_recover, target, settings, limiter=limiter)
                break
            except OSError as error:
                if error.errno not in capture.FULL:
                    raise
            waits = True
            on_waiting(capture.NO_SPACE)
            await trio.sleep(capture.FULL_DISK_PAUSE)
    finally:
        if waits:
            on_waiting(None)
    target.feed.notify()
    return made


def _recover(target: container.Container, settings: order.Settings) -> writer.Writer:
    if target.started():
        return writer.Writer.recover(target, sync=settings.sync)
    # The daemon died between the row and the journal.
    return writer.Writer.create(target, settings.block_size, sync=settings.sync)
