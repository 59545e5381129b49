"""Every engine passes the one suite behind a daemon, too, which is killed at every stage of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.support import containers, daemon, freeport
from tests.support import podman as podman_support
from tygerd.conformance.daemons import refusals, relays, stages
from tygerd.conformance.daemons import site as conformance
from tygerd.engines import base
from tygerd.engines.process import engine as process_engine

ALL = (refusals, relays, stages)
"""Importing a part has put its checks on the list."""

PROCESS = """
[store]
flush_interval = "50ms"
[engine.process]
cancel_grace = 1
[[engine.process.images]]
image = "here"
"""

CONTAINER = base.Traits(
    name="container",
    workers=True,
    sockets=True,
    replicas=True,
    ephemeral_buffers=True,
    limits=True,
    pull=True,
    docker=True,
)
"""What the container engine declares at a Podman without GPUs."""


class Site:
    """See `conformance.Site`."""

    unknown_image = "registry.example/unknown:1"

    def __init__(
        self,
        it: daemon.Daemon,
        traits: base.Traits,
        image: str,
        starts_within: int,
        ports: contextlib.ExitStack,
    ) -> None:
        self.daemon = it
        self.socket = it.socket
        self.traits = traits
        self.image = image
        self.starts_within = starts_within
        self._ports = ports

    def next_port(self) -> int:
        return self._ports.enter_context(freeport.freeport())

    def restart(self) -> None:
        self.daemon.restart()


@pytest.fixture(scope="module")
def process() -> Iterator[Site]:
    with daemon.daemon(config=PROCESS) as it, contextlib.ExitStack() as ports:
        yield Site(it, process_engine.ProcessEngine.traits, "here", 2, ports)


@pytest.fixture(scope="module")
def container(podman: podman_support.Podman) -> Iterator[Site]:
    config = containers.CONFIG.format(socket=podman.socket)
    with daemon.daemon(config=config) as it, contextlib.ExitStack() as ports:
        yield Site(it, CONTAINER, podman_support.BUSYBOX, 5, ports)


@pytest.mark.parametrize("name", conformance.CHECKS)
def test_process_engine(process, name):
    conformance.CHECKS[name](process)


@pytest.mark.parametrize("name", conformance.CHECKS)
def test_container_engine(container, name):
    conformance.CHECKS[name](container)
