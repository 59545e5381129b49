"""What rows of the route table have in common in the OpenAPI document: parameters, headers, further answers.

Words and schemas only; what is accepted is decided where it is read (`params`, `paging`).
"""

from __future__ import annotations

from collections.abc import Mapping

from tyger import model
from tygerd.http import router

INT32: Mapping[str, object] = {
    "type": "integer",
    "format": "int32",
    "minimum": -(2**31),
    "maximum": 2**31 - 1,
}
SIZE: Mapping[str, object] = {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**63 - 1}
NAMES: Mapping[tuple[str, str], router.Parameter] = {
    ("buffers", "id"): router.Parameter("the buffer's ID", {"type": "string", "pattern": "^[a-z2-7]{26}$"}),
    ("codespecs", "name"): router.Parameter(
        "the codespec's name", {"type": "string", "pattern": r"^[a-z0-9\-._]+$"}
    ),
    ("codespecs", "version"): router.Parameter("counts from 1 on", {**INT32, "minimum": 1}),
    ("containers", "blob"): router.Parameter("the blob's name, slashes included"),
    ("containers", "container"): router.Parameter(
        "the container's name", {"type": "string", "pattern": "^[a-zA-Z0-9]{3,63}$"}
    ),
    ("relays", "buffer"): router.Parameter(
        "the ephemeral buffer's ID", {"type": "string", "pattern": "^run-[0-9]+-temp-[a-z2-7]{26}$"}
    ),
    ("runs", "runId"): router.Parameter("the run's ID", {**SIZE, "minimum": 1}),
    ("transfers", "buffer"): router.Parameter("the buffer's ID", {"type": "string"}),
    ("transfers", "id"): router.Parameter(
        "the transfer's ID", {"type": "string", "pattern": "^[0-9a-f]{32}$"}
    ),
}
"""The names in paths, by the path's first part. Another value names nothing: a 404, and no error of form."""

_LIMIT: Mapping[str, object] = {**INT32, "minimum": 0, "default": 20}
_MAP: Mapping[str, object] = {"type": "object", "additionalProperties": {"type": "string"}}


def in_path(path: str, name: str) -> router.Parameter:
    """The parameter that a name in a path stands for."""
    return NAMES.get((path.split("/")[1], name), router.Parameter(""))


def flag(text: str) -> router.Parameter:
    """A parameter that is true or false; absent is false."""
    return router.Parameter(text, {"type": "boolean", "default": False})


def moment(text: str) -> router.Parameter:
    """A parameter that is a point in time."""
    return router.Parameter(text, {"type": "string", "format": "date-time"})


def with_tags(text: str) -> router.Parameter:
    """`tag[KEY]=VALUE`, for any number of keys."""
    return router.Parameter(text, _MAP, deep=True)


def span(text: str) -> router.Parameter:
    """A time span as .NET writes it: `D` or `[D.]HH:MM[:SS[.fff]]`."""
    return router.Parameter(text, {"type": "string", "examples": ["1.00:00:00", "0"]})


CONTINUATION = router.Parameter("where the page before ended: `nextLink` has it")
PAGE = {"limit": router.Parameter("items a page; 2000 at most are given", _LIMIT), "_ct": CONTINUATION}

ETAG = {"ETag": router.Parameter("the state that the answer shows, for If-Match")}
LOCATION = {"Location": router.Parameter("path of what was made")}
IF_MATCH = {"If-Match": router.Parameter("change it only in the state with this ETag; * or nothing: in any")}

NOT_FOUND = router.Reply(404, model.ErrorBody)
CHANGED = router.Reply(412, model.ErrorBody)
CONFLICT = router.Reply(409, model.ErrorBody)
FORBIDDEN = router.Reply(403, model.ErrorBody)

# Some answers about runs have no body (rest-api.md 13).
BARE_NOT_FOUND = router.Reply(404)
BARE_CHANGED = router.Reply(412)

LINES = "application/x-ndjson"
BYTES = "application/octet-stream"
TEXT = "text/plain"
YAML = "text/yaml"
