"""The daemon as a process: start, readiness, signals, idle exit, the lost socket, bad state."""

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import time
import types

import pytest
import trio

from tests.support import apiserver, daemon
from tyger import errors
from tygerd import app, clock


@pytest.fixture(scope="module")
def shared():
    """One daemon for the tests that do not harm it."""
    with daemon.daemon() as it:
        yield it


WAIT = 180
"""Seconds for a daemon that starts from nothing and ends, on a machine that does much else."""


class Connection(http.client.HTTPConnection):
    """http.client on a Unix socket: a client that is not ours."""

    def __init__(self, path):
        super().__init__("unix----" + "A" * 100, timeout=daemon.PATIENCE)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(it, path, body=None):
    """Of what is there; with a body, POST."""
    connection = Connection(it.socket)
    if body is None:
        connection.request("GET", path)
    else:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_it_is_ready_only_with_its_reserve():
    """A disk that is filled from then on must leave room for the catalog."""
    with daemon.daemon() as it:
        assert os.path.getsize(f"{it.state}/reserve") > 0


def run(it, *arguments):
    """`tygerd serve` to its end: exit code and what it said."""
    done = subprocess.run(
        it.command(*arguments),
        env=it.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_what_it_says_about_itself():
    with daemon.daemon() as it:  # which has no connection of an earlier test
        status, body = get(it, "/status")
        found = json.loads(body)
        assert status == 200
        assert (found["pid"], found["socket"], found["state"]) == (it.pid, it.socket, it.state)
    assert found["mode"] == "user"
    assert found["uptimeSeconds"] >= 0
    assert found["server"]["connections"] == 1


def test_a_foreign_client_uses_the_compatible_api(shared):
    assert get(shared, "/healthcheck") == (200, b"Healthy")
    status, body = get(shared, "/metadata")
    assert (status, json.loads(body)["apiVersions"]) == (200, ["1.0"])
    status, body = get(shared, "/v1/buffers?limit=1")
    assert (status, json.loads(body)["items"]) == (200, [])


def test_only_its_user_may_connect_and_read(shared):
    assert stat.S_IMODE(os.stat(shared.socket).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(shared.state).st_mode) == 0o700
    for name in ("catalog.sqlite3", "lock", "keys/sas.pem"):
        assert stat.S_IMODE(os.stat(os.path.join(shared.state, name)).st_mode) == 0o600


def test_a_second_daemon_on_its_state_is_one_clear_line(shared):
    code, said = run(shared, "--socket", str(shared.path / "other"), "--log-format", "human")
    assert code == errors.CONFIG.exit_code
    expected = f"tygerd: another daemon (process {shared.pid}) uses the state directory {shared.state}"
    expected += f"; it listens on {shared.socket}: name that with --socket, or end it\n"
    assert said == expected
    assert get(shared, "/healthcheck")[0] == 200


def test_a_second_daemon_on_its_socket_is_one_clear_line(shared):
    code, said = run(shared, "--state", str(shared.path / "other"))
    assert code == errors.CONFIG.exit_code
    (line,) = said.splitlines()
    assert json.loads(line)["message"] == f"another daemon answers on {shared.socket}"
    assert get(shared, "/healthcheck")[0] == 200


def test_hangup_is_ignored(shared):
    os.kill(shared.pid, signal.SIGHUP)
    assert get(shared, "/healthcheck")[0] == 200


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_told_and_leaves_no_socket(sig):
    with daemon.daemon() as it:
        it.process.send_signal(sig)
        assert it.wait() == 0
        assert not os.path.exists(it.socket)
        assert "stopping" in it.log


def test_it_comes_back_after_a_crash():
    with daemon.daemon() as it:
        it.kill()
        assert os.path.exists(it.socket)
        it.start()
        assert get(it, "/healthcheck")[0] == 200


def test_a_cluster_of_which_nobody_knows_where_it_is_is_no_end_of_the_daemon():
    with daemon.daemon(config="[engine.kubernetes]\nkubeconfig = '/nowhere'\n") as it:
        engines = {each["name"]: each["unavailable"] for each in json.loads(get(it, "/status")[1])["engines"]}
        assert engines["kubernetes"] == (
            "cannot reach the cluster: cannot read the kubeconfig /nowhere: No such file or directory"
        )
        assert it.stop() == 0


def test_runs_in_a_cluster_that_is_not_configured_any_more_wait_for_it():
    body = {"job": {"codespec": {"kind": "job", "image": "x"}}}
    with apiserver.ApiServer() as cluster, daemon.daemon() as it:
        cluster.answers["GET /version"] = {"gitVersion": "v1"}
        reviews = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        cluster.answers[reviews] = {"metadata": {}, "status": {"allowed": True}}
        kubeconfig = {
            "clusters": [{"name": "c", "cluster": {"server": cluster.url}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "namespace": "runs"}}],
            "current-context": "x",
        }
        it.path.joinpath("kubeconfig").write_text(json.dumps(kubeconfig))
        with_cluster = f"[engine.kubernetes]\nkubeconfig = '{it.path}/kubeconfig'\n"
        # The cluster does not take the run yet.
        cluster.answers["POST /api/v1/namespaces/runs/secrets"] = apiserver.status(503, "not now")
        configure(it, with_cluster)
        status, made = get(it, "/runs?api-version=1.0&engine=kubernetes", body)
        assert status == 201, made
        configure(it, "")
        reason = "its engine kubernetes is not in the configuration"
        assert until(it, lambda run: reason in run.get("statusReason", ""))["status"] == "Pending"
        cluster.answers["POST /api/v1/namespaces/runs/secrets"] = apiserver.status(403, "never")
        configure(it, with_cluster)
        assert "never" in until(it, lambda run: run["status"] == "Failed")["statusReason"]


