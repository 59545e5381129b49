"""One daemon a module, and a connection a test that speaks as the original's client does.

Exchanges are written down as tests/support/exchanges.py says. A module that needs a configuration has its
text in `CONFIG`. State stays from test to test of a module: tag what you make with a key of your own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import daemon, exchanges


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[daemon.Daemon]:
    """A daemon with the module's `CONFIG`."""
    with daemon.daemon(config=getattr(request.module, "CONFIG", "")) as it:
        yield it
        assert '"level": "critical"' not in it.log, it.log


@pytest.fixture
def talk(host: daemon.Daemon) -> Iterator[exchanges.Talk]:
    """A connection to `host`."""
    with exchanges.talk(host.socket) as it:
        yield it
