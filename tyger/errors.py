"""Every failure kind once: wire code, HTTP status, exit code and what it means.

Nothing else in the tree knows a status or an exit number. `tyger` exits with `Problem.exit_code`; the
daemon answers with `Problem.status` and a body that carries `code` and `message`. Exit codes follow
sysexits.h where it has a fitting one; a signal's exit is 128 + its number. A code that is not in this
table still means failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """One row: the machine's word, the HTTP status, the exit code, and who should act now."""

    code: str
    status: int
    exit_code: int
    meaning: str


RUN_FAILED = Kind("RunFailed", 409, 1, "the run failed or was cancelled; see its reason and its logs")
USAGE = Kind("Usage", 400, 64, "the command line was wrong; see --help")
INVALID_INPUT = Kind("InvalidInput", 400, 65, "a value or a file is not valid; correct it")
BAD_REQUEST = Kind("BadRequest", 400, 65, "a request parameter is not valid")
PAYLOAD_TOO_LARGE = Kind("PayloadTooLarge", 413, 65, "a request body is larger than is allowed")
UNSUPPORTED_MEDIA_TYPE = Kind("UnsupportedMediaType", 415, 65, "a request body is said not to be JSON")
NOT_FOUND = Kind("NotFound", 404, 66, "no such buffer, codespec, run, transfer or file")
UNAVAILABLE = Kind("Unavailable", 503, 69, "the daemon, or a store behind it, cannot be reached")
INTERNAL = Kind("InternalError", 500, 70, "a defect of ours: report it with the incident id")
INVALID_ROUTE = Kind("InvalidRoute", 400, 70, "the daemon does not know this path or method")
API_VERSION_UNSPECIFIED = Kind("ApiVersionUnspecified", 400, 70, "the request names no api-version")
API_VERSION_UNSUPPORTED = Kind("UnsupportedApiVersion", 400, 70, "the daemon does not speak this api-version")
API_VERSION_INVALID = Kind("InvalidApiVersion", 400, 70, "the api-version is malformed")
API_VERSION_AMBIGUOUS = Kind("AmbiguousApiVersion", 400, 70, "two different api-versions were given")
CONFLICT = Kind("Conflict", 409, 73, "the buffer was already written, or the state cannot be created")
IO_ERROR = Kind("IOError", 500, 74, "reading or writing failed; the message has the system's own words")
BUFFER_FAILED = Kind("BufferFailed", 409, 74, "the buffer's writer failed; it holds no whole stream")
CORRUPT = Kind("Corrupt", 500, 74, "stored bytes do not match their checksum; they were not delivered")
STORAGE_FULL = Kind("InsufficientStorage", 507, 74, "the disk that holds the state is full")
PRECONDITION_FAILED = Kind("PreconditionFailed", 412, 75, "it changed meanwhile, or is in another state")
TRY_AGAIN = Kind("TryAgain", 503, 75, "not now: try again later")
PROTOCOL = Kind("Protocol", 502, 76, "the peer sent something that is not this protocol")
UNAUTHORIZED = Kind("Unauthorized", 401, 77, "tyger-proxy does not pass this operation on")
FORBIDDEN = Kind("Forbidden", 403, 77, "permission denied")
ACCESS_EXPIRED = Kind("AccessExpired", 403, 77, "the access URL has expired and nobody renews it")
CONFIG = Kind("Config", 500, 78, "tygerd.toml is wrong, or the state directory cannot be used")

PHRASES = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    507: "Insufficient Storage",
}
"""What the original's messages say behind a status (contract cli.md 1.8)."""

KINDS: tuple[Kind, ...] = tuple(value for value in globals().copy().values() if isinstance(value, Kind))
BY_CODE: dict[str, Kind] = {kind.code: kind for kind in KINDS}


class Problem(Exception):  # noqa: N818 - a Problem is what the user is told; not each is an error of ours
    """A failure that has a row in this table. `str()` is one line for a person.

    `details` are further members of the wire error object (for example `apiVersions`). `empty_body` is for
    the few compatible endpoints whose error answers have no body.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        details: dict[str, object] | None = None,
        empty_body: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.details = details or {}
        self.empty_body = empty_body
        self.answer: tuple[int, Mapping[str, str], bytes] | None = None
        """Status, headers and body of the answer that said it, where one did."""
        self.remote = False
        """Whether the daemon said it; its code is then shown to the user (contract cli.md 1.8)."""

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.kind.status

    @property
    def exit_code(self) -> int:
        """Exit code of a command that ends with this problem."""
        return self.kind.exit_code

    def body(self) -> dict[str, object]:
        """The wire body, contract rest-api.md 1.7."""
        return {"error": {"code": self.kind.code, "message": self.message, **self.details}}


def from_wire(status: int, body: object) -> Problem:
    """The problem that an error answer stands for; an unknown code keeps the status line as its text."""
    if isinstance(body, dict) and isinstance(error := body.get("error"), dict):
        code, message = str(error.get("code")), str(error.get("message"))
        kind = BY_CODE.get(code) or Kind(code, status, 1, "")
        problem = Problem(kind, message)
        problem.remote = True
        return problem
    kind = next((kind for kind in KINDS if kind.status == status), Kind("Unexpected", status, 1, ""))
    return Problem(kind, f"unexpected status code {status_line(status)}")


def status_line(status: int) -> str:
    """`404 Not Found`."""
    return f"{status} {PHRASES.get(status, '')}".rstrip()


def not_found() -> Problem:
    """The contract's one 404 text (rest-api.md 1.7)."""
    return Problem(NOT_FOUND, "The resource was not found")
