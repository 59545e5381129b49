"""The proxy as a process: before a real daemon, found again, stopped, and refused."""

import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.support import daemon, freeport, scripted

PROXY = [sys.executable, "-m", "tyger_proxy"]
WAIT = 120


@pytest.fixture(scope="module")
def server():
    with daemon.daemon() as it:
        yield it


@pytest.fixture
def place(server):
    with daemon.directory() as path:
        yield Place(path, server)


@pytest.fixture
def port():
    with freeport.freeport() as held:
        yield held


class Place:
    """A home, an options file in it, and the proxies that were started there."""

    def __init__(self, path, server):
        self.path = path
        self.server = server
        self.environ = daemon.environment(path) | {"TYGER_AUTOSTART": "0"}

    def options(self, **values):
        values = {"serverUrl": f"unix://{self.server.socket}", **values}
        (self.path / "p.yml").write_text(json.dumps(values))
        return str(self.path / "p.yml")

    def call(self, command, file, data=None):
        return subprocess.run(
            [*PROXY, command, "-f", file],
            env=self.environ,
            input=data,
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )

    @contextlib.contextmanager
    def run(self, **values):
        """`tyger-proxy run` that listens, and its port."""
        process = subprocess.Popen(
            [*PROXY, "run", "-f", self.options(**values), "--log-format", "json"],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process, until(process, "Proxy is listening")["port"]
            finally:
                process.kill()


def until(process, message):
    for line in process.stderr:
        record = json.loads(line)
        if record["message"] == message:
            return record
    raise AssertionError("it ended")


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=WAIT) as answer:
        return json.load(answer)


def end(port, number=signal.SIGTERM):
    """End the proxy that listens on a port, whoever started it; it is nobody's child."""
    [inode] = [
        line.split()[9]
        for name in ("tcp", "tcp6")
        for line in pathlib.Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
    ]
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(os.readlink(fd) == f"socket:[{inode}]" for fd in (directory / "fd").iterdir()):
                pidfd = os.pidfd_open(int(directory.name))
                signal.pidfd_send_signal(pidfd, number)
                select.select([pidfd], [], [], WAIT)
                os.close(pidfd)
                return


def test_run(place):
    with place.run(port=0, logPath="logs", allowedClientCIDRs=["127.0.0.0/8"]) as (process, port):
        told = get(port, "/metadata")
        assert told["serverUrl"] == f"http+unix://{place.server.socket}:"
        assert told["storageEndpoints"] == [f"http+unix://{place.server.socket}:/"]
        assert os.path.dirname(told["logPath"]) == f"{place.path}/logs"
        process.send_signal(signal.SIGTERM)
        rest = [json.loads(line)["message"] for line in process.stderr]
        assert process.wait(WAIT) == 0
    assert rest == ["Received shutdown signal, cleaning up...", "Proxy shutdown complete"]
    logged = [json.loads(line)["message"] for line in pathlib.Path(told["logPath"]).read_text().splitlines()]
    assert logged == ["Logging to file", "Proxy is listening", *rest]


def test_a_stream_does_not_keep_it(place):
    """A signal ends it although a client reads something that does not end."""

    def quiet(connection):
        connection.read_request()
        connection.say(scripted.CHUNKED)
        connection.wait_closed()

    metadata = scripted.replying(scripted.answer(200, b"{}"))
    with (
        scripted.Peer(metadata, quiet) as peer,
        place.run(serverUrl=f"unix://{peer.path}", port=0) as (process, port),
        socket.create_connection(("127.0.0.1", port)) as client,
    ):
        client.sendall(b"GET /runs/7?watch=true HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 0


def test_a_block_through_the_proxy_with_bounded_memory(place):
    """An original's client: an access URL, then blocks by plain HTTP, far more than the proxy may hold."""
    created = subprocess.run(
        [*daemon.TYGER, "buffer", "create"], env=place.server.env, capture_output=True, text=True, check=True
    )
    size = 29_000_000
    with place.run(port=0) as (process, port):
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/buffers/{created.stdout.strip()}/access?api-version=1.0&writeable=true",
            method="POST",
        )
        with urllib.request.urlopen(asked, timeout=WAIT) as answer:
            url = json.load(answer)["uri"]
        path, _, query = url.partition("?")
        assert path == f"http://127.0.0.1:{port}/dataplane"
        block = os.urandom(1 << 20) * 28
        block = block[:size]
        put = urllib.request.Request(f"{path}/00?{query}", method="PUT", data=block)
        put.add_header("x-ms-blob-type", "BlockBlob")
        put.add_header("x-ms-meta-cumulative_hash_chain", "eA==")
        with urllib.request.urlopen(put, timeout=WAIT) as answer:
            assert answer.status == 201
        before = peak(process.pid)
        for _ in range(3):
            with urllib.request.urlopen(f"{path}/00?{query}", timeout=WAIT) as answer:
                assert answer.read() == block
        assert peak(process.pid) - before < 16 << 10, "KiB"
        assert before < 100 << 10, "KiB"


