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
from tygerd.stores import local, localurls, places


@pytest.fixture
def catalog(tmp_path):
    opened = db.Catalog.open(str(tmp_path / "catalog.sqlite3"))
    yield opened
    opened.close()


@pytest.fixture
async def app(tmp_path, catalog):
    """The parts of an App that these handlers use, all real."""
    signer = keys.load_or_create(str(tmp_path / "keys"))
    store = local.LocalStore(str(tmp_path), urls=localurls.LocalUrls(signer, "/run/tyger/tyger.sock"))
    await store.start()
    stores = places.Places(store)
    return SimpleNamespace(
        catalog=catalog,
        places=stores,
        store=store,
        signer=signer,
        config=config.Config(limits=config.Limits(block_body_size=config.Size(300_000))),
        buffers=service.Buffers(catalog, stores, config.Buffers()),
        codespecs=codespecs_service.Codespecs(catalog),
    )


@pytest.fixture
async def client(app):
    routes = [*buffers_api.ROUTES, *codespecs_api.ROUTES, *blobs.ROUTES]
    async with served.serving(app, routes, app.config.limits) as connected:
        yield connected
