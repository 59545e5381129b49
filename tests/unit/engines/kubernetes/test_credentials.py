"""Whom a kubeconfig's user stands for; plugins are real programs."""

import base64
import datetime as dt
import json
import threading

import pytest

from tyger import errors
from tygerd import clock
from tygerd.engines.kubernetes import credentials, kubeconfig

V1 = "client.authentication.k8s.io/v1"


class Time:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def make(tmp_path, user, *, environ=None, boottime=clock.boottime, seconds=10.0, **target):
    aim = kubeconfig.Target(
        namespace="n",
        origin="the-config",
        user=user,
        user_directory=str(tmp_path),
        **{"server": "https://here:6443", **target},
    )
    environ = {"PATH": "/usr/bin:/bin"} if environ is None else environ
    return credentials.Credentials(aim, environ, boottime=boottime, plugin_seconds=seconds)


def refusal(*arguments, **options):
    with pytest.raises(errors.Problem) as caught:
        make(*arguments, **options).get()
    assert caught.value.kind is errors.CONFIG
    assert "\n" not in caught.value.message
    return caught.value.message


def bearer(credential):
    return dict(credential.headers).get("Authorization")


# --- what a user has by itself -----------------------------------------------------------------------------


def test_nobody(tmp_path):
    assert make(tmp_path, {}).get() == credentials.Credential()


def test_a_token(tmp_path):
    assert bearer(make(tmp_path, {"token": "abc"}).get()) == "Bearer abc"


def test_nothing_is_said_to_everybody(tmp_path):
    """Over plain http, as with kubectl."""
    who = make(tmp_path, {"token": "abc", "as": "jane"}, server="http://here:8080")
    assert who.get() == credentials.Credential()


def test_a_password(tmp_path):
    expected = base64.b64encode(b"me:pass:word").decode()
    assert bearer(make(tmp_path, {"username": "me", "password": "pass:word"}).get()) == f"Basic {expected}"


def test_a_certificate_from_files_and_from_data(tmp_path):
    (tmp_path / "c.pem").write_bytes(b"C")
    user = {"client-certificate": "c.pem", "client-key-data": base64.b64encode(b"K").decode()}
    found = make(tmp_path, user).get()
    assert (found.headers, found.certificate, found.key) == ((), b"C", b"K")


def test_a_tokens_file_counts_before_the_token_and_is_read_again(tmp_path):
    (tmp_path / "token").write_text("one\n")
    time = Time()
    who = make(tmp_path, {"token": "other", "tokenFile": "token"}, boottime=time)
    assert bearer(who.get()) == "Bearer one"
    (tmp_path / "token").write_text("two")
    time.now += credentials.TOKEN_FILE_SECONDS - 1
    assert bearer(who.get()) == "Bearer one"
    time.now += 1
    assert bearer(who.get()) == "Bearer two"
    (tmp_path / "token").unlink()
    time.now += credentials.TOKEN_FILE_SECONDS
    assert bearer(who.get()) == "Bearer other"


def test_standing_for_somebody_else(tmp_path):
    user = {
        "token": "abc",
        "as": "jane",
        "as-uid": "7",
        "as-groups": ["a", "b"],
        "as-user-extra": {"scopes": ["x", "y"]},
    }
    assert make(tmp_path, user).get().headers == (
        ("Authorization", "Bearer abc"),
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-scopes", "x"),
        ("Impersonate-Extra-scopes", "y"),
    )


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"tokenFile": "gone"}, "gone: No such file or directory"),
        ({"tokenFile": "empty"}, "empty is empty"),
        ({"tokenFile": "binary"}, "binary: it is not UTF-8"),
        ({"client-certificate": "gone"}, "cannot read the client certificate in the-config"),
        ({"client-certificate": "empty"}, "a client's certificate without its key"),
        ({"client-key": "empty"}, "or a key without it"),
        ({"token": "t", "username": "u"}, "a token and a password; only one is allowed"),
        ({"auth-provider": {"name": "gcp"}}, "the auth-provider gcp, which is not supported; use an exec"),
        ({"auth-provider": "oidc"}, "the auth-provider oidc"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, user, words):
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff")
    assert words in refusal(tmp_path, user)


# --- plugins -----------------------------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path):
    def plugin(status, *, version=V1, script=None, **more):
        answer = json.dumps({"kind": "ExecCredential", "apiVersion": version, "status": status})
        path = tmp_path / "plugin"
        lines = script or f"cat <<'END'\n{answer}\nEND"
        path.write_text(f"#!/bin/sh\necho x >>{tmp_path}/asked\n{lines}\n")
        path.chmod(0o755)
        return {"exec": {"apiVersion": V1, "command": "./plugin", "interactiveMode": "Never", **more}}

    return plugin


def asked(tmp_path):
    return len((tmp_path / "asked").read_text().splitlines())


