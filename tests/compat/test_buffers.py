"""One buffer at a time, contract rest-api.md sections 2.1, 2.4, 2.5 and 4."""

import concurrent.futures
import json

import pytest

from tests.support import exchanges

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
    """A buffer, remembered as `id`, `made` and `etag`."""
    talk.hold(f"""
        > POST /buffers?api-version=1.0
        >
        > {body}
        < 201 Created
        < {JSON}
        < ETag: [[etag:etag]]
        < Location: /buffers/[[id:buffer]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made:time]]"[[:any]],"eTag":"[[etag]]"}}
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
    """


# --- making ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        ("{}", ""),
        ('{"tags":{}}', ""),
        ('{"tags":null,"expiresAt":null}', ""),
        ('{"tags":{"b":"2","a":""}}', ',"tags":{"a":"","b":"2"}'),
        ('{"tags":{"A":"1","a":"2","-._":"x"}}', ',"tags":{"-._":"x","A":"1","a":"2"}'),
        (
            '{"expiresAt":"2999-01-02T03:04:05.123456789Z"}',
            ',"expiresAt":"2999-01-02T03:04:05.123456+00:00"',
        ),
        ('{"expiresAt":"2999-01-02T03:04:05.120000+02:00"}', ',"expiresAt":"2999-01-02T01:04:05.12+00:00"'),
        ('{"expiresAt":"2999-01-02T03:04:05Z"}', ',"expiresAt":"2999-01-02T03:04:05+00:00"'),
        ('{"id":"mine","eTag":"5","isSoftDeleted":true,"createdAt":"2020-01-01T00:00:00Z"}', ""),
        ('{"location":"Local"}', ""),
    ],
)
def test_what_is_made_is_what_is_shown(talk, body, rest):
    """To the last digit; what is the server's to say is not taken from a client (13, item 14)."""
    talk.hold(f"""
        > POST /buffers?api-version=1.0
        >
        > {body}
        < 201 Created
        < {JSON}
        < ETag: [[etag:etag]]
        < Location: /buffers/[[id:buffer]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made:time]]"{rest},"eTag":"[[etag]]"}}
        > GET /buffers/[[id]]?api-version=1.0
        < 200 OK
        < {JSON}
        < ETag: [[etag]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]"{rest},"eTag":"[[etag]]"}}
    """)


def test_a_buffer_may_be_made_expired(talk):
    talk.hold(f"""
        > POST /buffers?api-version=1.0
        >
        > {{"expiresAt":"2001-02-03T04:05:06Z"}}
        < 201 Created
        < {JSON}
        < ETag: [[etag:etag]]
        < Location: /buffers/[[id:buffer]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[:time]]","expiresAt":"2001-02-03T04:05:06+00:00","eTag":"[[etag]]"}}
    """)


TOO_MANY = "No more than 100 tags can be set on a buffer"
BAD_KEY = "Tag keys must contain up to 128 letters (a-z, A-Z), numbers (0-9) and underscores (_)"
BAD_VALUE = "Tag values can contain up to 256 letters (a-z, A-Z), numbers (0-9) and underscores (_)"


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({f"k{i}": "v" for i in range(101)}, TOO_MANY),
        ({"": "v"}, BAD_KEY),
        ({"a b": "v"}, BAD_KEY),
        ({"ä": "v"}, BAD_KEY),
        ({"a/b": "v"}, BAD_KEY),
        ({"k" * 129: "v"}, BAD_KEY),
        ({"a": "x y"}, BAD_VALUE),
        ({"a": "x" * 257}, BAD_VALUE),
        ({"a": "ß"}, BAD_VALUE),
    ],
)
def test_tags_that_are_refused(talk, tags, message):
    talk.hold(f"> POST /buffers?api-version=1.0\n>\n> {json.dumps({'tags': tags})}\n{invalid(message)}")


def test_as_much_of_tags_as_there_may_be(talk):
    make(talk, json.dumps({"tags": {f"k{i}": "v" for i in range(100)}}))
    make(talk, json.dumps({"tags": {"k" * 128: "x" * 256, "a-b_c.d": ""}}))


def test_only_the_local_location(talk):
    """With the contract's unbalanced quote."""
    talk.hold(
        '> POST /buffers?api-version=1.0\n>\n> {"location":"westus2"}'
        + invalid("Buffer location can only be 'local.")
    )


