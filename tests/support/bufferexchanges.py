"""For the compatibility tests of buffers: what is asked and answered in several of them."""

import json

JSON = "Content-Type: application/json; charset=utf-8"
ID = "nosuchbuffernosuchbuffer22"


def refusal(status, code, message):
    """The answer that refuses something."""
    return f"""
        < {status}
        < {JSON}
        <
        < {{"error":{{"code":"{code}","message":{json.dumps(message)}}}}}
    """


def invalid(message):
    return refusal("400 Bad Request", "InvalidInput", message)


def bad(message):
    return refusal("400 Bad Request", "BadRequest", message)


GONE = refusal("404 Not Found", "NotFound", "The resource was not found")
STALE = refusal("412 Precondition Failed", "PreconditionFailed", "ETag does not match")
NOT_DELETED = refusal("412 Precondition Failed", "PreconditionFailed", "Buffer is not soft-deleted")
DELETED = refusal("412 Precondition Failed", "PreconditionFailed", "Buffer is already soft-deleted")


def make(talk, body="{}"):
    """A buffer, remembered as `id`, `made` and `etag`; `rest` is what else is shown of it."""
    talk.hold(f"""
        > POST /buffers?api-version=1.0
        >
        > {body}
        < 201 Created
        < {JSON}
        < ETag: [[etag:etag]]
        < Location: /buffers/[[id:buffer]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made:time]]"[[rest:any]],"eTag":"[[etag]]"}}
    """)
    return talk["id"]


def shown(rest="", query="", etag=True):
    """The answer to GET (and, without `etag`, of DELETE and restore)."""
    return f"""
        < 200 OK
        < {JSON}
        {"< ETag: [[etag:etag]]" if etag else ""}
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]"{rest},"eTag":"{"[[etag]]" if etag else "[[etag:etag]]"}"}}
    """  # noqa: E501 - a line of the wire


def put(body, *headers, query=""):
    lines = "\n".join(f"> {header}" for header in headers)
    return f"> PUT /buffers/[[id]]?api-version=1.0{query}\n{lines}\n>\n> {body}\n"


BAD_TTL = "ttl must be a valid, non-negative TimeSpan"
TTLS = [
    "",
    "abc",
    "-1",
    "-0:01",
    "1.02",
    "24:00",
    "0:60",
    "0:0:60",
    "1d",
    "1:2:3.12345678",
    "99999999",
    "1e2",
]
