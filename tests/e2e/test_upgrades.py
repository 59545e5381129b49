"""State directories of all older revisions: upgraded, with everything kept, and good to work with."""

from __future__ import annotations

import contextlib
import json
import pathlib
import sqlite3

import pytest

from tests.support import commands, daemon, oldstate
from tyger import client
from tygerd.catalog import migrate, schema

CONFIG = commands.HOST.replace('"host"', '"here"') + "\n[transfer]\nreattach_grace = 0.1\n"


def test_there_is_a_state_directory_of_every_revision():
    assert set(migrate.REVISIONS[:-1]) <= set(oldstate.REVISIONS), "run tests/support/states/make.py"


@contextlib.contextmanager
def upgrade(revision):
    """A daemon that has found a state directory of that revision."""
    with daemon.daemon(config=CONFIG, start=False) as it:
        oldstate.restore(revision, pathlib.Path(it.state))
        it.revision = revision
        it.start()
        yield it


@pytest.fixture(scope="module", params=oldstate.REVISIONS)
def upgraded(request):
    """One that all share: they add nothing to what is there."""
    with upgrade(request.param) as it:
        yield it


def asking(it):
    """Asks a daemon, and gives the answer's JSON."""
    control = client.Client(it.socket)

    def ask(method, path, query=(), body=None, **more):
        return control.request(method, path, query=query, body=body, **more).json()

    return ask


@pytest.fixture
def ask(upgraded):
    return asking(upgraded)


def named(ask, name, soft_deleted="false"):
    query = [("tag[name]", name), ("softDeleted", soft_deleted)]
    (found,) = ask("GET", "/buffers", query)["items"]
    return found


def test_buffers(upgraded, ask):
    written = named(ask, "written")
    assert written["tags"] == {"name": "written", "site": "north"}
    assert ask("GET", f"/buffers/{written['id']}") == written
    assert named(ask, "empty")["expiresAt"].startswith("21")
    assert named(ask, "deleted", "true")["isSoftDeleted"]
    assert [each["id"] for each in ask("GET", "/buffers", [("tag[site]", "north")])["items"]] == [
        written["id"]
    ]
    assert ask("GET", "/buffers/count") == 5
    names = [each["tags"].get("bufferName", each["tags"]["name"]) for each in ask("GET", "/buffers")["items"]]
    assert names == ["output", "cut", "empty", "written"]


@pytest.mark.parametrize("name", ["written", "made"])
def test_their_content(upgraded, ask, name):
    path = f"/transfers/read/{named(ask, name)['id']}"
    assert client.Client(upgraded.socket).request("GET", path).body == oldstate.CONTENT


def test_codespecs(ask):
    assert ask("GET", "/codespecs/tested")["version"] == 2
    assert ask("GET", "/codespecs/tested/versions/1")["command"] == ["true"]
    again = {"kind": "job", "image": "here", "command": ["false"]}
    assert ask("PUT", "/codespecs/tested", body=again)["version"] == 2


def test_runs(upgraded, ask):
    assert ask("GET", "/runs/1")["status"] == "Succeeded"
    assert ask("GET", "/runs/2")["statusReason"] == "Main exited with code 1"
    assert [run["id"] for run in ask("GET", "/runs", [("tag[kind]", "key")])["items"]] == [1]
    assert [run["id"] for run in ask("GET", "/runs", [("status", "succeeded")])["items"]] == [1]
    assert client.Client(upgraded.socket).request("GET", "/runs/1/logs").body == b"[main] made\n"
    repeated = ask("GET", "/runs/1")
    body = {"job": {"codespec": {"kind": "job", "image": "here", "command": ["true"]}}}
    assert ask("POST", "/runs", body=body, headers={"Idempotency-Key": "the key"})["id"] == repeated["id"]


def test_what_had_not_ended_ends(upgraded):
    control = client.Client(upgraded.socket)
    for path, state in (
        ("/transfers/00112233445566778899aabbccddeeff/watch", ("state", "failed")),
        ("/runs/3", ("status", "Failed")),
    ):
        with control.stream("GET", path, query=[("watch", "true")]) as stream:
            last = json.loads(list(stream.lines())[-1])
        assert last[state[0]] == state[1], last


@pytest.mark.parametrize("revision", oldstate.REVISIONS)
def test_it_is_good_to_work_with(revision):
    with upgrade(revision) as it:
        works(asking(it))


def works(ask):
    made = ask("POST", "/buffers", body={"tags": {"new": "1"}})
    changed = ask(
        "PUT", f"/buffers/{made['id']}", body={"tags": {"new": "2"}}, headers={"If-Match": made["eTag"]}
    )
    assert ask("GET", "/buffers", [("tag[new]", "2")])["items"] == [changed]
    ask("DELETE", f"/buffers/{made['id']}")
    body = {"job": {"codespec": "tested/versions/1"}, "tags": {"new": "1"}}
    number = ask("POST", "/runs", body=body)["id"]
    assert number > 3
    assert [run["id"] for run in ask("GET", "/runs", [("tag[new]", "1")])["items"]] == [number]


def test_what_was_there_is_kept_aside(upgraded):
    copy = pathlib.Path(f"{upgraded.state}/catalog.sqlite3.{upgraded.revision}")
    if upgraded.revision == schema.REVISION:
        assert not copy.exists()
        return
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(upgraded.revision,)]
    assert connection.execute("SELECT count(*) FROM buffers").fetchall() == [(5,)]
    connection.close()
    assert f"upgraded from revision {upgraded.revision} to {schema.REVISION}" in upgraded.log
    assert "alembic" not in upgraded.log


def test_the_next_daemon_has_nothing_to_upgrade(upgraded):
    upgraded.restart()
    assert upgraded.log.count("was upgraded from") == (upgraded.revision != schema.REVISION)


def test_a_newer_catalog_is_refused_and_left_as_it_is():
    with daemon.daemon(start=False) as it:
        state = pathlib.Path(it.state)
        oldstate.restore(oldstate.REVISIONS[0], state)
        connection = sqlite3.connect(state / "catalog.sqlite3")
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.close()
        before = (state / "catalog.sqlite3").read_bytes()
        with pytest.raises(AssertionError, match=r"made by another version of tygerd \(its revision is 9999"):
            it.start()
        assert "Traceback" not in it.log
        assert it.log.count("\n") == 1
        assert (state / "catalog.sqlite3").read_bytes() == before
        assert [path.name for path in state.glob("catalog*")] == ["catalog.sqlite3"]
