"""The conventions of all requests and answers, contract rest-api.md sections 1 and 2."""

import json

import pytest

from tests.support import exchanges

MADE = """
    < 201 Created
    < Content-Type: application/json; charset=utf-8
    < ETag: [[etag:etag]]
    < Location: /buffers/[[id:buffer]]
    <
"""


def refusal(status, code, message, *, versions=False):
    """The answer that refuses something: nothing but the error body."""
    more = ',"apiVersions":["1.0"]' if versions else ""
    return f"""
        < {status}
        < Content-Type: application/json; charset=utf-8
        <
        < {{"error":{{"code":"{code}","message":{json.dumps(message)}{more}}}}}
    """


# --- connections and headers -------------------------------------------------------------------------------


def test_a_buffer_is_made_and_shown(talk):
    """With the zero values that the original's client has in its bodies."""
    talk.hold("""
        > POST /buffers?api-version=1.0
        >
        > {"id":"","createdAt":"0001-01-01T00:00:00Z","tags":{"b":"2","a":"1"},"eTag":"","isSoftDeleted":false}
        < 201 Created
        < Content-Type: application/json; charset=utf-8
        < ETag: [[etag:etag]]
        < Location: /buffers/[[id:buffer]]
        <
        < {"id":"[[id]]","location":"local","createdAt":"[[made:time]]","tags":{"a":"1","b":"2"},"eTag":"[[etag]]"}
        > GET /buffers/[[id]]?api-version=1.0
        < 200 OK
        < Content-Type: application/json; charset=utf-8
        < ETag: [[etag]]
        <
        < {"id":"[[id]]","location":"local","createdAt":"[[made]]","tags":{"a":"1","b":"2"},"eTag":"[[etag]]"}
    """)


@pytest.mark.parametrize("trace", [False, True])
def test_a_post_without_a_body(talk, trace):
    """Of length 0, or at log level trace chunked without a chunk; it says that it is JSON and is not parsed."""
    talk.trace = trace
    talk.hold(f"""
        > POST /buffers?api-version=1.0
        >
        > {{}}
        {MADE}
        < {{"id":"[[id]]","location":"local","createdAt":"[[made:time]]","eTag":"[[etag]]"}}
        > POST /buffers/[[id]]/access?api-version=1.0&writeable=true
        < 201 Created
        < Content-Type: application/json; charset=utf-8
        <
        < {{"uri":"[[:any]]"}}
        > DELETE /buffers/[[id]]?api-version=1.0
        < 200 OK
        < Content-Type: application/json; charset=utf-8
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","isSoftDeleted":true,"expiresAt":"[[:time]]","eTag":"[[:etag]]"}}
        > POST /buffers/[[id]]/restore?api-version=1.0
        < 200 OK
        < Content-Type: application/json; charset=utf-8
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","eTag":"[[etag]]"}}
        > POST /runs/4711/cancel?api-version=1.0
        {refusal("404 Not Found", "NotFound", "The resource was not found")}
        > POST /runs/_sweep?api-version=1.0
        < 200 OK
    """)


def test_a_chunked_body(talk):
    head = "POST /buffers?api-version=1.0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    talk.say(head.encode() + b'7\r\n{"tags"\r\na\r\n:{"a":"1"}\r\n1\r\n}\r\n0\r\n\r\n', "POST")
    talk.hold(
        MADE
        + '< {"id":"[[id]]","location":"local","createdAt":"[[:time]]","tags":{"a":"1"},"eTag":"[[etag]]"}'
    )


def test_requests_are_told_apart_by_their_ids(talk):
    seen = set()
    for _ in range(3):
        talk.hold(
            "> GET /buffers/count?api-version=1.0\n< 200 OK\n< Content-Type: application/json; charset=utf-8\n<\n< [[:number]]"
        )
        seen.add(talk.headers["Request-Id"])
    with exchanges.talk(talk.path) as other:
        other.hold(
            f"> GET /nowhere{refusal('400 Bad Request', 'InvalidRoute', 'The request path was not recognized.')}"
        )
        seen.add(other.headers["Request-Id"])
    assert len(seen) == 4