def peak(pid):
    [line] = [
        line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line
    ]
    return int(line.split()[1])


def test_an_open_proxy_says_so(place):
    with place.run(port=0, logPath="x.log"):
        levels = [json.loads(line)["level"] for line in (place.path / "x.log").read_text().splitlines()]
    assert levels == ["info", "warn", "info"]


def test_options_from_standard_input(place):
    done = place.call("run", "-", data="serverUrl: unix:///nowhere/s\nport: 0\n")
    assert done.returncode == 69
    assert done.stderr == (
        "Error: unable to connect to server: no daemon answers on /nowhere/s: No such file or directory\n"
    )


def test_start_and_find_it_again(place, port):
    file = place.options(port=port, logPath="logs/")
    done = place.call("start", file)
    try:
        assert (done.returncode, done.stdout) == (0, "")
        log = get(port, "/metadata")["logPath"]
        assert done.stderr.endswith(f" INF The proxy is running logFile={log} port={port}\n")
        done = place.call("run", file)
        assert done.returncode == 0
        assert done.stderr.endswith(f" INF A proxy is already running on the specified port port={port}\n")
        with scripted.Peer() as other:
            file = place.options(serverUrl=f"unix://{other.path}", port=port, logPath="logs/")
        done = place.call("start", file)
        assert done.returncode == 73
        words = " FTL A proxy is already running on the specified port, but it is not targeting the same"
        assert words in done.stderr
        assert len(os.listdir(place.path / "logs")) == 1
    finally:
        end(port)
    assert "Proxy shutdown complete" in pathlib.Path(log).read_text()


def test_start_on_any_port(place):
    done = place.call("start", place.options(port=0, logPath="x.log"))
    port = int(done.stderr.rpartition("port=")[2])
    try:
        assert get(port, "/metadata")["logPath"] == f"{place.path}/x.log"
    finally:
        end(port, signal.SIGINT)


def test_two_starts_at_once_make_one(place, port):
    file = place.options(port=port, logPath="logs/")
    starts = [
        subprocess.Popen([*PROXY, "start", "-f", file], env=place.environ, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        said = [process.communicate(timeout=WAIT)[1] for process in starts]
        # Who comes second between the first one's look and its listening is told so, and may ask again.
        assert 0 in {process.returncode for process in starts}, said
        assert get(port, "/metadata")["logPath"].startswith(f"{place.path}/logs/")
    finally:
        end(port)


def test_a_port_of_somebody_else(place):
    with scripted.Peer(*[scripted.hanging_up] * 3, tcp=True) as other:
        port = other.port
        done = place.call("run", place.options(port=port))
        assert (done.returncode, done.stderr) == (
            78,
            f"Error: cannot listen on port {port}: Address already in use\n",
        )
        done = place.call("start", place.options(port=port, logPath="l/"))
        assert done.returncode == 69
        assert " FTL failed to start proxy error=" in done.stderr.splitlines()[-1]


def test_start_needs_a_log(place):
    done = place.call("start", place.options())
    assert (done.returncode, done.stderr.count("\n")) == (65, 1)
    assert done.stderr.startswith("Error: logPath must be specified")


def test_the_users_own_daemon_is_started_again(place):
    place.environ.pop("TYGER_AUTOSTART")
    lock = place.path / "xdg-state/tyger/lock"

    def kill():
        pid = int(lock.read_text().split()[0])
        ended = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        select.select([ended], [], [], WAIT)
        os.close(ended)

    with place.run(serverUrl="local", port=0) as (_, port):
        kill()
        assert get(port, "/metadata")["serverUrl"] == f"http+unix://{place.path}/run/tyger/tyger.sock:"
        kill()
