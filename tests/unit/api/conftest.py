from types import SimpleNamespace

import pytest

from tests.support import served
from tygerd import config
from tygerd.api import blobs
from tygerd.api import buffers as buffers_api
from tygerd.api import codespecs as codespecs_api
from tygerd.buffers import service
from tygerd.catalog import db
from tygerd.codespecs import service as codespecs_service
from tygerd.identity import keys
from tygerd.stores import local


@pytest.fixture
def catalog(tmp_path):
    opened = db.Catalog.open(str(tmp_path / "catalog.sqlite3"))
    yield opened
    opened.close()


@pytest.fixture
async def app(tmp_path, catalog):
    """The parts of an App that these handlers use, all real."""
    store = local.LocalStore(str(tmp_path))
    await store.start()
    signer = keys.load_or_create(str(tmp_path / "keys"))
    return SimpleNamespace(
        catalog=catalog,
        store=store,
        signer=signer,
        config=config.Config(limits=config.Limits(block_body_size=config.Size(300_000))),
        buffers=service.Buffers(catalog, store, signer, "/run/tyger/tyger.sock", config.Buffers()),
        codespecs=codespecs_service.Codespecs(catalog),
    )


@pytest.fixture
async def client(app):
    routes = [*buffers_api.ROUTES, *codespecs_api.ROUTES, *blobs.ROUTES]
    async with served.serving(app, routes, app.config.limits) as connected:
        yield connected