# --- showing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffer_id", [ID, "x", "a-b", "temp-x", "%2F", "..%2F..%2Fetc", "ä%20", "NOSUCH"])
def test_ids_that_are_nobodys(talk, buffer_id):
    talk.hold(f"""
        > GET /buffers/{buffer_id.replace("ä", "%C3%A4")}?api-version=1.0
        {GONE}
        > GET /buffers/{buffer_id.replace("ä", "%C3%A4")}?api-version=1.0&softDeleted=true
        {GONE}
    """)


def test_a_state_is_asked_for(talk):
    make(talk)
    talk.hold(f"""
        > GET /buffers/[[id]]?api-version=1.0&softDeleted=FALSE
        {shown()}
        > GET /buffers/[[id]]?api-version=1.0&softDeleted=true
        {GONE}
        > GET /buffers/[[id]]?api-version=1.0&softDeleted=yes
        {bad("softDeleted must be true or false")}
        > GET /buffers/[[id]]?api-version=1.0&softDeleted=
        {bad("softDeleted must be true or false")}
        > DELETE /buffers/[[id]]?api-version=1.0
        {shown(',"isSoftDeleted":true,"expiresAt":"[[until:time]]"', etag=False)}
        > GET /buffers/[[id]]?api-version=1.0
        {GONE}
        > GET /buffers/[[id]]?api-version=1.0&softDeleted=True
        < 200 OK
        < {JSON}
        < ETag: [[etag]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","isSoftDeleted":true,"expiresAt":"[[until]]","eTag":"[[etag]]"}}
    """)


# --- setting tags and expiry -------------------------------------------------------------------------------


def put(body, *headers, query=""):
    lines = "\n".join(f"> {header}" for header in headers)
    return f"> PUT /buffers/[[id]]?api-version=1.0{query}\n{lines}\n>\n> {body}\n"


def test_tags_are_replaced_and_the_expiry_is_only_ever_set(talk):
    make(talk, '{"tags":{"a":"1","b":"2"}}')
    talk.hold(f"""
        {put('{"tags":{"c":"3"},"expiresAt":"2999-01-01T00:00:00Z"}')}
        {shown(',"expiresAt":"2999-01-01T00:00:00+00:00","tags":{"c":"3"}')}
        {put('{"tags":{},"expiresAt":null}')}
        {shown(',"expiresAt":"2999-01-01T00:00:00+00:00","tags":{}')}
        {put('{"tags":{"a":"1"}}')}
        {shown(',"expiresAt":"2999-01-01T00:00:00+00:00","tags":{"a":"1"}')}
        {put("{}")}
        {shown(',"expiresAt":"2999-01-01T00:00:00+00:00"')}
        > GET /buffers/[[id]]?api-version=1.0
        < 200 OK
        < {JSON}
        < ETag: [[etag]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","expiresAt":"2999-01-01T00:00:00+00:00","eTag":"[[etag]]"}}
    """)


def test_what_the_clients_set_command_sends(talk):
    """Fields that are none of an update's are ignored, names are taken in any letter case."""
    make(talk)
    talk.hold(f"""
        {put('{"eTag":"1","tags":{"a":"1"},"expiresAt":null}')}
        {shown(',"tags":{"a":"1"}')}
        {put('{"ID":"[[id]]","TAGS":{"b":"1"},"nonsense":[{}],}')}
        {shown(',"tags":{"b":"1"}')}
    """)


def test_tags_are_not_looked_at_by_put(talk):
    make(talk)
    many = {f"k {i}": "ß" for i in range(101)}
    talk.hold(f"""
        {put('{"tags":{"":"x y","ä":""}}')}
        {shown(',"tags":{"":"x y","ä":""}')}
        {put(json.dumps({"tags": many}))}
        {shown(',"tags":{[[:any]]}')}
        {put(json.dumps({"tags": {f"k{i}": "" for i in range(1001)}}))}
        {invalid("No more than 1000 tags can be set")}
    """)


def test_what_put_refuses(talk):
    make(talk)
    other = "The buffer ID in the URL does not match the buffer ID in the request body."
    talk.hold(f"""
        {put('{"id":"other"}')}
        {bad(other)}
        {put('{"id":""}')}
        {bad(other)}
        {put("null")}
        {invalid("null is not a valid input value")}
        {put('{"tags":{"a":null}}')}
        {invalid("Error deserializing input: @").replace("@", "[[:any]]")}
        {put('{"expiresAt":"tomorrow"}')}
        {invalid("Error deserializing input: @ Path: $.expiresAt").replace("@", "[[:any]]")}
        {put("{}", query="&softDeleted=true")}
        {GONE}
        {put("{}", query="&softDeleted=maybe")}
        {bad("softDeleted must be true or false")}
        > PUT /buffers/[[id]]?api-version=1.0
        {invalid("Error deserializing input: @").replace("@", "[[:any]]")}
        > PUT /buffers/{ID}?api-version=1.0
        >
        > {{}}
        {GONE}
        > GET /buffers/[[id]]?api-version=1.0
        {shown()}
    """)


