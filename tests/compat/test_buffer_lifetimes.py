"""Lifetimes and what the background makes of them, contract rest-api.md sections 4.7, 4.8 and 4.12."""

import contextlib
import time
from datetime import UTC, datetime, timedelta

from tests.support import daemon
from tests.support.bufferexchanges import GONE, JSON, make

CONFIG = """
[buffers]
active_lifetime = "3.00:00"
soft_deleted_lifetime = "2.00:00"
"""


@contextlib.contextmanager
def expires_after(talk, span):
    """What is said within makes the buffer expire so long from then on."""
    before = datetime.now(UTC)
    yield
    after = datetime.now(UTC)
    assert before + span <= datetime.fromisoformat(talk["until"]) <= after + span


def expiry(talk, request, span, state="", rest=""):
    """The buffer expires so long after this request."""
    with expires_after(talk, span):
        talk.hold(f"""
            > {request}
            < 200 OK
            < {JSON}
            <
            < {{"id":"[[id]]","location":"local","createdAt":"[[made]]"{state},"expiresAt":"[[until:time]]"{rest},"eTag":"[[:etag]]"}}
        """)


def test_what_each_operation_does_to_the_expiry(talk):
    """The active lifetime counts from a restore on, and not from the beginning (13, item 8)."""
    deleted = ',"isSoftDeleted":true'
    make(talk)
    assert "expiresAt" not in talk["rest"]
    delete, purge = (
        "DELETE /buffers/[[id]]?api-version=1.0",
        "DELETE /buffers/[[id]]?softDeleted=true&api-version=1.0",
    )
    restore = "POST /buffers/[[id]]/restore?api-version=1.0"
    for request, state, span in (
        (delete, deleted, timedelta(days=2)),
        (purge, deleted, timedelta(days=2)),
        (purge + "&ttl=5", deleted, timedelta(days=5)),
        (restore, "", timedelta(days=3)),
        (delete + "&ttl=1:30", deleted, timedelta(minutes=90)),
        (restore + "&ttl=7", "", timedelta(days=3)),
        (delete + "&ttl=1.02:03:04.5", deleted, timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        (purge + "&ttl=%2000:30%20", deleted, timedelta(minutes=30)),
    ):
        expiry(talk, request, span, state)


def test_bulk_operations_have_the_same_rules(talk):
    make(talk, '{"tags":{"bulk":"1"}}')
    for request, state, span in (
        ("DELETE /buffers?tag[bulk]=1", True, timedelta(days=2)),
        ("DELETE /buffers?tag[bulk]=1&softDeleted=true&ttl=4", True, timedelta(days=4)),
        ("POST /buffers/restore?tag[bulk]=1", False, timedelta(days=3)),
        ("DELETE /buffers?tag[bulk]=1&ttl=0:45", True, timedelta(minutes=45)),
    ):
        with expires_after(talk, span):
            talk.hold(f"""
                > {request}&api-version=1.0
                < 200 OK
                < {JSON}
                <
                < 1
                > GET /buffers/[[id]]?api-version=1.0&softDeleted={str(state).lower()}
                < 200 OK
                < {JSON}
                < ETag: [[:etag]]
                <
                < {{[[:any]],"expiresAt":"[[until:time]]",[[:any]]
            """)


def test_a_ttl_past_the_end_of_time(talk):
    make(talk)
    talk.hold(f"""
        > DELETE /buffers/[[id]]?api-version=1.0&ttl=10675199
        < 400 Bad Request
        < {JSON}
        <
        < {{"error":{{"code":"BadRequest","message":"ttl 10675199.00:00:00 is past the end of the calendar"}}}}
    """)


def wait_until(talk, request, status):
    """The background works when something is due, not at intervals; ask until it has."""
    deadline = time.monotonic() + daemon.PATIENCE
    while talk.look(request)[0] != status:
        assert time.monotonic() < deadline, f"never {status}: {request}"


EXPIRE = """
    > PUT /buffers/[[id]]?api-version=1.0
    >
    > {"expiresAt":"[[moment]]","tags":{"expired":"[[id]]"}}
    < 200 OK
    < Content-Type: application/json; charset=utf-8
    < ETag: [[:etag]]
    <
    < {"id":"[[id]]","location":"local","createdAt":"[[made]]","expiresAt":"[[until:time]]","tags":{"expired":"[[id]]"},"eTag":"[[etag:etag]]"}
"""


def ago(seconds):
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def test_what_has_expired_is_there_and_is_not_found(talk):
    """The contract's table; the background leaves half a minute in which a later expiry revives it."""
    make(talk)
    talk.hold(EXPIRE, moment=ago(1))
    one = '{"id":"[[id]]","location":"local","createdAt":"[[made]]","expiresAt":"[[until]]","tags":{"expired":"[[id]]"},"eTag":"[[etag]]"}'
    talk.hold(f"""
        > DELETE /buffers/[[id]]?api-version=1.0
        {GONE}
        > POST /buffers/[[id]]/restore?api-version=1.0
        {GONE}
        > DELETE /buffers/[[id]]?api-version=1.0&softDeleted=true
        {GONE}
        > DELETE /buffers?api-version=1.0&tag[expired]=[[id]]
        < 200 OK
        < {JSON}
        <
        < 0
        > GET /buffers/count?api-version=1.0&tag[expired]=[[id]]
        < 200 OK
        < {JSON}
        <
        < 0
        > GET /buffers?api-version=1.0&tag[expired]=[[id]]
        < 200 OK
        < {JSON}
        <
        < {{"items":[{one}]}}
        > GET /buffers/[[id]]?api-version=1.0
        < 200 OK
        < {JSON}
        < ETag: [[etag]]
        <
        < {one}
    """)
    talk.hold(EXPIRE, moment="2999-01-01T00:00:00Z")
    expiry(
        talk,
        "DELETE /buffers/[[id]]?api-version=1.0",
        timedelta(days=2),
        ',"isSoftDeleted":true',
        ',"tags":{"expired":"[[id]]"}',
    )


def test_what_stays_expired_becomes_soft_deleted_and_can_be_restored(talk):
    make(talk)
    talk.hold(EXPIRE, moment=ago(29.8))
    wait_until(talk, "> GET /buffers/[[id]]?api-version=1.0&softDeleted=true", 200)
    restore = "POST /buffers/[[id]]/restore?api-version=1.0"
    expiry(talk, restore, timedelta(days=3), rest=',"tags":{"expired":"[[id]]"}')


def test_what_is_purged_is_soon_gone_and_its_urls_with_it(talk):
    make(talk)
    talk.hold(f"""
        > POST /buffers/[[id]]/access?api-version=1.0&writeable=true
        < 201 Created
        < {JSON}
        <
        < {{"uri":"http+unix://[[:any]]:[[path:path]]?[[signature:any]]"}}
        > PUT [[path]]/0?[[signature]]
        > x-ms-blob-type: BlockBlob
        > Content-MD5: kAFQmDzST7DWlj99KOF/cg==
        >
        > abc
        < 201 Created
    """)
    deleted = ',"isSoftDeleted":true'
    expiry(talk, "DELETE /buffers/[[id]]?api-version=1.0&ttl=1", timedelta(days=1), deleted)
    talk.hold("""
        > HEAD [[path]]/0?[[signature]]
        < 200 OK
        < Content-MD5: kAFQmDzST7DWlj99KOF/cg==
    """)
    expiry(talk, "DELETE /buffers/[[id]]?api-version=1.0&ttl=0&softDeleted=true", timedelta(0), deleted)
    wait_until(talk, "> GET [[path]]/0?[[signature]]", 404)
    talk.hold("""
        > GET [[path]]/0?[[signature]]
        < 404 Not Found
        < x-ms-error-code: ContainerNotFound
    """)


def test_a_later_expiry(talk):
    make(talk)
    talk.hold(f"""
        > PUT /buffers/[[id]]?api-version=1.0
        >
        > {{"expiresAt":"2999-01-01T00:00:00Z"}}
        < 200 OK
        < {JSON}
        < ETag: [[:etag]]
        <
        < {{"id":"[[id]]","location":"local","createdAt":"[[made]]","expiresAt":"2999-01-01T00:00:00+00:00","eTag":"[[:etag]]"}}
    """)
