"""The network of runs, in a real Podman."""

import secrets

import pytest

from tests.support import podman as podman_support
from tyger import errors
from tygerd.engines.container import api, network


@pytest.fixture
def place(place):
    """Of an installation of the test's own."""
    return place._replace(installation=secrets.token_hex(16))


def networks(podman, place):
    return podman.cli("network", "ls", "--quiet", f"--filter=label=tyger-installation={place.installation}")


async def test_it_is_made_once_and_removed(engine, podman, place):
    await network.remove(engine[0], place)
    for _ in range(2):
        await network.ensure(engine[0], place)
        assert networks(podman, place) == f"tyger-{place.installation[:8]}"
    for _ in range(2):
        await network.remove(engine[0], place)
        assert networks(podman, place) == ""


async def test_one_with_somebody_in_it_stays(engine, podman, place):
    await network.ensure(engine[0], place)
    name = podman.cli("create", "--network", place.network, podman_support.BUSYBOX, "true")
    with pytest.raises(api.Refused):
        await network.remove(engine[0], place)
    podman.cli("rm", "--force", name)
    await network.remove(engine[0], place)


async def test_one_that_cannot_be_made(engine, place):
    class Full(api.Api):
        def __init__(self, real):
            self._real = real

        async def call(self, method, path, **request):
            if method == "POST":
                raise api.Refused(500, "could not find free subnet")
            return await self._real.call(method, path, **request)

    with pytest.raises(errors.Problem, match=r"cannot make the network tyger-.*: could not find free subnet"):
        await network.ensure(Full(engine[0]), place)