def test_put_finds_the_state_that_is_asked_for(talk):
    make(talk)
    talk.hold(f"""
        > DELETE /buffers/[[id]]?api-version=1.0&ttl=1
        {shown(',"isSoftDeleted":true,"expiresAt":"[[until:time]]"', etag=False)}
        {put('{"tags":{"a":"1"}}')}
        {GONE}
        {put('{"tags":{"a":"1"}}', query="&softDeleted=true")}
        {shown(',"isSoftDeleted":true,"expiresAt":"[[until]]","tags":{"a":"1"}')}
    """)


def test_if_match(talk):
    """Verbatim: no quotes, no lists, no weak tags; empty and `*` ask for nothing."""
    make(talk)
    talk.hold(f"""
        {put('{"tags":{"a":"1"}}', "If-Match: [[etag]]")}
        < 200 OK
        < {JSON}
        < ETag: [[new:etag]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","tags":{{"a":"1"}},"eTag":"[[new]]"}}
        {put('{"tags":{"a":"2"}}', "If-Match: [[etag]]")}
        {STALE}
        {put('{"tags":{"a":"2"}}', 'If-Match: "[[new]]"')}
        {STALE}
        {put('{"tags":{"a":"2"}}', "If-Match: [[new]], [[etag]]")}
        {STALE}
        {put('{"tags":{"a":"2"}}', 'If-Match: W/"[[new]]"')}
        {STALE}
        {put('{"tags":{"a":"2"}}', "If-Match: [[etag]]", "If-Match: [[new]]")}
        {STALE}
        > GET /buffers/[[id]]?api-version=1.0
        {shown(',"tags":{"a":"1"}')}
        {put('{"tags":{"a":"3"}}', "If-Match: *")}
        {shown(',"tags":{"a":"3"}')}
        {put('{"tags":{"a":"4"}}', "If-Match:")}
        {shown(',"tags":{"a":"4"}')}
        {put('{"tags":{"a":"5"}}', "If-Match: [[etag]]", "If-Match: 5")}
        {shown(',"tags":{"a":"5"}')}
    """)


def test_of_many_that_have_one_etag_one_wins(talk):
    make(talk)

    def change(_):
        with exchanges.talk(talk.path) as one:
            one.values.update(talk.values)
            return one.look(put('{"tags":{"a":"1"}}', "If-Match: [[etag]]"))[0]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(change, range(8))) == [200] + [412] * 7


def test_an_etag_is_of_the_state_and_not_of_the_way_there(talk):
    make(talk)
    talk.hold(
        f"""
        {put('{"tags":{"a":"1"}}')}
        {shown(',"tags":{"a":"1"}')}
        {put("{}")}
        < 200 OK
        < {JSON}
        < ETag: [[first]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","eTag":"[[first]]"}}
        > DELETE /buffers/[[id]]?api-version=1.0
        {shown(',"isSoftDeleted":true,"expiresAt":"[[:time]]"', etag=False)}
        > POST /buffers/[[id]]/restore?api-version=1.0
        < 200 OK
        < {JSON}
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","eTag":"[[first]]"}}
        """,
        first=talk["etag"],
    )


# --- access URLs -------------------------------------------------------------------------------------------


def access(query="", buffer_id="[[id]]"):
    return f"> POST /buffers/{buffer_id}/access?api-version=1.0{query}\n"


URI = f"""
    < 201 Created
    < {JSON}
    <
    < {{"uri":"http+unix://[[socket]]:/containers/[[id]]?api-version=1.0&sv=0.1.0&sp=[[sp]]&st=[[:escaped]]&se=[[:escaped]]&sig=[[:escaped]]"}}
"""


def test_access_urls(talk):
    """Also of buffers that are soft-deleted or expired, until they are removed."""
    make(talk)
    for query, letters in (
        ("", "r"),
        ("&writeable=true", "cr"),
        ("&writeable=FALSE&preferTcp=true&fromDocker=true", "r"),
    ):
        talk.hold(access(query) + URI, socket=talk.path, sp=letters)
    talk.hold(
        f"""
        > DELETE /buffers/[[id]]?api-version=1.0&ttl=1
        {shown(',"isSoftDeleted":true,"expiresAt":"[[:time]]"', etag=False)}
        {access("&writeable=true")}
        {URI}
        """,
        sp="cr",
    )


