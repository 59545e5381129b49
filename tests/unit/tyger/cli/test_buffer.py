"""`tyger buffer create|show|list|access|storage-account`: requests as they go out, answers as printed."""

from datetime import UTC, datetime, timedelta

import pytest

from tyger import units

SHOWN = """{
  "id": "abc",
  "createdAt": "2026-01-02T03:04:05.678901Z",
  "location": "local",
  "eTag": "1"
}
"""


def test_create_prints_the_id(tyger, daemon):
    done = tyger("buffer", "create", "--location", "local", "--tag", "a=b")
    assert (done.code, done.out, done.err) == (0, "buf0\n", "")
    assert daemon.requests[0].body == {"location": "local", "tags": {"a": "b"}}


def test_create_can_print_all(tyger):
    assert tyger("buffer", "create", "--full-resource").out == SHOWN.replace("abc", "buf0")


def test_a_ttl_becomes_an_instant(tyger, daemon):
    tyger("buffer", "create", "--ttl", "1.12:30")
    expiry = units.parse_timestamp(daemon.requests[0].body["expiresAt"])
    ahead = expiry - datetime.now(UTC)
    assert timedelta(days=1, hours=12, minutes=29) < ahead <= timedelta(days=1, hours=12, minutes=30)


def test_a_ttl_past_the_calendar(tyger):
    done = tyger("buffer", "create", "--ttl", "9999999")
    assert (done.code, done.err) == (65, "Error: the TTL 9999999.00:00:00 is too long\n")


def test_show(tyger, daemon):
    assert tyger("buffer", "show", "abc").out == SHOWN
    assert daemon.requests[0].query == []
    tyger("buffer", "show", "abc", "--soft-deleted")
    assert daemon.requests[1].query == [("softDeleted", "true")]


@pytest.mark.parametrize("name", ["", "a/b", "..", "."])
def test_an_id_that_would_be_another_path(tyger, daemon, name):
    done = tyger("buffer", "show", name)
    assert (done.code, done.err) == (65, f"Error: invalid buffer ID '{name}'\n")
    assert not daemon.requests


def test_list(tyger, daemon):
    daemon.answers["GET", "/buffers"] = (200, {"items": []})
    done = tyger("buffer", "list", "--tag", "a=b", "--exclude-tag", "c=d", "--soft-deleted", "-l", "5")
    assert done.out == "[]\n"
    assert daemon.requests[0].query == [
        ("limit", "5"),
        ("tag[a]", "b"),
        ("excludeTag[c]", "d"),
        ("softDeleted", "true"),
    ]


def test_access(tyger, daemon):
    daemon.answers["POST", "/buffers/abc/access"] = (201, {"uri": "http+unix:///s:/containers/abc?sig=1"})
    assert tyger("buffer", "access", "abc").out == "http+unix:///s:/containers/abc?sig=1\n"
    assert daemon.requests[0].query == [("writeable", "false")]
    tyger("buffer", "access", "abc", "-w", "--access-ttl", "0.00:10")
    assert daemon.requests[1].query == [("writeable", "true"), ("ttl", "0.00:10:00")]


def test_storage_accounts(tyger, daemon):
    account = {"endpoint": "e", "name": "local", "location": "local", "other": 1}
    daemon.answers["GET", "/buffers/storage-accounts"] = (200, [account])
    assert tyger("buffer", "storage-accounts", "list").out == (
        '[\n  {\n    "name": "local",\n    "location": "local",\n    "endpoint": "e"\n  }\n]\n'
    )


def test_storage_accounts_that_are_none(tyger, daemon):
    daemon.answers["GET", "/buffers/storage-accounts"] = (200, {})
    assert tyger("buffer", "storage-account", "list").code == 76