def configure(it, text):
    """Start it again with this configuration."""
    it.stop()
    it.path.joinpath("tygerd.toml").write_text(text)
    it.start()


def until(it, holds):
    """The first run, once this is so of it."""
    deadline = time.monotonic() + daemon.PATIENCE
    while not holds(run := json.loads(get(it, "/runs/1?api-version=1.0")[1])):
        assert time.monotonic() < deadline, run
        time.sleep(0.01)
    return run


def test_a_removed_socket_is_bound_again():
    with daemon.daemon() as it:
        os.unlink(it.socket)
        # The directory is watched by a timer of some seconds; its entry comes back.
        ended = os.pidfd_open(it.pid)
        try:
            wait_for(it.socket, ended)
        finally:
            os.close(ended)
        assert get(it, "/healthcheck")[0] == 200
        assert "binding it again" in it.log


def wait_for(path, ended):
    """Wait until a path is there, or the daemon has ended; inotify would need ctypes, a process can poll."""
    import select

    while not os.path.exists(path):
        ready, _, _ = select.select([ended], [], [], 0.05)
        assert not ready


@pytest.mark.parametrize("config", ["", '[store.local]\nlisten = "127.0.0.1:0"\n'])
def test_an_idle_daemon_leaves_when_it_may(config):
    with daemon.daemon("--idle-exit", "0.2", config=config) as it:
        assert it.wait() == 0
        assert "leaving" in it.log


class Busy:
    """Has so much to do `until` a moment, as an `App` and a `Server` say it."""

    def __init__(self, *, users=0, machines=0, transfers=0, until=0.0):
        self.users, self.machines, self.transfers, self.until = users, machines, transfers, until
        self.tcp_connections = self.statistics

    def _now(self, count):
        return count if trio.current_time() < self.until else 0

    @property
    def quiet_since(self):
        return min(self.until, trio.current_time()) if self.users else 0.0

    def statistics(self):
        return types.SimpleNamespace(connections=self._now(self.users or self.machines))

    def unfinished(self):
        return self._now(self.transfers)


@pytest.mark.parametrize("what", ["users", "machines", "transfers"])
@pytest.mark.parametrize("seconds", [0, 4, 1000])
async def test_it_does_not_leave_while_there_is_something_to_do(what, seconds, monkeypatch, autojump_clock):
    """Connections of this machine, those of others, transfers and runs."""
    monkeypatch.setattr(clock, "boottime", trio.current_time)
    began, stopped = trio.current_time(), []
    front, rest = Busy(), Busy(until=began + seconds)
    if what == "users":
        front, rest = Busy(users=1, until=began + seconds), Busy()
    else:
        setattr(rest, what, 1)
    await app._leave_when_idle(rest, front, 10, lambda: stopped.append(trio.current_time() - began))
    assert max(seconds, 10) <= stopped[0] <= seconds + 10
    if what == "users":  # of whom it knows when the last one went
        assert stopped[0] == pytest.approx(seconds + 10)


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        ("[store.local]\nlisten = '192.0.2.1:1'", (), "192.0.2.1 port 1: Cannot assign requested address"),
        (
            "[store.local]\nlisten = '127.0.0.1:0'\ncertificate = '/no/cert'\nkey = '/no/key'",
            (),
            "cannot use the certificate /no/cert: No such file or directory",
        ),
        ("[store]\nnonsense = 1", (), "line 2: unknown key store.nonsense"),
        ("[socket]\ngroup = 'no-such-group'", (), "there is no group no-such-group"),
        ("", ("--config", "/nowhere.toml"), "cannot read /nowhere.toml: No such file or directory"),
        ("", ("--socket", "/tmp/" + "x" * 120), "the socket path"),
        ("", ("--state", "/proc/state"), "cannot use the state directory /proc/state"),
        ("", ("--state", "/dev/null"), "cannot use the state directory /dev/null"),
    ],
)
def test_what_it_cannot_start_with_is_one_clear_line(config, arguments, message):
    with daemon.daemon(config=config, start=False) as it:
        code, said = run(it, *arguments, "--log-format", "human")
        assert code == errors.CONFIG.exit_code
        assert said.startswith("tygerd: ")
        assert message in said
        assert said.count("\n") == 1


def test_a_socket_of_the_service_manager_is_used_and_left():
    with daemon.directory() as path, socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path / "s"))
        made.listen()
        it = daemon.Daemon(path, "", ())
        # `exec` keeps the pid that LISTEN_PID names.
        script = 'exec 3<&"$0"; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        with open(path / "log", "ab") as log:
            it.process = subprocess.Popen(
                ["bash", "-c", script, str(made.fileno()), *it.command()],
                env=it.env,
                pass_fds=[made.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            # The socket queues us until the daemon is there.
            assert get(it, "/healthcheck") == (200, b"Healthy")
            assert it.stop() == 0
        finally:
            it.kill()
        assert os.path.exists(it.socket)