@pytest.mark.parametrize("ttl", ["0:00:30", "00:00:30", "1:00", "0.01:00:00", "%200:30%20", "0:0:59.999"])
def test_how_long_an_access_url_may_last(talk, ttl):
    make(talk)
    talk.hold(access(f"&ttl={ttl}") + URI, socket=talk.path, sp="r")


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


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("&ttl=0", invalid("Access TTL must be at least 30 seconds.")),
        ("&ttl=0:00:29.999", invalid("Access TTL must be at least 30 seconds.")),
        ("&ttl=1:00:01", invalid("Access TTL must be less than or equal to 01:00:00.")),
        ("&ttl=5", invalid("Access TTL must be less than or equal to 01:00:00.")),
        ("&writeable=1", bad('Failed to bind parameter "bool writeable" from "1".')),
        ("&preferTcp=yes", bad('Failed to bind parameter "bool preferTcp" from "yes".')),
        ("&fromDocker=", bad('Failed to bind parameter "bool fromDocker" from "".')),
        *((f"&ttl={ttl}", bad(BAD_TTL)) for ttl in TTLS),
    ],
)
def test_access_that_is_refused(talk, query, answer):
    make(talk)
    talk.hold(access(query) + answer)


@pytest.mark.parametrize("buffer_id", [ID, "a-b", "run-temp-x", "%20", "a.b"])
def test_access_to_nobodys_id(talk, buffer_id):
    """Also of one with a dash in it, for which the original has an empty answer (13, item 5)."""
    talk.hold(access("", buffer_id) + GONE)


def test_access_to_ephemeral_buffers(talk):
    talk.hold(f"""
        {access("", "temp-abc")}
        < 201 Created
        < {JSON}
        <
        < {{"uri":"temporary"}}
        {access("", "run-7-temp-abc")}
        {invalid("Ephemeral buffers are not supported.")}
    """)


# --- deleting, restoring, purging --------------------------------------------------------------------------

DELETE = "> DELETE /buffers/[[id]]?api-version=1.0"
PURGE = "> DELETE /buffers/[[id]]?api-version=1.0&softDeleted=true"
RESTORE = "> POST /buffers/[[id]]/restore?api-version=1.0"
SOFT = ',"isSoftDeleted":true,"expiresAt":"[[until:time]]"'


def test_the_table_of_states(talk):
    make(talk)
    talk.hold(f"""
        # active
        {RESTORE}
        {NOT_DELETED}
        {PURGE}
        {NOT_DELETED}
        {DELETE}
        {shown(SOFT, etag=False)}
        # soft-deleted
        {DELETE}
        {DELETED}
        {PURGE}
        {shown(SOFT, etag=False)}
        {RESTORE}
        {shown(etag=False)}
        # expired, and active
        {put('{"expiresAt":"2001-01-01T00:00:00Z"}')}
        < 200 OK
        < {JSON}
        < ETag: [[etag:etag]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","expiresAt":"2001-01-01T00:00:00+00:00","eTag":"[[etag]]"}}
    """)


def test_what_is_purged_is_gone(talk):
    """Not with a later expiry: that only begins another grace (13, item 9)."""
    make(talk)
    talk.hold(f"""
        {DELETE}
        {shown(SOFT, etag=False)}
        {PURGE}
        {shown(SOFT, etag=False)}
        {PURGE}&ttl=1.00:00:00
        {shown(SOFT, etag=False)}
        {PURGE}&ttl=0
        {shown(SOFT, etag=False)}
        {DELETE}
        {GONE}
        {RESTORE}
        {GONE}
        {PURGE}
        {GONE}
    """)


@pytest.mark.parametrize("operation", [DELETE, RESTORE, PURGE])
def test_operations_on_nobody(talk, operation):
    talk.hold(f"{operation}{GONE}", id=ID)


@pytest.mark.parametrize("ttl", TTLS)
def test_a_ttl_that_is_none(talk, ttl):
    make(talk)
    talk.hold(f"""
        {DELETE}&ttl={ttl}
        {bad(BAD_TTL)}
        {PURGE}&ttl={ttl}
        {bad(BAD_TTL)}
        > DELETE /buffers?api-version=1.0&ttl={ttl}
        {bad(BAD_TTL)}
        > GET /buffers/[[id]]?api-version=1.0
        {shown()}
    """)


def test_deleting_with_a_state_that_is_none(talk):
    make(talk)
    talk.hold(f"{DELETE}&softDeleted=x\n{bad('softDeleted must be true or false')}")
