"""The route table: which handler answers a method and a path, and which api-version a request must name.

Contract rest-api.md 1.2 to 1.4. Pure: it sees a method and a target and returns a match or raises a
`Problem`. A table whose handlers do not fit their rows is refused when it is built, so the daemon does not
start.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from tyger import errors
from tygerd.http import messages

Handler = Callable[..., Awaitable[messages.Answer]]
"""`async def f(app, request)`, or `async def f(app, request, body)` where the row names a body type."""

Access = Literal["anonymous", "contributor", "owner"]
"""The role that an operation needs (rest-api.md 1.9). On the Unix socket, whose mode decides who may connect,
every peer has all of them."""

API_VERSIONS = ["1.0"]


JSON = "application/json"


class Parameter(NamedTuple):
    """What the OpenAPI document says of a query parameter or a header: a sentence and a JSON schema.

    With `deep` it is a map that is written `name[key]=value`. An `optional` header is not on all answers.
    """

    text: str
    schema: Mapping[str, object] = MappingProxyType({"type": "string"})
    deep: bool = False
    optional: bool = False


class Reply(NamedTuple):
    """An answer as the OpenAPI document has it. `body` is the type of its JSON; of anything else `Any`.

    `media` is its content type.
    """

    status: int
    body: Any = None
    media: str = JSON
    headers: Mapping[str, Parameter] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Route:
    """One row.

    `path` is a template: `{name}` stands for one segment, `{name...}`, last, for the rest. `fds` is how many
    descriptors a request brings. `body` is the type of its JSON, `normalized` whether empty values in it
    count as absent (rest-api.md 1.8); with `streams_body` the handler reads the bytes itself; with `endless`,
    too, they may be any number and pause for any time.

    The rest is for the OpenAPI document: `summary`, `operation` (its operationId), `query` and `asks` (query
    parameters and headers of a request), `status`, `response`, `media` and `headers` of the usual answer (see
    `Reply`), and `also`, the others that this route gives and not every one does.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    access: Access = "contributor"
    versioned: bool = True
    fds: int = 0
    body: Any = None
    normalized: bool = False
    streams_body: bool = False
    endless: bool = False
    operation: str = ""
    query: Mapping[str, Parameter] = field(default_factory=dict)
    asks: Mapping[str, Parameter] = field(default_factory=dict)
    status: int = 200
    response: Any = None
    media: str = JSON
    headers: Mapping[str, Parameter] = field(default_factory=dict)
    also: Sequence[Reply] = ()


class Target(NamedTuple):
    """A request target: the decoded path, split at its slashes before it was decoded, and the query."""

    path: str
    segments: tuple[str, ...]
    query: messages.Fields
    legacy_version_conflict: bool
    """A `/v1` request that also named another version, which nothing supports."""


class Match(NamedTuple):
    """A route and what its template's names stand for."""

    route: Route
    params: dict[str, str]


def parse_target(target: str) -> Target:
    """Read a request target in origin form or absolute form; take a `/v1` prefix away (rest-api.md 1.3).

    Raises:
        Problem: BAD_REQUEST when it is not a path, or its escapes are not UTF-8.
    """
    if "://" in target.partition("?")[0]:
        try:
            parts = urlsplit(target)
        except ValueError:
            raise errors.Problem(errors.BAD_REQUEST, "the request target is malformed") from None
        raw, query_text = parts.path or "/", parts.query
    else:
        raw, _, query_text = target.partition("?")
    if not raw.startswith("/"):
        raise errors.Problem(errors.BAD_REQUEST, "the request target is not a path")
    try:
        pairs = parse_qsl(query_text, keep_blank_values=True, errors="strict", max_num_fields=1000)
        legacy = raw.startswith("/v1/")
        if legacy:
            raw = raw.replace("/v1/", "/")
        segments = tuple(unquote(segment, errors="strict") for segment in raw[1:].split("/"))
    except UnicodeDecodeError:
        raise errors.Problem(errors.BAD_REQUEST, "the request target is not UTF-8") from None
    except ValueError:
        raise errors.Problem(errors.BAD_REQUEST, "the request target has too many parameters") from None
    conflict = False
    if legacy:
        given = [value for name, value in pairs if name.lower() == "api-version" and value]
        conflict = any(_version(value) not in (None, (1, 0)) for value in given)
        pairs = [pair for pair in pairs if pair[0].lower() != "api-version"] + [("api-version", "1.0")]
    return Target("/" + "/".join(segments), segments, messages.Fields(pairs), conflict)