def test_the_id_is_on_the_data_plane_too(talk):
    """The harness looks for `Request-Id` on every answer, also on those without a body."""
    talk.hold(f"""
        > GET /runs/4711/logs?api-version=1.0
        < 404 Not Found
        > POST /buffers?api-version=1.0
        >
        > {{}}
        {MADE}
        < {{"id":"[[id]]","location":"local","createdAt":"[[:time]]","eTag":"[[etag]]"}}
        > POST /buffers/[[id]]/access?api-version=1.0
        < 201 Created
        < Content-Type: application/json; charset=utf-8
        <
        < {{"uri":"http+unix://[[:any]]:[[path:path]]?[[signature:any]]"}}
        > GET [[path]]/0?[[signature]]
        < 404 Not Found
        < x-ms-error-code: BlobNotFound
    """)


def test_what_is_no_request_is_told_so_and_ends_the_connection(talk):
    talk.say(b"this is not HTTP\r\n\r\n", "GET")
    talk.hold("""
        < 400 Bad Request
        < Content-Type: application/json; charset=utf-8
        < Connection: close
        <
        < {"error":{"code":"BadRequest","message":"this is not HTTP/1.1: [[:any]]"}}
    """)
    assert talk.closed()


def test_headers_that_mean_nothing_here(talk):
    """The client's Host is longer than a name of a host may be; nobody looks at it, nor at tokens and traces."""
    talk.hold("""
        > GET /buffers/count?api-version=1.0
        > Host: unix----F5XXA5BPOR4WOZLSF5QXA2JOONXWG2ZPF5XXA5BPOR4WOZLSF5QXA2JOONXWG2Y:99999
        < 200 OK
        < Content-Type: application/json; charset=utf-8
        <
        < [[:number]]
        > GET /buffers/count?api-version=1.0
        > baggage: a=b,c=d
        > traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
        > Authorization: Bearer
        < 200 OK
        < Content-Type: application/json; charset=utf-8
        <
        < [[:number]]
    """)
    talk.say(b"GET http://x/buffers/count?api-version=1.0 HTTP/1.1\r\nHost: x\r\n\r\n", "GET")
    talk.hold("< 200 OK\n< Content-Type: application/json; charset=utf-8\n<\n< [[:number]]")


# --- versions ----------------------------------------------------------------------------------------------

UNSPECIFIED = refusal("400 Bad Request", "ApiVersionUnspecified", "Unspecified API version", versions=True)
UNSUPPORTED = refusal("400 Bad Request", "UnsupportedApiVersion", "Unsupported API version", versions=True)
INVALID = refusal("400 Bad Request", "InvalidApiVersion", "Invalid API version", versions=True)
AMBIGUOUS = refusal("400 Bad Request", "AmbiguousApiVersion", "Ambiguous API version", versions=True)
NOBODY = refusal("404 Not Found", "NotFound", "The resource was not found")
NOWHERE = refusal("400 Bad Request", "InvalidRoute", "The request path was not recognized.")


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("", UNSPECIFIED),
        ("?api-version=", UNSPECIFIED),
        ("?api-version=0.1", UNSUPPORTED),
        ("?api-version=2.0", UNSUPPORTED),
        ("?api-version=abc", INVALID),
        ("?api-version=1.0&api-version=2.0", AMBIGUOUS),
        ("?api-version=1.0&api-version=1.0", NOBODY),
        ("?api-version=1.0", NOBODY),
        ("?api-version=1", NOBODY),
        ("?API-Version=1.0", NOBODY),
    ],
)
def test_versions(talk, query, answer):
    for path in ("/runs/4711", "/buffers/none", "/codespecs/none"):
        talk.hold(f"> GET {path}{query}\n{answer}")


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/v1/runs/4711", NOBODY),
        ("/v1/runs/4711?api-version=", NOBODY),
        ("/v1/runs/4711?api-version=1.0", NOBODY),
        ("/v1/runs/4711?api-version=0.1", UNSUPPORTED),
        ("/v1/runs/4711?api-version=2.0", UNSUPPORTED),
        ("/v1/runs/v1/4711", NOBODY),
        ("/v1", NOWHERE),
        ("/v1/", NOWHERE),
        ("/v1/nowhere", NOWHERE),
        ("/v2/runs/4711", NOWHERE),
    ],
)
def test_the_old_prefix(talk, target, answer):
    talk.hold(f"> GET {target}\n{answer}")


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("query", ["", "?api-version=", "?api-version=0.1", "?api-version=abc"])
def test_what_has_no_version_asks_for_none(talk, prefix, query):
    talk.hold(f"""
        > GET {prefix}/metadata{query}
        > !Content-Type
        < 200 OK
        < Content-Type: application/json; charset=utf-8
        <
        < {{"capabilities":["EphemeralBuffers","LocalBuffers"],"apiVersions":["1.0"],"storageEndpoints":["http+unix://[[:any]]:/"]}}
        > GET {prefix}/database-version-in-use{query}
        < 200 OK
        < Content-Type: application/json; charset=utf-8
        <
        < {{"id":[[:number]]}}
        > GET {prefix}/healthcheck{query}
        < 200 OK
        < Content-Type: text/plain
        <
        < Healthy
    """)


