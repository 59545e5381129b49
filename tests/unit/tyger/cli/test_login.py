"""`tyger login status`."""

import getpass
import json


def test_as_text_the_daemon_is_not_asked(tyger, daemon):
    user = getpass.getuser()
    done = tyger("login", "status")
    assert done.out == f"You are logged in to unix://{daemon.path} as '{user}'\n"
    assert not daemon.requests


def test_as_json(tyger, daemon):
    answer = json.loads(tyger("login", "status", "--format", "json").out)
    assert list(answer) == ["serverUrl", "principal", "metadata"]
    assert answer["serverUrl"] == f"http+unix://{daemon.path}:"
    assert answer["metadata"] == {"apiVersions": ["1.0"]}


def test_as_json_without_a_daemon(tyger, daemon):
    daemon.answers["GET", "/metadata"] = (500, {"error": {"code": "InternalError", "message": "no"}})
    done = tyger("login", "status", "--format", "json")
    assert (done.code, done.err) == (70, "Error: failed to get service metadata: no\n")