def ends_in(seconds):
    return (clock.now() + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_plugin_is_asked_once(tmp_path, plugin):
    who = make(tmp_path, plugin({"token": "abc"}))
    assert [bearer(who.get()) for _ in range(3)] == ["Bearer abc"] * 3
    assert asked(tmp_path) == 1


def test_a_plugin_is_asked_again_before_its_credential_ends(tmp_path, plugin):
    time = Time()
    who = make(tmp_path, plugin({"token": "abc", "expirationTimestamp": ends_in(3600)}), boottime=time)
    who.get()
    time.now += 3600 - credentials.MARGIN - 5
    who.get()
    assert asked(tmp_path) == 1
    time.now += 10
    who.get()
    assert asked(tmp_path) == 2


def test_one_that_has_ended_is_used_and_not_kept(tmp_path, plugin):
    who = make(tmp_path, plugin({"token": "abc", "expirationTimestamp": ends_in(-3600)}))
    assert [bearer(who.get()) for _ in range(2)] == ["Bearer abc"] * 2
    assert asked(tmp_path) == 2


def test_many_threads_ask_once(tmp_path, plugin):
    who = make(tmp_path, plugin({"token": "abc"}))
    threads = [threading.Thread(target=who.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked(tmp_path) == 1


def test_a_plugin_that_gives_a_certificate(tmp_path, plugin):
    found = make(tmp_path, plugin({"clientCertificateData": "C", "clientKeyData": "K"})).get()
    assert found == credentials.Credential((), b"C", b"K")


def test_what_a_user_has_counts_before_a_plugin(tmp_path, plugin):
    assert bearer(make(tmp_path, {**plugin({"token": "abc"}), "token": "own"}).get()) == "Bearer own"
    assert not (tmp_path / "asked").exists()


def test_what_a_plugin_is_told(tmp_path, plugin):
    user = plugin(
        {"token": "abc"},
        args=["login", 7],
        env=[{"name": "MODE", "value": "quiet"}],
        provideClusterInfo=True,
        script=f'env >{tmp_path}/env; echo "$@" >{tmp_path}/args; cat >{tmp_path}/stdin; exit 1',
    )
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}
    cluster = {"server": "here", "proxy-url": "http://p", "extensions": [{"name": "other"}, extension]}
    refusal(tmp_path, user, environ={"PATH": "/bin", "HOME": "/h"}, cluster=cluster, authority=b"PEM")
    environ = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert environ["MODE"] == "quiet"
    assert environ["HOME"] == "/h"
    assert json.loads(environ["KUBERNETES_EXEC_INFO"]) == {
        "kind": "ExecCredential",
        "apiVersion": V1,
        "spec": {
            "interactive": False,
            "cluster": {
                "server": "https://here:6443",
                "proxy-url": "http://p",
                "certificate-authority-data": base64.b64encode(b"PEM").decode(),
                "config": {"audience": "x"},
            },
        },
    }
    assert (tmp_path / "args").read_text() == "login 7\n"
    assert not (tmp_path / "stdin").read_bytes()


def test_a_plugin_is_looked_for_in_the_path(tmp_path, plugin):
    user = plugin({"token": "abc"}, command="plugin")
    assert bearer(make(tmp_path, user, environ={"PATH": f"{tmp_path}:/bin"}).get()) == "Bearer abc"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"command": ""}, "an exec plugin without a command"),
        ({"command": "gone-plugin"}, "the exec plugin gone-plugin is not installed"),
        ({"command": "gone-plugin", "installHint": "apt\ninstall"}, "is not installed: apt install"),
        ({"command": "./gone"}, "./gone: No such file or directory"),
        (
            {"apiVersion": "client.authentication.k8s.io/v1alpha1"},
            "is for client.authentication.k8s.io/v1alpha1",
        ),
        ({"interactiveMode": "Always"}, "needs a terminal, which a daemon does not have"),
        ({"script": "echo no; echo 'login\n expired' >&2; exit 3"}, "failed with exit code 3: login expired"),
        ({"script": "exit 3"}, "failed with exit code 3: it said nothing"),
        ({"script": "echo hello"}, "did not print an ExecCredential with a status"),
        ({"script": "echo '{\"status\": 1}'"}, "did not print an ExecCredential with a status"),
        ({"script": "echo '[]'"}, "did not print an ExecCredential with a status"),
        (
            {"version": "client.authentication.k8s.io/v1beta1"},
            "answers with client.authentication.k8s.io/v1beta1",
        ),
        ({"status": {}}, "gave neither a token nor a certificate"),
        ({"status": {"clientCertificateData": "x"}}, "gave neither a token nor a certificate"),
        ({"status": {"token": "x", "expirationTimestamp": "soon"}}, "did not print an ExecCredential"),
    ],
)
def test_plugins_that_fail(tmp_path, plugin, more, words):
    user = plugin(**{"status": {"token": "abc"}, **more})
    assert words in refusal(tmp_path, user)


def test_an_exec_that_is_no_table(tmp_path):
    assert "without a command" in refusal(tmp_path, {"exec": "x"})


def test_a_plugin_that_waits_for_somebody(tmp_path, plugin):
    user = plugin({}, script="exec sleep 60")
    assert "the exec plugin ./plugin did not end within 0.2 seconds" in refusal(tmp_path, user, seconds=0.2)


def test_a_plugin_that_has_failed_is_asked_again(tmp_path, plugin):
    who = make(tmp_path, plugin({}, script="exit 1"))
    with pytest.raises(errors.Problem):
        who.get()
    plugin({"token": "abc"})
    assert bearer(who.get()) == "Bearer abc"
