import pytest

from tygerd import config
from tygerd.buffers import service
from tygerd.catalog import db
from tygerd.identity import keys
from tygerd.stores import local, localurls, places

DAY = 86400.0


@pytest.fixture
def catalog(tmp_path):
    opened = db.Catalog.open(str(tmp_path / "catalog.sqlite3"))
    yield opened
    opened.close()


@pytest.fixture
async def store(tmp_path, signer):
    started = local.LocalStore(str(tmp_path), urls=localurls.LocalUrls(signer, "/run/tyger/tyger.sock"))
    await started.start()
    return started


@pytest.fixture
def signer(tmp_path):
    return keys.load_or_create(str(tmp_path / "keys"))


@pytest.fixture
def buffers(catalog, store):
    return service.Buffers(catalog, places.Places(store), config.Buffers())
