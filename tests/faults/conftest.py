"""One Azurite a worker, and for each test a daemon of its own whose way there is a fault proxy."""

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
def make_cloud(azurite: azurites.Azurite) -> Iterator[Make]:
    """Makes sites with the given options of `cloud.cloud`, at the worker's Azurite where none is given."""
    with contextlib.ExitStack() as stack:

        def make(server: azurites.Azurite | None = None, **options: object) -> clouds.Cloud:
            return stack.enter_context(clouds.cloud(server or azurite, **options))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def cloud(make_cloud: Make) -> clouds.Cloud:
    """A site with small blocks and nothing special."""
    return make_cloud()
