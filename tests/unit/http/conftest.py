"""A connection to the small site of `tests.support.site`; every test gives back all descriptors."""

import pytest

from tests.support import leftovers, site, wire


@pytest.fixture
def log():
    return site.Log()


@pytest.fixture
async def peer(log):
    before = leftovers.descriptors()
    async with wire.serving(site.ROUTES, site_=wire.site(site.ROUTES, site.LIMITS, log)) as it:
        yield it
    assert not leftovers.descriptors() - before
