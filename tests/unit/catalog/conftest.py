import pytest

from tygerd.catalog import db


@pytest.fixture
def catalog(tmp_path):
    opened = db.Catalog.open(str(tmp_path / "catalog.sqlite3"))
    yield opened
    opened.close()
