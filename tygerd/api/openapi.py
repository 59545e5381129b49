"""The OpenAPI document, made from the route table: what the rows do not say is not in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from tygerd.http import router

_NAME = re.compile(r"\{(\w+)(?:\.\.\.)?\}")


def document(routes: Sequence[router.Route], version: str) -> dict[str, Any]:
    """The whole document, OpenAPI 3.1."""
    types = [kind for route in routes for kind in (route.body, route.response) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = {repr(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    items: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = items.setdefault(_NAME.sub(r"{\1}", route.path), {})
        path[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tyger", "version": version},
        "paths": items,
        "components": {"schemas": components},
    }


def _operation(route: router.Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _NAME.findall(route.path)
    ]
    query = dict(route.query)
    if route.versioned:
        query["api-version"] = "always 1.0"
    parameters += [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in query.items()
    ]
    answer: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.response is not None:
        answer["content"] = _json(schema_of[repr(route.response)])
    operation: dict[str, Any] = {
        "summary": route.summary,
        "parameters": parameters,
        "responses": {str(route.status): answer},
        "x-tyger-access": route.access,
    }
    if route.fds:
        operation["x-tyger-fds"] = route.fds
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(schema_of[repr(route.body)])}
    elif route.streams_body:
        operation["requestBody"] = {"content": {"application/octet-stream": {}}}
    return operation


def _json(schema: object) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
