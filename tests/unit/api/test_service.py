"""What the daemon says about itself, asked from a real one (the rest of it is in test_app.py)."""

import json
import re
import types

import pytest

from tests.support import daemon
from tyger import client, errors, paths
from tygerd.api import service
from tygerd.blocks import chain
from tygerd.catalog import db, schema
from tygerd.http import messages


@pytest.fixture(scope="module")
def shared():
    with daemon.daemon() as it:
        yield it


def ask(it, path):
    return client.Client(it.socket).request("GET", path)


def test_metadata(shared):
    found = ask(shared, "/metadata").json()
    assert found == {
        "capabilities": ["EphemeralBuffers", "LocalBuffers"],
        "apiVersions": ["1.0"],
        "storageEndpoints": [f"http+unix://{shared.socket}:/"],
    }


def test_health(shared):
    answer = ask(shared, "/healthcheck")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"Healthy", "text/plain")


def test_the_database_version(shared):
    assert ask(shared, "/database-version-in-use").json() == {"id": int(schema.REVISION)}


def test_status_counts_what_is_going_on():
    with daemon.daemon() as it:  # which has no connection of an earlier test
        found = ask(it, "/status").json()
        assert found["version"] == ask(it, "/status").headers["tyger-version"]
    assert found["server"] == {
        "connections": 1,
        "passedFds": 0,
        "requestsTotal": found["server"]["requestsTotal"],
    }
    assert found["transfers"]["writing"] == 0
    assert found["runs"] == {"unfinished": 0}
    assert found["hashing"] == {"lanes": chain.LANES}


def test_metrics_are_prometheus_text(shared):
    answer = ask(shared, "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"
    lines = answer.body.decode().splitlines()
    for comment, sample in zip(lines[::2], lines[1::2], strict=True):
        name = sample.partition(" ")[0]
        assert comment in (f"# TYPE {name} gauge", f"# TYPE {name} counter")
        assert re.fullmatch(r"tyger_[a-z_]+ [0-9.]+", sample)
    assert "tyger_transfers_writing 0" in lines


def test_the_api_describes_itself(shared):
    document = json.loads(ask(shared, "/openapi.json").body)
    assert {"/buffers", "/runs", "/transfers"} <= set(document["paths"])


class BrokenCatalog:
    """A catalog whose disk has failed."""

    async def read(self, _fn):
        raise errors.Problem(errors.CORRUPT, "database disk image is malformed")


async def test_a_catalog_that_does_not_answer_is_not_healthy(caplog):
    app = types.SimpleNamespace(catalog=BrokenCatalog())
    answer = await service.healthcheck(app, messages.Request("GET", "/healthcheck"))
    assert (answer.status, answer.body) == (503, b"Unhealthy")
    assert "malformed" in caplog.text


async def test_a_state_directory_that_is_gone_is_not_healthy(tmp_path):
    catalog = db.Catalog.open(str(tmp_path / "catalog.sqlite3"))
    where = paths.Paths(system=False, socket="", state=str(tmp_path), config="")
    app = types.SimpleNamespace(catalog=catalog, paths=where)
    request = messages.Request("GET", "/healthcheck")
    assert (await service.healthcheck(app, request)).status == 200
    app.paths = where._replace(state=str(tmp_path / "gone"))
    assert (await service.healthcheck(app, request)).status == 503
    catalog.close()
