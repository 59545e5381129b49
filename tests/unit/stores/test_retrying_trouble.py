"""What is the matter with a store that does not answer, as it is told while requests are tried again."""

import logging

import pytest
import trio

from tests.support import blobserver, patiently
from tygerd.stores import dataplane, retrying

HOUR = patiently.HOUR


async def test_an_outage_is_two_lines_in_the_log(server, caplog):
    caplog.set_level(logging.INFO)
    server.fault("HEAD", "00/000", *[blobserver.HANG_UP] * 5)
    remote = patiently.patient(server)
    await patiently.using(remote, lambda: remote.head("00/000"))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "trying again for up to 1h0m0s" in said[0]
    assert "answers again after" in said[1]


async def test_trouble_is_told_and_that_it_is_over(server):
    told = []
    remote = patiently.patient(server, on_trouble=told.append)
    server.fault("HEAD", "00/000", blobserver.HANG_UP, blobserver.Refusal(503, "ServerBusy"))
    await patiently.using(remote, lambda: remote.head("00/000"))
    assert [trouble and (trouble.blob, trouble.offline, trouble.attempts) for trouble in told] == [
        ("00/000", True, 1),
        ("00/000", False, 2),
        None,
    ]
    assert told[0].since == told[1].since
    assert told[1].message == "unexpected status code 503: ServerBusy"


async def test_of_several_troubles_the_oldest_is_told(server):
    told = []
    remote = patiently.patient(server, HOUR, chance=1.0, on_trouble=told.append)
    server.put("00/001", b"x")
    for name in ("00/000", "00/001"):
        server.fault("HEAD", name, blobserver.Refusal(503))

    async def work():
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def first():
                with scope:
                    await remote.head("00/000")

            nursery.start_soon(first)
            await patiently.asleep(remote, 1)
            nursery.start_soon(remote.head, "00/001")
            await patiently.asleep(remote, 2)
            scope.cancel()
            await patiently.asleep(remote, 1)
            remote.wake()

    await patiently.using(remote, work)
    assert [trouble and trouble.blob for trouble in told] == ["00/000", "00/001", None]


async def test_trouble_that_ends_in_an_error_is_over_too(server, autojump_clock):
    told = []
    remote = patiently.patient(
        server, retrying.Policy(first=0.25, deadline=1), chance=1.0, on_trouble=told.append
    )
    server.fault("HEAD", "00/000", *[blobserver.HANG_UP] * 2)
    with pytest.raises(dataplane.TransientError) as caught:
        await patiently.using(remote, lambda: remote.head("00/000"))
    assert caught.value.offline
    assert told[-1] is None


async def test_who_is_cancelled_has_no_trouble_left(server):
    told = []
    remote = patiently.patient(server, HOUR, chance=1.0, on_trouble=told.append)
    server.fault("HEAD", "00/000", blobserver.Refusal(503))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remote.head, "00/000")
        await patiently.asleep(remote, 1)
        nursery.cancel_scope.cancel()
    assert [trouble and trouble.attempts for trouble in told] == [1, None]
    remote._plane.abort()
