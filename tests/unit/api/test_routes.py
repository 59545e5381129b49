"""The real table: it can be routed, described and is what the contract lists."""

import pathlib
import re

import pytest

from tygerd.api import openapi, routes
from tygerd.http import router

TABLE = router.Router(routes.ROUTES)


def test_it_can_be_described():
    document = openapi.document(routes.ROUTES, "1")
    assert sum(len(path) for path in document["paths"].values()) == len(routes.ROUTES)


@pytest.mark.parametrize("route", routes.ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_row(route):
    assert route.summary
    assert not route.summary.endswith(".")
    versioned = re.match(r"/(buffers|codespecs|runs|containers)\b", route.path) is not None
    assert route.versioned == versioned
    if route.body is not None or route.streams_body or route.fds:
        assert route.method in ("POST", "PUT")


@pytest.mark.parametrize(
    "row",
    [
        "GET /metadata", "GET /healthcheck", "GET /database-version-in-use", "GET /status", "GET /metrics",
        "POST /buffers", "GET /buffers", "DELETE /buffers", "GET /buffers/{id}", "PUT /buffers/{id}",
        "PUT /codespecs/{name}", "GET /codespecs/{name}", "GET /codespecs", "POST /runs", "GET /runs",
        "GET /runs/counts", "GET /runs/{runId}", "PUT /runs/{runId}", "POST /runs/{runId}/cancel",
        "GET /runs/{runId}/logs", "POST /runs/_sweep", "POST /transfers",
        "PUT /containers/{container}/{blob...}",
    ],
)  # fmt: skip
def test_what_the_contract_lists_is_there(row):
    assert row in {f"{route.method} {route.path}" for route in routes.ROUTES}


def test_every_resource_has_its_file():
    folder = pathlib.Path(routes.__file__).parent
    for route in routes.ROUTES:
        module = route.handler.__module__.rpartition(".")[2]
        assert (folder / f"{module}.py").exists()
