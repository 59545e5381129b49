"""A runs service on real catalog, store, buffers and transfers, with an engine that the test plays."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

import pytest
import trio

from tests.support import fakeengine, parts
from tyger import model
from tygerd import config
from tygerd.buffers import service as buffers_service
from tygerd.catalog import db
from tygerd.codespecs import service as codespecs_service
from tygerd.engines import several
from tygerd.runs import service
from tygerd.stores import local, places


class Shop:
    """Everything below the API. `open` starts a service, as a daemon does; it may be used again and again."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.catalog = db.Catalog.open(os.path.join(path, "catalog.sqlite3"))
        os.makedirs(os.path.join(path, "engine"), exist_ok=True)
        self.engine = fakeengine.FakeEngine(os.path.join(path, "engine"))
        self.system = fakeengine.FakeEngine(os.path.join(path, "engine"))
        self.store = local.LocalStore(path)
        self.buffers = buffers_service.Buffers(self.catalog, places.Places(self.store), config.Buffers())
        self.codespecs = codespecs_service.Codespecs(self.catalog)
        self.transfers = parts.registry(
            self.catalog, path, self.store, locate=self.buffers.locate_active, reattach_grace=30
        )

    @asynccontextmanager
    async def open(self):
        self.relays = parts.relaying(self.path)
        runs = service.Runs(
            self.catalog,
            several.Engines([self.engine], self.system),
            buffers=self.buffers,
            codespecs=self.codespecs,
            transfer_service=self.transfers,
            relay_service=self.relays,
            state=self.path,
            retry=0.01,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(self.relays.run)
            await nursery.start(runs.run)
            yield runs
            nursery.cancel_scope.cancel()


@pytest.fixture
async def shop(tmp_path):
    made = Shop(str(tmp_path))
    await made.store.start()
    yield made
    made.catalog.close()


@pytest.fixture
async def runs(shop):
    async with shop.open() as made:
        yield made


def wanted(*, inputs=(), outputs=(), buffers=None, **more) -> model.Run:
    """A run of an inline codespec."""
    parameters = model.BufferParameters(inputs=list(inputs), outputs=list(outputs))
    codespec = model.JobCodespec(image="x", command=["true"], buffers=parameters)
    job = model.JobTarget(codespec=codespec, buffers=buffers, **more.pop("job", {}))
    return model.Run(job=job, **more)


async def ended(runs, run_id, status=None) -> model.Run:
    """Wait until a run is final, which is after it has ended; the run."""
    seen = []

    async def note(run):
        seen.append(run)

    with trio.fail_after(120):
        await runs.watch(run_id, note)
        while runs.unfinished():
            await trio.lowlevel.checkpoint()
    if status is not None:
        assert seen[-1].status == status
    return await runs.get(run_id)
