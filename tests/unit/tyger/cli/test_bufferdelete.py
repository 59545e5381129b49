"""`tyger buffer delete|restore|purge`."""

import os

import pytest

from tests.support import cli

ITEM = {"id": "a", "createdAt": "x"}


@pytest.mark.parametrize(
    ("verb", "method", "path", "query"),
    [
        ("delete", "DELETE", "/buffers/a", []),
        ("restore", "POST", "/buffers/a/restore", []),
        ("purge", "DELETE", "/buffers/a", [("ttl", "0"), ("softDeleted", "true")]),
    ],
)
def test_by_id(tyger, daemon, verb, method, path, query):
    daemon.answers[method, path] = (200, ITEM)
    assert tyger("buffer", verb, "a").out == '{\n  "id": "a",\n  "createdAt": "x"\n}\n'
    assert daemon.requests[0].query == query


def test_several_are_an_array(tyger, daemon):
    daemon.answers["DELETE", "/buffers/a"] = daemon.answers["DELETE", "/buffers/b"] = (200, ITEM)
    assert tyger("buffer", "delete", "a", "b").out.startswith("[\n  {\n")


def test_what_was_done_before_a_failure_is_printed(tyger, daemon):
    daemon.answers["DELETE", "/buffers/a"] = (200, ITEM)
    done = tyger("buffer", "delete", "a", "b", "c")
    assert (done.code, done.err) == (66, "Error: NotFound: The resource was not found\n")
    assert done.out.startswith("[\n  {\n")
    assert not daemon.asked("DELETE", "/buffers/c")


@pytest.mark.parametrize(
    "arguments", [[], ["--exclude-tag", "a=b"], ["a", "--all"], ["--tag", "a=b", "--all"]]
)
def test_exactly_one_way_to_choose(tyger, arguments):
    done = tyger("buffer", "delete", *arguments)
    assert done.code == 64
    assert "FTL One of ID, --tag, or --all must be specified" in done.err


@pytest.mark.parametrize(
    ("verb", "method", "path", "extra", "said"),
    [
        ("delete", "DELETE", "/buffers", [], "Deleted"),
        ("restore", "POST", "/buffers/restore", [], "Restored"),
        ("purge", "DELETE", "/buffers", [("ttl", "0"), ("softDeleted", "true")], "Purged"),
    ],
)
def test_many_by_force(tyger, daemon, verb, method, path, extra, said):
    daemon.answers[method, path] = (200, 3)
    done = tyger("buffer", verb, "--tag", "a=b", "--exclude-tag", "c=d", "--force")
    assert (done.code, done.out) == (0, f"{said} 3 buffers.\n")
    assert daemon.requests[0].query == [("tag[a]", "b"), ("excludeTag[c]", "d"), *extra]


def test_none_found(tyger, daemon):
    daemon.answers["GET", "/buffers/count"] = (200, 0)
    assert tyger("buffer", "restore", "--all").out == "No buffers found.\n"
    assert daemon.requests[0].query == [("softDeleted", "true")]


def test_nobody_to_ask(tyger, daemon):
    daemon.answers["GET", "/buffers/count"] = (200, 2)
    done = tyger("buffer", "delete", "--all")
    assert done.code == 64
    assert "add --force" in done.err


@pytest.mark.parametrize(("typed", "out"), [(b"y\n", b"Deleted 2 buffers.\n"), (b"\n", b""), (b"n\n", b"")])
def test_a_question_at_a_terminal(daemon, typed, out):
    daemon.answers["GET", "/buffers/count"] = daemon.answers["DELETE", "/buffers"] = (200, 2)
    leader, follower = os.openpty()
    os.write(leader, typed)
    done = cli.run(daemon.path, "buffer", "delete", "--all", stdin=follower, data=None)
    os.close(follower)
    os.close(leader)
    assert (done.code, done.out) == (0, out)
    assert done.err == "Are you sure you want to delete 2 buffers? [y/N] "


def test_a_count_that_is_none(tyger, daemon):
    daemon.answers["GET", "/buffers/count"] = (200, "many")
    assert tyger("buffer", "delete", "--all").code == 76
