"""Tags merged or replaced, with and without an ETag."""

import pytest

CURRENT = {
    "id": "abc",
    "createdAt": "x",
    "tags": {"a": "1", "b": "2"},
    "eTag": "7",
    "expiresAt": "2030-01-01T00:00:00+00:00",
}


@pytest.fixture
def buffer(daemon):
    daemon.answers["GET", "/buffers/abc"] = (200, CURRENT)
    daemon.answers["PUT", "/buffers/abc"] = (200, CURRENT)
    return daemon


def sent(daemon):
    return daemon.asked("PUT", "/buffers/abc")[0]


def test_given_tags_are_merged_and_the_expiry_stays(tyger, buffer):
    assert tyger("buffer", "set", "abc", "--tag", "b=3", "--soft-deleted").code == 0
    assert sent(buffer).body == {"tags": {"a": "1", "b": "3"}, "expiresAt": CURRENT["expiresAt"]}
    assert [request.query for request in buffer.requests] == [[("softDeleted", "true")]] * 2
    assert "if-match" not in sent(buffer).headers


def test_cleared_tags_are_not_even_read(tyger, buffer):
    tyger("buffer", "set", "abc", "--clear-tags", "--tag", "c=1", "--etag", "other")
    assert [request.method for request in buffer.requests] == ["PUT"]
    assert sent(buffer).body == {"tags": {"c": "1"}}
    assert sent(buffer).headers["if-match"] == "other"


def test_a_ttl_replaces_the_expiry(tyger, buffer):
    tyger("buffer", "set", "abc", "--ttl", "0")
    assert sent(buffer).body["expiresAt"] < CURRENT["expiresAt"]


def test_another_etag_changes_nothing(tyger, buffer):
    done = tyger("buffer", "set", "abc", "--etag", "8", "--tag", "a=2")
    assert (done.code, done.err) == (75, "Error: the server's ETag does not match the provided ETag\n")
    assert not buffer.asked("PUT", "/buffers/abc")


def test_the_right_etag_is_sent_along(tyger, buffer):
    tyger("buffer", "set", "abc", "--etag", "7", "--tag", "a=2")
    assert sent(buffer).headers["if-match"] == "7"


def test_runs_likewise(tyger, daemon):
    run = {"id": 3, "createdAt": "x", "job": {"codespec": "c"}, "tags": {"a": "1"}}
    daemon.answers["GET", "/runs/3"] = daemon.answers["PUT", "/runs/3"] = (200, run)
    done = tyger("run", "set", "3", "--tag", "b=2")
    assert daemon.asked("PUT", "/runs/3")[0].body == {"tags": {"a": "1", "b": "2"}}
    assert '"tags": {\n    "a": "1"\n  }' in done.out
