"""One Azurite a worker, and for each test a daemon of its own whose way to its buffers is a fault proxy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.support import azurite as azurites
from tests.support import cloud as clouds


@pytest.fixture(scope="session")
def azurite() -> Iterator[azurites.Azurite]:
    """In memory; for tests that neither stop it nor fill it."""
    with azurites.azurite() as server:
        yield server


Make = Callable[..., clouds.Cloud]


@pytest.fixture
def make_cloud(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes sites with the given options of `cloud.cloud`, at the worker's Azurite where none is given."""
    with contextlib.ExitStack() as stack:

        def make(server: azurites.Azurite | None = None, **options: object) -> clouds.Cloud:
            server = server or request.getfixturevalue("azurite")
            return stack.enter_context(clouds.cloud(server, **options))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def cloud(make_cloud: Make) -> clouds.Cloud:
    """A site at Azurite with small blocks and nothing special."""
    return make_cloud()


@pytest.fixture(params=["azurite", "tygerd"])
def site(request: pytest.FixtureRequest) -> Iterator[clouds.Site]:
    """The same, and one at another daemon of ours, over a Unix socket."""
    if request.param == "azurite":
        yield request.getfixturevalue("cloud")
        return
    with clouds.neighbour() as made:
        yield made
