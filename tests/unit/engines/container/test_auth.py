"""Where credentials for a registry are found, and in which form an engine gets them."""

import base64
import json
import os

import pytest

from tyger import errors
from tygerd.engines.container import auth


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


def entry(account):
    return {"auth": base64.b64encode(account.encode()).decode()}


def shown(credentials):
    return json.loads(base64.urlsafe_b64decode(credentials.header))


@pytest.fixture
def environ(tmp_path):
    places = {"HOME": "home", "XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "config"}
    return {name: str(tmp_path / place) for name, place in places.items()}


def test_there_may_be_none(environ):
    assert auth.find("quay.io/a/b:1", None, environ) is None


def test_the_form_that_engines_take(environ, tmp_path):
    path = write(tmp_path / "home/.docker/config.json", {"auths": {"quay.io": entry("me:se:cret")}})
    found = auth.find("quay.io/a/b:1", None, environ)
    assert found.source == path
    assert shown(found) == {"username": "me", "password": "se:cret", "serveraddress": "quay.io"}
    assert auth.find("other.io/a/b:1", None, environ) is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io"])
def test_dockers_own_registry(environ, tmp_path, key):
    write(tmp_path / "home/.docker/config.json", {"auths": {key: entry("me:x")}})
    assert shown(auth.find("busybox", None, environ))["username"] == "me"


def test_the_most_particular_counts(environ, tmp_path):
    auths = {"quay.io": entry("all:x"), "quay.io/team": entry("team:x"), "quay.io/team/b/c": entry("no:x")}
    write(tmp_path / "run/containers/auth.json", {"auths": auths})
    assert shown(auth.find("quay.io/team/b:1", None, environ))["username"] == "team"
    assert shown(auth.find("quay.io/other/b@sha256:00", None, environ))["username"] == "all"


def test_podmans_file_comes_first_and_one_that_is_named_alone(environ, tmp_path):
    write(tmp_path / "run/containers/auth.json", {"auths": {"q.io": entry("first:x")}})
    write(tmp_path / "home/.docker/config.json", {"auths": {"q.io": entry("second:x"), "r.io": entry("r:x")}})
    named = write(tmp_path / "named", {"auths": {"q.io": entry("named:x")}})
    assert shown(auth.find("q.io/a", None, environ))["username"] == "first"
    assert shown(auth.find("r.io/a", None, environ))["username"] == "r"
    assert shown(auth.find("q.io/a", named, environ))["username"] == "named"
    assert shown(auth.find("q.io/a", None, {**environ, "REGISTRY_AUTH_FILE": named}))["username"] == "named"
    assert auth.find("r.io/a", named, environ) is None


def test_a_token(environ, tmp_path):
    write(tmp_path / "home/.docker/config.json", {"auths": {"q.io": {"identitytoken": "t"}}})
    assert shown(auth.find("q.io/a", None, environ)) == {"identitytoken": "t", "serveraddress": "q.io"}


def test_files_that_make_no_sense_are_skipped_unless_they_are_configured(environ, tmp_path):
    (tmp_path / "run/containers").mkdir(parents=True)
    (tmp_path / "run/containers/auth.json").write_text("{")
    assert auth.find("q.io/a", None, environ) is None
    with pytest.raises(errors.Problem, match="it is not JSON") as caught:
        auth.find("q.io/a", str(tmp_path / "run/containers/auth.json"), environ)
    assert caught.value.kind is errors.CONFIG
    with pytest.raises(errors.Problem, match="No such file"):
        auth.find("q.io/a", str(tmp_path / "missing"), environ)


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """A credential helper: knows q.io."""
    program = tmp_path / "bin/docker-credential-tests"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nread host\n[ "$host" = q.io ] || { echo "credentials not found"; exit 1; }\n'
        'echo \'{"ServerURL": "q.io", "Username": "<token>", "Secret": "t"}\'\n'
    )
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.mark.parametrize("content", [{"credHelpers": {"q.io": "tests"}}, {"credsStore": "tests"}])
def test_a_helper_is_asked(environ, tmp_path, helper, content):
    write(tmp_path / "home/.docker/config.json", content)
    assert shown(auth.find("q.io/a", None, environ))["identitytoken"] == "t"
    assert auth.find("r.io/a", None, environ) is None


@pytest.mark.parametrize("name", ["missing", "../x"])
def test_a_helper_that_cannot_be_asked(environ, tmp_path, name):
    write(tmp_path / "home/.docker/config.json", {"credsStore": name})
    with pytest.raises(errors.Problem) as caught:
        auth.find("q.io/a", None, environ)
    assert caught.value.kind is errors.CONFIG
    assert name in caught.value.message
