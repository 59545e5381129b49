"""`tyger stdio-proxy` as a client elsewhere starts it: a real process, real pipes, a real server."""

import os
import pathlib
import select
import shlex
import signal
import subprocess
import threading

import h11
import pytest

from tests.support import daemon, ending, scripted
from tyger.cli import session, stdioproxy

WAIT = 120


@pytest.fixture(scope="module")
def server():
    with daemon.daemon() as it:
        yield it


@pytest.fixture
def home():
    with daemon.directory() as path:
        yield daemon.environment(path) | {"TYGER_AUTOSTART": "0"}


def remote(*arguments):
    """What ssh runs on the other end: a line for a shell."""
    return ["sh", "-c", "exec " + shlex.join([*daemon.TYGER, "stdio-proxy", *arguments])]


def run(environ, *arguments, data=b""):
    return subprocess.run(
        remote(*arguments), env=environ, input=data, capture_output=True, timeout=WAIT, check=False
    )


def request(socket, method, target, body=b"", *lines):
    length = [f"Content-Length: {len(body)}"] if body or method in ("POST", "PUT") else []
    head = [f"{method} http+unix://{socket}:{target} HTTP/1.1", "Host: unix----X", *length, *lines, "", ""]
    return "\r\n".join(head).encode() + body


def answer(data, method="GET"):
    """Status, headers and body of a whole answer, as an HTTP library reads it."""
    framing = h11.Connection(h11.CLIENT)
    framing.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    framing.send(h11.EndOfMessage())
    framing.receive_data(data)
    framing.receive_data(b"")
    status, headers, body = 0, {}, b""
    while not isinstance(event := framing.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status, headers = event.status_code, dict(event.headers)
        elif isinstance(event, h11.Data):
            body += event.data
    return status, headers, body


def ask(server, method, target, body=b"", *lines, socket=None):
    done = run(server.env, data=request(socket or server.socket, method, target, body, *lines))
    assert (done.returncode, done.stderr) == (0, b"")
    return answer(done.stdout, method)


def test_metadata(server):
    status, headers, body = ask(server, "GET", "/metadata")
    assert (status, headers[b"connection"]) == (200, b"close")
    assert b'"apiVersions":["1.0"]' in body


def test_a_block_there_and_back(server):
    """Larger than any pipe or buffer on the way, with the headers of the data plane."""
    status, _, body = ask(server, "POST", "/buffers?api-version=1.0", b"{}")
    assert status == 201
    name = body.split(b'"id":"')[1][:26].decode()
    status, _, body = ask(server, "POST", f"/buffers/{name}/access?api-version=1.0&writeable=true")
    url = body.split(b'"uri":"http+unix://')[1].split(b'"')[0].decode().replace("\\u0026", "&")
    socket, _, target = url.partition(":")
    path, _, query = target.partition("?")
    block = os.urandom(1 << 20) * 5
    headers = ("x-ms-blob-type: BlockBlob", "x-ms-meta-cumulative_hash_chain: eA==", "Expect: 100-continue")
    status, _, _ = ask(server, "PUT", f"{path}/0?{query}", block, *headers, socket=socket)
    assert status == 201
    status, _, body = ask(server, "GET", f"{path}/0?{query}", socket=socket)
    assert (status, body == block) == (200, True)


def test_login(server, home):
    done = run(server.env, "login")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"http+unix://{server.socket}:".encode(), b"")
    done = run(home, "login", "--server-url", f"unix://{server.socket}")
    assert (done.returncode, done.stdout) == (0, f"http+unix://{server.socket}:".encode())
    done = run(home | {"TYGER_SOCKET_PATH": server.socket}, "login")
    assert (done.returncode, done.stdout) == (0, f"http+unix://{server.socket}:".encode())
    done = run(home, "login", "--preflight")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["login"], 69, "TYGER_AUTOSTART=0"),
        (["login", "--server-url", "unix:///nowhere/s"], 69, "no daemon answers on /nowhere/s"),
        (["login", "--server-url", "https://host"], 65, "Unsupported URL scheme: https"),
        (["login", "--server-url", "x"], 65, "a valid absolute URL is required"),
        (["login", "x"], 64, 'unknown command "x" for "tyger stdio-proxy login"'),
        (["x"], 64, 'unknown command "x" for "tyger stdio-proxy"'),
    ],
)
def test_logins_that_fail(home, arguments, code, words):
    done = run(home, *arguments)
    assert (done.returncode, done.stdout) == (code, b"")
    assert words in done.stderr.decode().splitlines()[0]


def test_a_server_that_is_none(home):
    with scripted.Peer(scripted.replying(scripted.answer(404))) as peer:
        done = run(home, "login", "--server-url", f"unix://{peer.path}")
    assert (done.returncode, done.stdout) == (76, b"")
    assert b"unexpected status code 404" in done.stderr


@pytest.mark.parametrize(("path", "word"), [("/nowhere/s", b"ENOENT"), ("/etc", b"ECONNREFUSED")])
def test_nobody_listens(home, path, word):
    done = run(home, data=request(path, "GET", "/metadata"))
    assert done.returncode == 0
    status, headers, _ = answer(done.stdout)
    assert (status, headers[b"x-ms-error"]) == (502, word)


def test_a_path_that_is_too_long(home):
    done = run(home, data=request("/" + "x" * 200, "GET", "/metadata"))
    assert (done.returncode, answer(done.stdout)[0]) == (0, 502)


