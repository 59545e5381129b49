"""Codespecs over HTTP, contract rest-api.md section 5."""

from __future__ import annotations

from tyger import errors, model
from tygerd.api import context, described, paging, params
from tygerd.http import messages, router


async def put(app: context.App, request: messages.Request, body: model.Codespec) -> messages.Response:
    """Make a version, unless the latest one says the same. 201 whenever the version is 1."""
    found = await app.codespecs.put(request.params["name"], body, request.peer.uid)
    return messages.Response(201 if found.version == 1 else 200, found, _location(found))


async def show_latest(app: context.App, request: messages.Request) -> messages.Response:
    """Show the newest version."""
    found = await app.codespecs.latest(request.params["name"])
    return messages.Response(200, found, _location(found))


async def show_version(app: context.App, request: messages.Request) -> messages.Response:
    """Show one version."""
    text = request.params["version"]
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise errors.not_found()
    return messages.Response(body=await app.codespecs.get(request.params["name"], int(text)))


async def index(app: context.App, request: messages.Request) -> messages.Response:
    """List the newest version of each name."""
    token = request.query.get(paging.NAME)
    (after,) = (None,) if token is None else paging.parse(token, tuple[str])
    found = await app.codespecs.page(
        limit=params.limit(request.query), prefix=request.query.get("prefix"), after=after
    )
    continuation = None if found.last is None else paging.token(found.last)
    return messages.Response(body=paging.page(request, found.items, continuation))


def _location(codespec: model.Codespec) -> list[tuple[str, str]]:
    # Without `/versions/`, so it is no route; clients read the version from its last segment.
    return [("Location", f"/codespecs/{codespec.name}/{codespec.version}")]


_PREFIX = {"prefix": router.Parameter("only names that begin with this; _ and % are wildcards")}
_MISSING = [described.NOT_FOUND]

ROUTES = [
    router.Route(
        "PUT", "/codespecs/{name}", put, "Create a codespec or its next version", operation="putCodespec",
        body=model.Codespec, normalized=True, response=model.Codespec, headers=described.LOCATION,
        also=[router.Reply(201, model.Codespec, headers=described.LOCATION)],
    ),
    router.Route(
        "GET", "/codespecs/{name}", show_latest, "Show a codespec's newest version", operation="getCodespec",
        response=model.Codespec, headers=described.LOCATION, also=_MISSING,
    ),
    router.Route(
        "GET", "/codespecs", index, "List codespecs", operation="getCodespecs",
        query=described.PAGE | _PREFIX, response=model.CodespecPage,
    ),
    router.Route(
        "GET", "/codespecs/{name}/versions/{version}", show_version, "Show a codespec's version",
        operation="getCodespecVersion", response=model.Codespec, also=_MISSING,
    ),
]  # fmt: skip
