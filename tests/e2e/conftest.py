"""One daemon a module for the tests of bad input, and commands against it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import commands as support
from tests.support import daemon, rawhttp


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


@pytest.fixture
def unharmed(host: daemon.Daemon) -> Iterator[None]:
    """Whatever a test says, the daemon serves the next one, and has hardly a word to say of it."""
    before = host.log.count("\n")
    yield
    assert rawhttp.status(rawhttp.say(host, rawhttp.request("GET", "/metadata"))) == 200
    assert '"level": "error"' not in host.log
    assert '"level": "critical"' not in host.log
    assert host.log.count("\n") - before <= 1
