"""What every shape of the pump does: reach a buffer, fill a job's pipe, end a spool."""

from __future__ import annotations

import os

import trio

from tyger import errors
from tygerd.blocks import container, writer
from tygerd.stores import access, dataplane, network, retrying
from tygerd.streams import capture, hashing

SPOOL_BLOCKS = 2
"""Sealed blocks in the spool for each upload at a time: enough to keep all uploads busy, and bounded."""


def reach(
    opened: access.Access,
    settings: network.Network,
    policy: retrying.Policy,
    hasher: hashing.Hasher,
    *,
    dop: int,
) -> retrying.Retrying:
    """A patient client of a buffer's data plane, for so many blocks at a time.

    Raises:
        Problem: INVALID_INPUT, the URL is of an ephemeral buffer.
    """
    if opened.url.relayed:
        message = "the access URL leads to an ephemeral buffer (relay=true), which tygerd pump does not move"
        raise errors.Problem(errors.INVALID_INPUT, message)
    return retrying.Retrying(
        dataplane.DataPlane(opened, settings),
        policy,
        threads=trio.CapacityLimiter(dop + 2),  # the markers
        digest=hasher.digest_memory if hasher.lanes > 1 else None,
    )


async def write_all(fd: int, data: memoryview) -> None:
    """Write all of `data` to a pipe that does not block."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(fd)


async def finish(into: writer.Writer, outcome: container.End, reason: str | None = None) -> None:
    """End the container; on a full disk when there is room again, as sent blocks leave the spool."""
    while True:
        try:
            await trio.to_thread.run_sync(into.finish, outcome, reason)
        except OSError as error:
            if error.errno not in capture.FULL:
                raise
        else:
            into.container.feed.notify()
            return
        await trio.sleep(capture.FULL_DISK_PAUSE)