class Router:
    """The routes, indexed. Literal segments win over names."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """Build the index.

        Raises:
            TypeError: two rows are for the same method and path, or a handler does not fit its row.
        """
        self.routes = tuple(routes)
        self._root = _Node()
        for route in self.routes:
            check(route)
            self._root.add(route)

    def target(self, _method: str, text: str) -> Target:
        """A request's target. Another table may know further forms, or refuse some in words of its own.

        Raises:
            Problem: as `parse_target`.
        """
        return parse_target(text)

    def match(self, method: str, target: Target) -> Match:
        """The route for this request.

        Raises:
            Problem: INVALID_ROUTE for an unknown path or method; NOT_FOUND without a body if the path looks
            like
                a file (rest-api.md 1.4); an api-version's error (1.2).
        """
        found = self._root.find(method, target.segments)
        if found is None:
            if "." in target.segments[-1]:
                raise errors.Problem(errors.NOT_FOUND, "The resource was not found", empty_body=True)
            raise errors.Problem(errors.INVALID_ROUTE, "The request path was not recognized.")
        if found.route.versioned:
            _check_version(target)
        return found


_Row = tuple[Route, tuple[str, ...]]
"""A route and the names in its template, in order."""


class _Node:
    """What may follow one prefix of segments."""

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.named: _Node | None = None
        self.routes: dict[str, _Row] = {}
        self.rest: dict[str, _Row] = {}

    def add(self, route: Route) -> None:
        node, names = self, list[str]()
        for segment in route.path[1:].split("/"):
            name = _NAMED.fullmatch(segment)
            if name is None:
                node = node.literals.setdefault(segment, _Node())
                continue
            names.append(name[1])
            if name[2]:
                _put(node.rest, route, names)
                return
            node.named = node.named or _Node()
            node = node.named
        _put(node.routes, route, names)

    def find(self, method: str, segments: tuple[str, ...], values: tuple[str, ...] = ()) -> Match | None:
        if not segments:
            return _match(self.routes.get(method), values)
        head, tail = segments[0], segments[1:]
        if (literal := self.literals.get(head)) and (found := literal.find(method, tail, values)):
            return found
        if self.named and head and (found := self.named.find(method, tail, (*values, head))):
            return found
        return _match(self.rest.get(method), (*values, "/".join(segments)))


def _put(table: dict[str, _Row], route: Route, names: list[str]) -> None:
    if route.method in table:
        raise TypeError(f"two routes for {route.method} {route.path}")
    table[route.method] = (route, tuple(names))


def _match(row: _Row | None, values: tuple[str, ...]) -> Match | None:
    return row and Match(row[0], dict(zip(row[1], values, strict=True)))


_NAMED = re.compile(r"\{([a-z_]\w*)(\.\.\.)?\}", re.IGNORECASE)
_VERSION = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?(?:-[A-Za-z][A-Za-z0-9]*)?", re.ASCII)
_DATED = re.compile(r"\d{4}-\d\d-\d\d(?:[.-]\w+)*", re.ASCII)


def _version(text: str) -> tuple[int, int] | None:
    """Major and minor; None when malformed. A date, or one with a status (`1.0-beta`), is none of ours."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return (-1, 0) if _DATED.fullmatch(text) else None
    return (-1, 0) if "-" in text else (int(match[1]), int(match[2] or 0))


def _check_version(target: Target) -> None:
    given = {value for value in target.query.all("api-version") if value}
    if not given:
        raise _refusal(errors.API_VERSION_UNSPECIFIED, "Unspecified API version")
    if len(given) > 1:
        raise _refusal(errors.API_VERSION_AMBIGUOUS, "Ambiguous API version")
    version = _version(given.pop())
    if version is None:
        raise _refusal(errors.API_VERSION_INVALID, "Invalid API version")
    if version != (1, 0) or target.legacy_version_conflict:
        raise _refusal(errors.API_VERSION_UNSUPPORTED, "Unsupported API version")


def _refusal(kind: errors.Kind, message: str) -> errors.Problem:
    return errors.Problem(kind, message, details={"apiVersions": API_VERSIONS})


def check(route: Route) -> None:
    """Refuse a row that contradicts itself or its handler's signature.

    Raises:
        TypeError: naming the row and what is wrong.
    """

    def refuse(why: str) -> typing.NoReturn:
        raise TypeError(f"route {route.method} {route.path}: {why}")

    if not route.path.startswith("/"):
        refuse("the path does not start with /")
    if route.body is not None and route.streams_body:
        refuse("a body is decoded or streamed, not both")
    if route.endless and not route.streams_body:
        refuse("only a streamed body may be endless")
    if route.fds and route.streams_body:
        refuse("descriptors come with a body that is read before the handler is called")
    if not inspect.iscoroutinefunction(route.handler):
        refuse("the handler is not an async function")
    signature = inspect.signature(route.handler)
    parameters = list(signature.parameters.values())
    expected = 2 if route.body is None else 3
    if len(parameters) != expected:
        refuse(f"the handler takes {len(parameters)} parameters, not {expected}")
    if _resolve(route.handler, parameters[1].annotation) is not messages.Request:
        refuse("the handler's second parameter is not a messages.Request")
    if expected == 3 and _resolve(route.handler, parameters[2].annotation) != route.body:
        refuse(f"the handler's third parameter is not a {route.body}")
    answer = _resolve(route.handler, signature.return_annotation)
    answers = set(typing.get_args(answer)) or {answer}
    if not answers <= set(typing.get_args(messages.Answer)):
        refuse("the handler does not return an Answer")


def _resolve(handler: Handler, annotation: object) -> object:
    """What an annotation stands for. The first parameter's is never resolved: the App is above everybody."""
    if not isinstance(annotation, str):
        return annotation
    namespace = getattr(inspect.unwrap(handler), "__globals__", {})
    return typing.get_type_hints(
        type("Annotated", (), {"__annotations__": {"it": annotation}}), globalns=namespace
    )["it"]
