"""Ways to stores elsewhere: what they share, and what one may not take from another."""

import pytest
import trio

from tests.support import blobserver
from tyger import errors
from tygerd.stores import access, dataplane, network
from tygerd.streams import remote


@pytest.fixture
async def remotes():
    return remote.Remotes(network.settings({}), bandwidth=None, deadline=60.0)


def opening(server):
    async def opened():
        return access.locate(server.url())

    return opened


async def look(remotes, server):
    """Ask for a block, and break that off when cancelled."""
    async with remotes.way(opening(server), "down") as (patient, _), trio.open_nursery() as nursery:
        nursery.start_soon(patient.guard)
        try:
            await patient.head("00/000")
        except dataplane.BlobNotFoundError:
            nursery.cancel_scope.cancel()


async def test_a_silent_store_takes_no_threads_from_another(remotes):
    with blobserver.BlobServer() as silent, blobserver.BlobServer() as other:
        silent.fault("HEAD", "00/000", *[blobserver.SILENCE] * remote.THREADS)
        async with trio.open_nursery() as nursery:
            for _ in range(remote.THREADS):
                nursery.start_soon(look, remotes, silent)
            with trio.fail_after(60):
                while len(silent.seen) < remote.THREADS:
                    await trio.lowlevel.checkpoint()
                await look(remotes, other)
            nursery.cancel_scope.cancel()


async def test_an_access_that_cannot_be_had_for_now_is_waited_for(remotes):
    troubles = []
    problems = [errors.Problem(errors.UNAVAILABLE, "away"), errors.Problem(errors.TRY_AGAIN, "not now")]
    with blobserver.BlobServer() as server:

        async def opened():
            if problems:
                raise problems.pop(0)
            return access.locate(server.url())

        async with remotes.way(opened, "down", on_trouble=troubles.append):
            assert [trouble and (trouble.message, trouble.offline) for trouble in troubles] == [
                ("away", True),
                ("not now", True),
                None,
            ]


@pytest.mark.parametrize(
    ("kind", "raised"),
    [(errors.UNAVAILABLE, dataplane.TransientError), (errors.CONFIG, errors.Problem)],
)
async def test_an_access_that_cannot_be_had(kind, raised):
    remotes = remote.Remotes(network.settings({}), bandwidth=None, deadline=0.0)

    async def refuse():
        raise errors.Problem(kind, "the reason")

    with pytest.raises(raised, match="the reason"):
        async with remotes.way(refuse, "down"):
            pass


async def test_a_relay_is_no_store(remotes):
    async def relayed():
        return access.locate("http://localhost/containers/buffer1?relay=true&sig=x")

    with pytest.raises(errors.Problem, match="ephemeral"):
        async with remotes.way(relayed, "down"):
            pass
