"""A connection to the small site of `tests.support.site`; every test gives back all descriptors."""

import os

import pytest

from tests.support import site, wire


@pytest.fixture
def log():
    return site.Log()


@pytest.fixture
async def peer(log):
    before = open_fds()
    async with wire.serving(site.ROUTES, site_=wire.site(site.ROUTES, site.LIMITS, log)) as it:
        yield it
    assert open_fds() == before


def open_fds():
    return len(os.listdir("/proc/self/fd"))
