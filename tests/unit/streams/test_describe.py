"""Requests that make no sense, and transfers as the API shows them."""

import os

import pytest
import trio

from tyger import errors, model
from tygerd.blocks import container
from tygerd.streams import describe, hashing, order, reads, states, write

ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"buffer": None}, "either buffer or url"),
        ({"url": "http://host/buffer?sig=x"}, "either buffer or url"),
        ({"buffer": None, "url": "nonsense"}, "must be a URL"),
        ({"block_size": 0}, "blockSize"),
        ({"block_size": 1 << 31}, "blockSize"),
        ({"flush_interval": -1.0}, "flushInterval"),
        ({"flush_interval": float("nan")}, "flushInterval"),
        ({"run": -1}, "run must be"),
        ({"id": ID.upper()}, "32 hexadecimal"),
    ],
)
def test_what_makes_no_sense_is_named(options, words):
    with pytest.raises(errors.Problem, match=words) as caught:
        describe.check(model.WriteRequest(**{"buffer": "abc", "id": ID, **options}))
    assert caught.value.kind is errors.INVALID_INPUT


def test_what_makes_sense():
    describe.check(model.WriteRequest(buffer="abc", id=ID, run=7, priority="bulk"))
    describe.check(model.WriteRequest(url="https://host/buffer?sig=x"))


async def test_a_write_of_the_embedded_store_ships_nothing():
    settings = order.Settings(ID, "abc", 10, 1.0, 1000, None, False, 0)
    entry = write.Write(
        settings, container.Container(os.devnull), hasher=hashing.Hasher(), on_final=lambda _: None
    )
    shown = describe.of_write(entry)
    assert (shown.state, shown.location, shown.shipped, shown.paused) == ("running", "local", None, None)
    entry.state = states.State.SUSPENDED
    assert describe.of_write(entry).waiting == "its client has not come back yet"
    entry.state = states.State.FAILED
    assert describe.of_write(entry).waiting is None


async def test_a_read():
    entry = reads.Read("abc", "elsewhere", 1000)
    assert describe.of_read(entry).state == "running"
    entry.waiting = "its writer"
    assert describe.of_read(entry).waiting == "its writer"
    entry.finished_at = 1
    assert describe.of_read(entry).state == "complete"
    entry.reason, entry.code = "no", "Forbidden"
    assert (describe.of_read(entry).state, describe.of_read(entry).code) == ("failed", "Forbidden")
    await trio.lowlevel.checkpoint()
