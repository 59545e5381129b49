"""The OpenAPI document, made from the route table: what the rows do not say is not in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from tyger import model
from tygerd.api import described
from tygerd.http import router

_NAME = re.compile(r"\{(\w+)(?:\.\.\.)?\}")

_VERSION = router.Parameter("the only version there is", {"enum": router.API_VERSIONS})

_HEADERS = {
    "Request-Id": router.Parameter("names this request in the daemon's log"),
    "Tyger-Version": router.Parameter("the daemon's version"),
}
"""What every answer has."""

COMMON = {
    "BadRequest": router.Reply(400, model.ErrorBody),
    "TooLarge": router.Reply(413, model.ErrorBody),
    "NotJson": router.Reply(415, model.ErrorBody),
    "Defect": router.Reply(
        500, headers={"Incident": router.Parameter("under this name the log has what happened")}
    ),
    "NotNow": router.Reply(
        503, model.ErrorBody, headers={"Retry-After": router.Parameter("seconds", {"type": "integer"})}
    ),
    "DiskFull": router.Reply(507, model.ErrorBody),
}
"""What any route may answer, by their names among the components."""


def document(routes: Sequence[router.Route], version: str) -> dict[str, Any]:
    """The whole document, OpenAPI 3.1."""
    types = list({repr(kind): kind for route in routes for kind in _types(route)}.values())
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
        "components": {
            "schemas": components,
            "responses": {name: _answer([reply], schema_of) for name, reply in COMMON.items()},
        },
    }


def _types(route: router.Route) -> Iterator[object]:
    replies = (_usual(route), *route.also, *COMMON.values())
    return (kind for kind in (route.body, *(reply.body for reply in replies)) if kind is not None)


def _usual(route: router.Route) -> router.Reply:
    return router.Reply(route.status, route.response, route.media, route.headers)


def _operation(route: router.Route, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    parameters = [
        _parameter(name, "path", described.in_path(route.path, name)) | {"required": True}
        for name in _NAME.findall(route.path)
    ]
    parameters += [_parameter(name, "query", each) for name, each in route.query.items()]
    if route.versioned:
        parameters.append(_parameter("api-version", "query", _VERSION) | {"required": True})
    parameters += [_parameter(name, "header", each) for name, each in route.asks.items()]
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "parameters": parameters,
        "responses": _responses(route, schema_of),
        "x-tyger-access": route.access,
    }
    if route.fds:
        operation["x-tyger-fds"] = route.fds
    if route.body is not None:
        content = {router.JSON: {"schema": schema_of[repr(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    elif route.streams_body:
        operation["requestBody"] = {"content": {"application/octet-stream": {}}}
    return operation


def _parameter(name: str, where: str, parameter: router.Parameter) -> dict[str, Any]:
    style = {"style": "deepObject", "explode": True} if parameter.deep else {}
    return {
        "name": name,
        "in": where,
        "description": parameter.text,
        **style,
        "schema": dict(parameter.schema),
    }


def _responses(route: router.Route, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    """The usual answer, the row's others, and what any route may answer."""
    of_row: dict[int, list[router.Reply]] = {}
    for reply in (_usual(route), *route.also):
        of_row.setdefault(reply.status, []).append(reply)
    answers = {str(status): _answer(replies, schema_of) for status, replies in of_row.items()}
    for name, reply in COMMON.items():
        if reply.status == 415 and route.body is None:
            continue
        if reply.status == 507 and route.method in ("GET", "HEAD"):
            continue
        answers.setdefault(str(reply.status), {"$ref": f"#/components/responses/{name}"})
    return dict(sorted(answers.items()))


def _answer(replies: Sequence[router.Reply], schema_of: Mapping[str, Any]) -> dict[str, Any]:
    """One status; several replies are the shapes that it can have."""
    headers = {name: each for reply in replies for name, each in reply.headers.items()}
    answer: dict[str, Any] = {
        "description": HTTPStatus(replies[0].status).phrase,
        "headers": {
            name: {
                "description": each.text,
                "required": name in _HEADERS
                or (not each.optional and all(name in reply.headers for reply in replies)),
                "schema": dict(each.schema),
            }
            for name, each in (headers | _HEADERS).items()
        },
    }
    content: dict[str, list[object]] = {}
    for reply in replies:
        if reply.body is not None:
            content.setdefault(reply.media, []).append(schema_of[repr(reply.body)])
    if content:
        answer["content"] = {media: _content(media, schemas) for media, schemas in content.items()}
    return answer


def _content(media: str, schemas: Sequence[object]) -> dict[str, Any]:
    if media != router.JSON:
        return {}
    return {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}}
