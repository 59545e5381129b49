"""Every engine passes the one suite; the process engine with and without bubblewrap."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator

import pytest
import trio

from tests.support import transferdaemon
from tyger import paths
from tygerd import config
from tygerd.conformance import engine as conformance
from tygerd.engines.process import bwrap
from tygerd.engines.process import engine as process_engine


class ProcessBench:
    """The process engine, with a fake daemon for the transfers."""

    image = "here"
    unknown_image = "registry.example/unknown:1"

    def __init__(self, daemon: transferdaemon.TransferDaemon, state: str, bubblewrap: str) -> None:
        self.daemon = daemon
        places = paths.Paths(system=False, socket=daemon.socket, state=state, config="/etc/x/tygerd.toml")
        settings = config.parse(
            f'[engine.process]\nbubblewrap = "{bubblewrap}"\ncancel_grace = 0.3\n'
            '[[engine.process.images]]\nimage = "here"\n'
        )
        self.engine = process_engine.ProcessEngine(
            places, settings, supervisor=lambda word: [sys.executable, "-m", "tygerd.supervisor", word]
        )
        self._numbers = itertools.count(1)

    def next_run(self) -> int:
        return next(self._numbers)

    async def filled(self, content: bytes) -> str:
        name = f"buffer{next(self._numbers)}"
        self.daemon.buffers[name] = content
        return name

    async def empty(self) -> str:
        return f"buffer{next(self._numbers)}"

    async def outcome(self, buffer: str) -> tuple[str, bytes]:
        return self.daemon.outcomes[buffer][0], self.daemon.written[buffer]


WORKS = (program := bwrap.find()) is not None and bwrap.probe(program) is None


@pytest.fixture(
    params=[
        "off",
        pytest.param("require", marks=pytest.mark.skipif(not WORKS, reason="bubblewrap does not work here")),
    ]
)
async def bench(request, tmp_path) -> AsyncIterator[ProcessBench]:
    with transferdaemon.TransferDaemon() as daemon:
        bench = ProcessBench(daemon, str(tmp_path / "state"), request.param)
        async with trio.open_nursery() as nursery:
            await nursery.start(bench.engine.run)
            yield bench
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", conformance.CHECKS)
async def test_process_engine(bench, name):
    await conformance.CHECKS[name](bench)
