"""One daemon a module for the tests of bad input, and commands against it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import commands as support
from tests.support import daemon


@pytest.fixture(scope="module")
def host() -> Iterator[daemon.Daemon]:
    """A daemon on which the image `host` is this machine."""
    with daemon.daemon(config=support.HOST) as it:
        yield it


@pytest.fixture
def commands(host: daemon.Daemon) -> Iterator[support.Commands]:
    """Commands against `host`."""
    with support.commands(host) as made:
        yield made
