"""Transfers as the API shows them, and the validation of what it is asked for."""

from __future__ import annotations

from tyger import errors, model, units
from tygerd.stores import access
from tygerd.streams import reads, write

LARGEST_BLOCK = 1 << 30


def check(request: model.WriteRequest) -> None:
    """Refuse a write that makes no sense.

    Raises:
        Problem: INVALID_INPUT.
    """
    if (request.buffer is None) == (request.url is None):
        raise errors.Problem(errors.INVALID_INPUT, "either buffer or url must be given")
    if request.url is not None:
        access.parse(request.url)
    if not 1 <= request.block_size <= LARGEST_BLOCK:
        raise errors.Problem(errors.INVALID_INPUT, "blockSize must be between 1 byte and 1 GiB")
    if not 0 <= request.flush_interval < float("inf"):
        raise errors.Problem(errors.INVALID_INPUT, "flushInterval must not be negative")
    if request.run is not None and not 0 <= request.run < 1 << 63:
        raise errors.Problem(errors.INVALID_INPUT, "run must be the ID of a run")
    if request.id is not None and not (len(request.id) == 32 and set(request.id) <= set("0123456789abcdef")):
        raise errors.Problem(errors.INVALID_INPUT, "id must be 32 hexadecimal digits")


def of_write(entry: write.Write) -> model.Transfer:
    """A write as the API shows it."""
    delivery = entry.delivery
    return model.Transfer(
        id=entry.settings.id,
        kind="write",
        buffer=entry.settings.buffer,
        state=entry.state.value,
        reason=entry.reason,
        waiting=entry.waiting,
        bytes=entry.bytes,
        blocks=entry.blocks,
        started_at=_text(entry.settings.started_at),
        finished_at=_text(entry.finished_at),
        owner=entry.settings.owner,
        run=entry.settings.run,
        location=entry.settings.location,
        shipped=entry.shipped if delivery else None,
        paused=delivery.paused if delivery else None,
        stalled=delivery.stalled if delivery else None,
        priority=entry.settings.priority,
        code=entry.code,
    )


def of_read(entry: reads.Read) -> model.Transfer:
    """A read as the API shows it."""
    state: model.TransferState = "running"
    if entry.finished_at is not None:
        state = "failed" if entry.reason else "complete"
    return model.Transfer(
        id=entry.id,
        kind="read",
        buffer=entry.buffer,
        state=state,
        reason=entry.reason,
        waiting=entry.waiting,
        bytes=entry.bytes,
        started_at=_text(entry.started_at),
        finished_at=_text(entry.finished_at),
        owner=entry.owner,
        location=entry.location,
        code=entry.code,
    )


def _text(micros: int | None) -> str | None:
    return None if micros is None else units.format_timestamp(units.from_micros(micros))