def test_the_users_own_daemon_is_started(home):
    environ = {name: value for name, value in home.items() if name != "TYGER_AUTOSTART"}
    socket = pathlib.Path(environ["XDG_RUNTIME_DIR"], "tyger/tyger.sock")
    lock = pathlib.Path(environ["XDG_STATE_HOME"], "tyger/lock")
    for number in range(2):
        if number == 0:
            done = run(environ, "login")
            assert done.stdout == f"http+unix://{socket}:".encode(), done.stderr
        else:
            assert answer(run(environ, data=request(socket, "GET", "/metadata")).stdout)[0] == 200
        pid = int(lock.read_text().split()[0])
        ended = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        select.select([ended], [], [], WAIT)
        os.close(ended)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "standard input ended before a request had come"),
        (b"GET http+unix:///s:/", "standard input ended before a request had come"),
        (b"GET / HTTP/1.1\r\n\r\n", "not in proxy form"),
        (b"x" * 100_000, "head is longer than"),
    ],
)
def test_what_is_no_request(home, data, words):
    done = run(home, data=data)
    assert (done.returncode, done.stdout) == (65, b"")
    assert " FTL Bad request error=" in done.stderr.decode()
    assert words in done.stderr.decode()


def test_another_scheme(home):
    done = run(home, data=b"GET http://host/ HTTP/1.1\r\n\r\n")
    assert (done.returncode, done.stdout) == (65, b"")
    assert " FTL Unsupported URL scheme error=" in done.stderr.decode()


# --- streams ----------------------------------------------------------------------------------------------


def start(environ, *arguments):
    return ending.Popen(
        remote(*arguments),
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )


def test_both_ways_at_once(home):
    """The answer begins before the request has ended, and an end of standard input does not end it."""
    met = threading.Event()

    def echo(connection):
        connection.read_request()
        connection.say(b"HTTP/1.1 200 OK\r\n\r\n" + connection.body)
        while b"0\r\n\r\n" not in (data := connection.sock.recv(4096)):
            connection.say(data)
        assert met.wait(WAIT)
        connection.say(b"the end")

    with scripted.Peer(echo) as peer, start(home) as process:
        head = request(peer.path, "POST", "/x", b"", "Transfer-Encoding: chunked")
        process.stdin.write(head.replace(b"Content-Length: 0\r\n", b""))
        assert process.stdout.read(19) == b"HTTP/1.1 200 OK\r\n\r\n"
        for word in (b"one", b"two"):
            process.stdin.write(b"3\r\n%s\r\n" % word)
            assert process.stdout.read(8) == b"3\r\n%s\r\n" % word
        process.stdin.write(b"0\r\n\r\n")
        process.stdin.close()
        met.set()
        assert process.stdout.read() == b"the end"
        assert process.wait(WAIT) == 0
    assert b"Connection: Close" in peer.requests[0].head


def test_a_request_that_is_cut_short_is_one_for_the_server_too(server):
    done = run(server.env, data=request(server.socket, "POST", "/buffers?api-version=1.0", b"{}")[:-1])
    status, _, body = answer(done.stdout)
    assert (status, b"the body is malformed: peer closed" in body) == (400, True)


def test_an_early_answer_to_a_long_request(server):
    """The server refuses a body that is far too long while it is still being sent."""
    done = run(server.env, data=request(server.socket, "POST", "/buffers?api-version=1.0", bytes(8 << 20)))
    assert (done.returncode, answer(done.stdout)[0]) == (0, 413)


def test_a_server_that_says_nothing(home):
    with scripted.Peer(lambda connection: connection.read_request()) as peer:
        done = run(home, data=request(peer.path, "GET", "/x"))
    status, headers, _ = answer(done.stdout)
    assert (status, headers[b"x-ms-error"]) == (502, b"the server closed the connection without an answer")


def test_a_reader_that_leaves_ends_a_quiet_stream(home):
    closed = threading.Event()

    def quiet(connection):
        connection.read_request()
        connection.say(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.wait_closed()
        closed.set()

    with scripted.Peer(quiet) as peer, start(home) as process:
        process.stdin.write(request(peer.path, "GET", "/events"))
        assert process.stdout.read(15) == b"HTTP/1.1 200 OK"
        process.stdout.close()
        assert process.wait(WAIT) == 128 + signal.SIGPIPE
        assert closed.wait(WAIT)


def test_memory_stays_bounded(home):
    """Many times what it may hold, both ways, past a reader and a server that are in no hurry."""
    size, piece = 64 << 20, bytes(1 << 20)

    def serve(connection):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.sock.recv(4096)
        left = size - len(data.partition(b"\r\n\r\n")[2])
        connection.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while left:
            left -= len(connection.sock.recv(1 << 20))
        for _ in range(size >> 20):
            connection.say(piece)

    with scripted.Peer(serve) as peer, start(home) as process:
        head = request(peer.path, "PUT", "/x").replace(b"Content-Length: 0", b"Content-Length: %d" % size)
        process.stdin.write(head)
        assert process.stdout.read(19) == b"HTTP/1.1 200 OK\r\n\r\n"
        for _ in range(size >> 20):
            process.stdin.write(piece)
        got = len(process.stdout.read(1 << 20))
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        while data := process.stdout.read(1 << 20):
            got += len(data)
        assert got == size
    [peak] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    assert int(peak) < 64 << 10, "KiB"


ENDING = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def masked():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("number", ENDING)
def test_sleep(home, number, masked):
    """A signal ends it however early it comes, here as early as can be."""
    with start(home, "sleep") as process:
        process.send_signal(number)
        assert process.wait(WAIT) == 0


def test_no_signal_comes_between(monkeypatch):
    """Each stays pending until it is waited for."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def waited(numbers):
        assert set(ENDING) == numbers
        assert numbers <= signal.pthread_sigmask(signal.SIG_BLOCK, [])

    monkeypatch.setattr(signal, "sigwait", waited)
    try:
        with pytest.raises(session.Exit) as ended:
            stdioproxy.sleep.callback()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert ended.value.code == 0
