"""After a restart of the machine: streams of the embedded store whose end was lost are failed, by name.

With durability = "process" an end that was acknowledged may not have reached the disk before the power went.
Nobody writes such a stream any more, so its readers would wait for ever. Blocks need no look: a reader
verifies each. What has an unfinished transfer is that transfer's affair (`streams.assembly`).
"""

from __future__ import annotations

import logging
import os

import sqlalchemy as sa
import trio

from tyger import errors
from tygerd.blocks import boot, container
from tygerd.catalog import db, schema

LOST = "the machine went down before the end of the stream was on the disk"

_log = logging.getLogger(__name__)


async def settle(catalog: db.Catalog, state: str, *, unfinished: set[str], sync: bool) -> None:
    """Look once after each boot. `unfinished` are the buffers that transfers still write.

    Raises:
        Problem: the catalog cannot be read.
        OSError: the state directory cannot be read or written.
    """
    if await trio.to_thread.run_sync(boot.changed, state):
        begun = await catalog.read(_begun)
        await trio.to_thread.run_sync(_fail_lost, state, unfinished, begun, sync)
        await trio.to_thread.run_sync(boot.remember, state)


def _begun(connection: sa.Connection) -> set[str]:
    """The buffers in which there must be something, by the transfers that are over."""
    transfers = schema.transfers.c
    query = sa.select(transfers.buffer).where(
        transfers.account == "local",
        transfers.finished_at.is_not(None),
        sa.or_(transfers.state == "complete", transfers.bytes > 0),
    )
    return set(connection.scalars(query))


def _fail_lost(state: str, unfinished: set[str], begun: set[str], sync: bool) -> None:
    directory = os.path.join(state, "containers")
    for name in os.listdir(directory):
        if name in unfinished:
            continue
        target = container.Container(os.path.join(directory, name), sync=sync)
        try:
            captured = target.book() is not None
            if (captured or (name in begun and not target.started())) and target.mark_failed(LOST):
                _log.warning("buffer %s has failed: %s", name, LOST)
        except errors.Problem as problem:  # who reads it is told
            _log.warning("buffer %s is damaged: %s", name, problem)
        finally:
            target.close()
