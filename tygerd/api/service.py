"""What the daemon says about itself: metadata, health, status, metrics, its own API."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import sqlalchemy as sa
import trio

from tyger import errors, model
from tygerd import clock
from tygerd.api import capabilities, context, described, openapi
from tygerd.blocks import chain
from tygerd.catalog import schema
from tygerd.http import messages, router

logger = logging.getLogger(__name__)


async def metadata(app: context.App, _request: messages.Request) -> messages.Response:
    """What a client needs to know before it logs in."""
    answer = model.Metadata(
        capabilities=capabilities.of(await app.runs.traits(), [store.traits for store in app.places]),
        api_versions=router.API_VERSIONS,
        storage_endpoints=[store.traits.endpoint for store in app.places],
    )
    return messages.Response(body=answer)


async def healthcheck(app: context.App, _request: messages.Request) -> messages.Response:
    """Whether the catalog answers and the state directory can be used."""
    text_type = [("Content-Type", "text/plain")]
    try:
        await app.catalog.read(lambda connection: connection.execute(sa.select(schema.alembic_version)).one())
        await trio.to_thread.run_sync(os.stat, app.paths.state)
    except (errors.Problem, OSError) as error:
        logger.error("not healthy: %s", error)  # noqa: TRY400 - no defect
        return messages.Response(503, b"Unhealthy", text_type)
    return messages.Response(200, b"Healthy", text_type)


async def database_version(_app: context.App, _request: messages.Request) -> messages.Response:
    """The catalog's revision."""
    return messages.Response(body=model.DatabaseVersion(id=int(schema.REVISION)))


async def status(app: context.App, request: messages.Request) -> messages.Response:
    """What the daemon is doing, for people."""
    body = {
        "version": app.version,
        "pid": os.getpid(),
        "uptimeSeconds": round(clock.boottime() - app.started, 3),
        "mode": "system" if app.paths.system else "user",
        "socket": app.paths.socket,
        "state": app.paths.state,
        "config": app.paths.config,
        "uid": os.geteuid(),
        "clientUid": request.peer.uid,
        **{
            _camel(part): {_camel(name): value for name, value in figures.items()}
            for part, figures in _statistics(app)
        },
        "waiting": app.transfers.waiting() + app.relays.waiting(),
        "engines": await app.runs.engines(),
        "stores": [store.traits._asdict() for store in app.places],
    }
    return messages.Response(body=body)


async def metrics(app: context.App, _request: messages.Request) -> messages.Response:
    """All figures in Prometheus' text format."""
    lines = [
        "# TYPE tyger_uptime_seconds gauge",
        f"tyger_uptime_seconds {clock.boottime() - app.started:.3f}",
    ]
    for part, figures in _statistics(app):
        for name, value in figures.items():
            counter = name.endswith("_total")
            metric = f"tyger_{part}_{name}"
            lines += [f"# TYPE {metric} {'counter' if counter else 'gauge'}", f"{metric} {value}"]
    body = "\n".join([*lines, ""]).encode()
    return messages.Response(body=body, headers=[("Content-Type", "text/plain; version=0.0.4")])


async def describe(app: context.App, _request: messages.Request) -> messages.Response:
    """This API as an OpenAPI document."""
    return messages.Response(200, _document(app.version), [("Content-Type", messages.JSON_TYPE)])


@functools.cache
def _document(version: str) -> bytes:
    from tygerd.api import routes  # the table that the handler is in

    return msgspec.json.encode(openapi.document(routes.ROUTES, version))


def _statistics(app: context.App) -> Iterator[tuple[str, dict[str, int]]]:
    """Each part's figures."""
    yield "server", app.connections()._asdict()
    if app.tcp_connections is not None:
        yield "data_plane", app.tcp_connections()._asdict()
    yield "transfers", app.transfers.statistics()._asdict()
    yield "relays", app.relays.statistics()._asdict()
    yield "runs", {"unfinished": app.runs.unfinished()}
    yield "hashing", {"lanes": chain.LANES}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


ROUTES = [
    router.Route(
        "GET", "/metadata", metadata, "Capabilities and endpoints", operation="getMetadata",
        access="anonymous", versioned=False, response=model.Metadata,
    ),
    router.Route(
        "GET", "/healthcheck", healthcheck, "Health", operation="getHealth",
        access="anonymous", versioned=False, media=described.TEXT, response=Any,
        also=[router.Reply(503, Any, described.TEXT), router.Reply(503, model.ErrorBody)],
    ),
    router.Route(
        "GET", "/database-version-in-use", database_version, "The catalog's revision",
        operation="getDatabaseVersion", access="anonymous", versioned=False,
        response=model.DatabaseVersion,
    ),
    router.Route(
        "GET", "/status", status, "What the daemon is doing", operation="getStatus",
        versioned=False, response=dict[str, Any],
    ),
    router.Route(
        "GET", "/metrics", metrics, "Figures for Prometheus", operation="getMetrics",
        versioned=False, media=described.TEXT, response=Any,
    ),
    router.Route(
        "GET", "/openapi.json", describe, "This document", operation="getOpenApi",
        access="anonymous", versioned=False, response=dict[str, Any],
    ),
]  # fmt: skip
