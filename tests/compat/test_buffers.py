"""One buffer made, shown, deleted, restored and purged, contract rest-api.md sections 2.1, 2.4, 2.5 and 4."""

import json

import pytest

from tests.support import bufferexchanges as buffers

JSON = buffers.JSON
ID = buffers.ID
GONE = buffers.GONE
NOT_DELETED = buffers.NOT_DELETED
DELETED = buffers.DELETED
BAD_TTL = buffers.BAD_TTL
TTLS = buffers.TTLS


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
    talk.hold(
        f"> POST /buffers?api-version=1.0\n>\n> {json.dumps({'tags': tags})}\n{buffers.invalid(message)}"
    )


def test_as_much_of_tags_as_there_may_be(talk):
    buffers.make(talk, json.dumps({"tags": {f"k{i}": "v" for i in range(100)}}))
    buffers.make(talk, json.dumps({"tags": {"k" * 128: "x" * 256, "a-b_c.d": ""}}))


def test_only_the_local_location(talk):
    """With the contract's unbalanced quote."""
    talk.hold(
        '> POST /buffers?api-version=1.0\n>\n> {"location":"westus2"}'
        + buffers.invalid("Buffer location can only be 'local.")
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
    buffers.make(talk)
    talk.hold(f"""
        > GET /buffers/[[id]]?api-version=1.0&softDeleted=FALSE
        {buffers.shown()}
        > GET /buffers/[[id]]?api-version=1.0&softDeleted=true
        {GONE}
        > GET /buffers/[[id]]?api-version=1.0&softDeleted=yes
        {buffers.bad("softDeleted must be true or false")}
        > GET /buffers/[[id]]?api-version=1.0&softDeleted=
        {buffers.bad("softDeleted must be true or false")}
        > DELETE /buffers/[[id]]?api-version=1.0
        {buffers.shown(',"isSoftDeleted":true,"expiresAt":"[[until:time]]"', etag=False)}
        > GET /buffers/[[id]]?api-version=1.0
        {GONE}
        > GET /buffers/[[id]]?api-version=1.0&softDeleted=True
        < 200 OK
        < {JSON}
        < ETag: [[etag]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","isSoftDeleted":true,"expiresAt":"[[until]]","eTag":"[[etag]]"}}
    """)


# --- deleting, restoring, purging --------------------------------------------------------------------------

DELETE = "> DELETE /buffers/[[id]]?api-version=1.0"
PURGE = "> DELETE /buffers/[[id]]?api-version=1.0&softDeleted=true"
RESTORE = "> POST /buffers/[[id]]/restore?api-version=1.0"
SOFT = ',"isSoftDeleted":true,"expiresAt":"[[until:time]]"'


def test_the_table_of_states(talk):
    buffers.make(talk)
    talk.hold(f"""
        # active
        {RESTORE}
        {NOT_DELETED}
        {PURGE}
        {NOT_DELETED}
        {DELETE}
        {buffers.shown(SOFT, etag=False)}
        # soft-deleted
        {DELETE}
        {DELETED}
        {PURGE}
        {buffers.shown(SOFT, etag=False)}
        {RESTORE}
        {buffers.shown(etag=False)}
        # expired, and active
        {buffers.put('{"expiresAt":"2001-01-01T00:00:00Z"}')}
        < 200 OK
        < {JSON}
        < ETag: [[etag:etag]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","expiresAt":"2001-01-01T00:00:00+00:00","eTag":"[[etag]]"}}
    """)


def test_what_is_purged_is_gone(talk):
    """Not with a later expiry: that only begins another grace (13, item 9)."""
    buffers.make(talk)
    talk.hold(f"""
        {DELETE}
        {buffers.shown(SOFT, etag=False)}
        {PURGE}
        {buffers.shown(SOFT, etag=False)}
        {PURGE}&ttl=1.00:00:00
        {buffers.shown(SOFT, etag=False)}
        {PURGE}&ttl=0
        {buffers.shown(SOFT, etag=False)}
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
    buffers.make(talk)
    talk.hold(f"""
        {DELETE}&ttl={ttl}
        {buffers.bad(BAD_TTL)}
        {PURGE}&ttl={ttl}
        {buffers.bad(BAD_TTL)}
        > DELETE /buffers?api-version=1.0&ttl={ttl}
        {buffers.bad(BAD_TTL)}
        > GET /buffers/[[id]]?api-version=1.0
        {buffers.shown()}
    """)


def test_deleting_with_a_state_that_is_none(talk):
    buffers.make(talk)
    talk.hold(f"{DELETE}&softDeleted=x\n{buffers.bad('softDeleted must be true or false')}")
