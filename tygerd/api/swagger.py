"""The Swagger document that clients of Microsoft's Tyger know, as JSON and as YAML: contract rest-api.md 3.4.

Its order and shape are fixed there, and it describes less, and some of it otherwise, than the daemon does:
what is true is in `/openapi.json`. Parameters take their types from the route table.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from tygerd.api import context, described, swaggerschemas
from tygerd.http import messages, router

TAG = "tyger-server"

_ERROR = "ErrorBody"


class Operation(NamedTuple):
    """One operation; `query` and `answers` are in its order. None is an answer without content."""

    path: str
    method: str
    answers: Mapping[int, str | None]
    id: str | None = None
    body: str | None = None
    query: str = ""


OPERATIONS = [
    Operation("/buffers", "post", {201: "Buffer"}, "createBuffer", "Buffer"),
    Operation("/buffers", "get", {200: "BufferPage", 400: _ERROR}, "getBuffers", query="limit _ct tag"),
    Operation("/buffers", "delete", {200: "int32", 400: _ERROR}, "deleteBuffers"),
    Operation("/buffers/restore", "post", {200: "int32"}, "restoreBuffers"),
    Operation("/buffers/count", "get", {200: "int32"}, "getBufferCount"),
    Operation("/buffers/{id}", "get", {200: "Buffer", 400: _ERROR, 404: _ERROR}, "getBufferById"),
    Operation(
        "/buffers/{id}",
        "put",
        {200: "Buffer", 400: _ERROR, 404: _ERROR, 412: _ERROR},
        "setBufferTags",
        "BufferUpdate",
    ),
    Operation(
        "/buffers/{id}", "delete", {200: "Buffer", 400: _ERROR, 404: _ERROR, 412: _ERROR}, "deleteBuffer"
    ),
    Operation("/buffers/{id}/restore", "post", {200: "int32", 404: _ERROR, 412: _ERROR}, "restoreBuffer"),
    Operation(
        "/buffers/{id}/access",
        "post",
        {201: "BufferAccess", 404: _ERROR},
        "getBufferAccessString",
        query="writeable preferTcp fromDocker",
    ),
    Operation("/buffers/storage-accounts", "get", {200: "list:StorageAccount"}, "getStorageAccounts"),
    Operation("/buffers/export", "post", {202: "Run"}, "exportBuffers", "ExportBuffersRequest"),
    Operation("/buffers/import", "post", {202: "Run"}, "importBuffers", "ImportBuffersRequest"),
    Operation(
        "/codespecs/{name}", "put", {200: "anyCodespec", 201: "anyCodespec", 400: _ERROR}, body="anyCodespec"
    ),
    Operation("/codespecs/{name}", "get", {200: "anyCodespec"}),
    Operation("/codespecs", "get", {200: "CodespecPage"}, query="limit prefix _ct"),
    Operation("/codespecs/{name}/versions/{version}", "get", {200: "anyCodespec"}),
    Operation("/runs", "post", {201: "Run", 400: _ERROR}, body="Run"),
    Operation("/runs", "get", {200: "RunPage"}, query="limit since status _ct tag"),
    Operation("/runs/counts", "get", {200: "counts"}, query="since tag"),
    Operation("/runs/{runId}", "get", {200: "Run", 404: _ERROR}, query="watch"),
    Operation("/runs/{runId}", "put", {200: "Run", 404: _ERROR, 412: _ERROR}, "setRunTags", "RunUpdate"),
    Operation(
        "/runs/{runId}/logs", "get", {200: None, 404: _ERROR}, query="timestamps tailLines since follow"
    ),
    Operation("/runs/{runId}/cancel", "post", {202: "Run", 404: _ERROR}),
    Operation("/metadata", "get", {200: "ServiceMetadata"}),
    Operation("/database-version-in-use", "get", {200: "DatabaseVersionInUse"}),
]
"""In the order of the document."""


def document(routes: Sequence[router.Route]) -> dict[str, Any]:
    """The whole document, OpenAPI 3.0."""
    rows = {(route.method.lower(), route.path): route for route in routes}
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method] = _operation(each, rows[each.method, each.path])
    return {
        "openapi": "3.0.4",
        "info": {"title": "Tyger Server", "version": "1.0"},
        "paths": paths,
        "components": {"schemas": swaggerschemas.schemas()},
        "tags": [{"name": TAG}],
    }


def _operation(operation: Operation, row: router.Route) -> dict[str, Any]:
    in_path = re.findall(r"\{(\w+)\}", operation.path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in in_path
    ]
    parameters += [_parameter(name, row.query[name]) for name in operation.query.split()]
    written: dict[str, Any] = {"tags": [TAG]}
    if operation.id is not None:
        written["operationId"] = operation.id
    if parameters:
        written["parameters"] = parameters
    if operation.body is not None:
        written["requestBody"] = {"content": _content(operation.body), "required": True}
    written["responses"] = {
        str(status): _answer(status, kind, "tag" in operation.query.split())
        for status, kind in operation.answers.items()
    }
    return written


def _parameter(name: str, parameter: router.Parameter) -> dict[str, Any]:
    known = parameter.schema
    schema = {key: known[key] for key in ("type", "additionalProperties", "format") if key in known}
    if known["type"] == "array":
        schema["items"] = {"type": "string"}
    style = {"style": "deepObject", "explode": True} if parameter.deep else {}
    return {"name": name, "in": "query", **style, "schema": schema}


def _answer(status: int, kind: str | None, of_tagged: bool) -> dict[str, Any]:
    text = "Success" if of_tagged and status == 200 else HTTPStatus(status).phrase
    return {"description": text} | ({} if kind is None else {"content": _content(kind)})


def _content(kind: str) -> dict[str, Any]:
    return {router.JSON: {"schema": _COUNTS if kind == "counts" else swaggerschemas.of(kind)}}


_COUNTS = {
    "type": "object",
    "properties": {status: swaggerschemas.of("int64") for status in swaggerschemas.STATUSES},
    "additionalProperties": False,
}


# --- YAML ------------------------------------------------------------------------------------------------

# Versions and status codes would be numbers, a reference a comment, braces and commas are the contract's.
_QUOTED = re.compile(r"\d+(\.\d+)?|#.*|.*[{},].*")


def yaml(value: object) -> str:
    """The document as YAML, in the one layout that the contract describes."""
    return "\n".join([*_lines(value), ""])


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                yield f"{_scalar(key)}:"
                yield from (f"  {line}" for line in _lines(item))
            else:
                yield f"{_scalar(key)}: {_scalar(item)}"
    elif isinstance(value, list):
        for item in value:
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, str):
        text = value.replace("'", "''")
        return f"'{text}'" if _QUOTED.fullmatch(value) else value
    return "{ }" if value == {} else json.dumps(value)


# --- routes ----------------------------------------------------------------------------------------------


@functools.cache
def _texts() -> tuple[bytes, bytes]:
    from tygerd.api import routes  # the table that these handlers are in

    made = document(routes.ROUTES)
    return json.dumps(made, indent=2).encode(), yaml(made).encode()


async def as_json(_app: context.App, _request: messages.Request) -> messages.Response:
    """The document as JSON."""
    return messages.Response(200, _texts()[0], [("Content-Type", messages.JSON_TYPE)])


async def as_yaml(_app: context.App, _request: messages.Request) -> messages.Response:
    """The document as YAML."""
    return messages.Response(200, _texts()[1], [("Content-Type", f"{described.YAML}; charset=utf-8")])


ROUTES = [
    router.Route(
        "GET", "/swagger/v1.0/swagger.json", as_json, "The compatible API", operation="getSwaggerJson",
        access="anonymous", versioned=False, response=dict[str, Any],
    ),
    router.Route(
        "GET", "/swagger/v1.0/swagger.yaml", as_yaml, "The compatible API, as YAML",
        operation="getSwaggerYaml", access="anonymous", versioned=False, media=described.YAML, response=Any,
    ),
]  # fmt: skip