# --- paths that nobody answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /",
        "GET /nowhere",
        "POST /nowhere?api-version=1.0",
        "GET /buffers/a/b?api-version=1.0",
        "PATCH /buffers?api-version=1.0",
        "PUT /runs?api-version=1.0",
        "DELETE /runs/1?api-version=1.0",
        "DELETE /codespecs/a?api-version=1.0",
        "POST /metadata",
        "OPTIONS /buffers?api-version=1.0",
        "GET /a.b/c",
    ],
)
def test_unknown_paths_and_methods_are_no_404(talk, request_line):
    talk.hold(f"> {request_line}\n{NOWHERE}")


def test_unknown_paths_that_look_like_files_are_a_bare_404(talk):
    talk.hold("""
        > GET /favicon.ico
        < 404 Not Found
        > GET /a/b/style.css?api-version=1.0
        < 404 Not Found
    """)


# --- JSON --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("null", "null is not a valid input value"),
        (
            '{"tagz":{},"idd":"x"}',
            "Error deserializing input: Object contains unrecognized properties 'tagz', 'idd'. Path: $",
        ),
        ('{"tags":5}', "Error deserializing input: [[:any]] Path: $.tags"),
        ('{"tags":{"a":5}}', "Error deserializing input: [[:any]] Path: $.tags[[:any]]"),
        ('{"expiresAt":"soon"}', "Error deserializing input: [[:any]] Path: $.expiresAt"),
        ("[]", "Error deserializing input: [[:any]]"),
        ('"text"', "Error deserializing input: [[:any]]"),
        ("{", "Error deserializing input: [[:any]]"),
        ('{"tags":{} /* why */}', "Error deserializing input: [[:any]]"),
        ("", "Error deserializing input: [[:any]]"),
    ],
)
def test_bodies_that_are_refused(talk, body, message):
    answer = refusal("400 Bad Request", "InvalidInput", "MESSAGE").replace("MESSAGE", message)
    talk.hold(f"> POST /buffers?api-version=1.0\n>\n> {body}\n{answer}")


@pytest.mark.parametrize(
    "body",
    [
        '{"TAGS":{"a":"1"}}',
        '{"Tags":{"a":"1"}, "IsSoftDeleted":true, "ETAG":"5"}',
        '{"tags":{"a":"1",},}',
        '{"tags":{"a":"1"},"location":"","expiresAt":null,"id":null}',
        '{"location":"LOCAL","tags":{"a":"1"},"createdAt":"2020-01-01T00:00:00+02:00"}',
    ],
)
def test_bodies_that_are_taken(talk, body):
    """In any letter case, with trailing commas."""
    talk.hold(
        f"> POST /buffers?api-version=1.0\n>\n> {body}\n{MADE}"
        '< {"id":"[[id]]","location":"local","createdAt":"[[:time]]","tags":{"a":"1"},"eTag":"[[etag]]"}'
    )
