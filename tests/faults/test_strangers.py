"""Whoever can reach the data plane's TCP port, and what he can do there: nothing to anybody else."""

import base64
import contextlib
import hashlib
import itertools
import os
import pathlib
import re
import resource
import signal
import socket
import ssl
import subprocess
import time

import pytest

from tests.support import daemon as daemons
from tests.support import ending, tlspeer, unixrequests

PATIENCE = 120
"""Seconds that only what hangs takes."""


class Site:
    """A daemon whose data plane listens on this host, and a buffer of some blocks in it."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.data = os.urandom(300_000)
        self.buffer = self.tyger("buffer", "create").decode().strip()
        self.tyger("buffer", "write", self.buffer, data=self.data)
        self.url = self.access(self.buffer)
        self.host, _, self.port = self.url.split("/")[2].rpartition(":")
        self.context = tlspeer.client_context(pathlib.Path(daemon.state, "keys", "tls.pem").read_text())

    def tyger(self, *arguments, data=None):
        done = subprocess.run(
            [*daemons.TYGER, *arguments],
            env=self.daemon.env,
            input=data,
            capture_output=True,
            check=True,
            timeout=PATIENCE,
        )
        return done.stdout

    def access(self, buffer, *, writeable=False):
        path = f"/buffers/{buffer}/access?api-version=1.0&preferTcp=true&writeable={str(writeable).lower()}"
        return self.ask("POST", path)["uri"]

    def ask(self, method, path):
        with unixrequests.session(self.daemon.socket) as session:
            return session.request(method, f"http://tyger{path}", timeout=PATIENCE).json()

    def figures(self):
        return self.ask("GET", "/status")["dataPlane"]

    def dial(self, number=0):
        """From an address of its own: pods and strangers are on different machines."""
        return socket.create_connection((self.host, int(self.port)), PATIENCE, (f"127.0.66.{number}", 0))

    def connect(self, number=0):
        return self.context.wrap_socket(self.dial(number), server_hostname=self.host)

    def request(self, method, blob, url=None, headers=""):
        path, _, query = (url or self.url).partition(self.port)[2].partition("?")
        return f"{method} {path}/{blob}?{query} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()

    def is_well(self):
        """A pod reads the whole buffer, and a user of this host does."""
        pumped = self.daemon.path / "pumped"
        pumped.unlink(missing_ok=True)
        fifo = self.daemon.path / "fifo"
        with contextlib.suppress(FileExistsError):
            os.mkfifo(fifo)
        with open(pumped, "wb") as out, ending.Popen(["cat", fifo], stdout=out) as reading:
            subprocess.run(
                [*daemons.TYGERD, "pump", "input", self.url, "-o", str(fifo)],
                env=self.daemon.env | {"SSL_CERT_FILE": os.path.join(self.daemon.state, "keys", "tls.pem")},
                check=True,
                timeout=PATIENCE,
                capture_output=True,
            )
            reading.wait(PATIENCE)
        read = self.tyger("buffer", "read", self.buffer)
        return pumped.read_bytes() == read == self.data


CONNECTIONS = 64
SHARE = CONNECTIONS // 4

CONFIG = f"""
[daemon]
stop_deadline = {10 * PATIENCE}
[store]
block_size = 65536
[store.local]
listen = "127.0.0.1:0"
connections = {CONNECTIONS}
"""


@pytest.fixture
def site():
    with daemons.daemon(config=CONFIG) as made:
        yield Site(made)
        assert "incident" not in made.log
        assert '"level": "critical"' not in made.log


def descriptors(site):
    """How many there are, without those of the catalog: each thread of its pool has its own."""
    found = 0
    for entry in pathlib.Path(f"/proc/{site.daemon.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += "catalog.sqlite3" not in os.readlink(entry)
    return found


def until(predicate):
    """Wait for what nothing tells."""
    deadline = time.monotonic() + PATIENCE
    while not predicate():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def until_closed(sock):
    """Read to the end, be it a reset; what came."""
    came = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError):
        while piece := sock.recv(65536):
            came += piece
    return came


SILENT = b""
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.mark.parametrize("said", [SILENT, HALF_A_HELLO], ids=["silent", "half a hello"])
def test_connections_that_say_nothing(site, said):
    """They take neither descriptors nor places: who asks for something is served."""

    def closed():
        figures = site.figures()
        return figures["closedForOthersTotal"] + figures["turnedAwayTotal"]

    before = descriptors(site)
    with contextlib.ExitStack() as stack:
        for number in range(5 * CONNECTIONS):
            with contextlib.suppress(ConnectionError):  # it may be closed already
                stack.enter_context(site.dial(number % 8)).sendall(said)
        assert site.is_well()
        assert site.figures()["connections"] <= CONNECTIONS
        assert descriptors(site) <= before + CONNECTIONS + 10
        until(lambda: closed() >= 4 * CONNECTIONS)
    assert site.is_well()


def forged_signature(url: str) -> str:
    """An access URL with another signature, well-formed whatever the first one was."""
    return re.sub("sig=[^&]*", f"sig={'A' * 43}%3D", url)


def test_requests_that_never_end(site):
    with contextlib.ExitStack() as stack:
        for number in range(CONNECTIONS + 8):
            with contextlib.suppress(ConnectionError, ssl.SSLError):  # closed for another
                stack.enter_context(site.connect(number % 8)).sendall(b"GET /containers/x HTTP/1.1\r\nA: ")
        assert site.is_well()


def test_one_address_has_its_share_and_no_more(site):
    """With a good URL: each holds a request open, and the next one is refused, but only to that address."""
    writeable = site.access(site.tyger("buffer", "create").decode().strip(), writeable=True)
    begun = site.request("PUT", "00/000", writeable, "Content-Length: 1000\r\n") + b"some"
    with contextlib.ExitStack() as stack:
        for _ in range(SHARE):
            held = stack.enter_context(site.connect())
            held.sendall(begun)
        until(lambda: len(staged(site)) == SHARE)  # all are under way
        with site.dial() as refused:
            assert until_closed(refused) == b""
        assert site.is_well()
        assert site.figures()["turnedAwayTotal"] == 1
    until(lambda: not staged(site))  # they are gone, and so is what they sent
    assert site.is_well()


def staged(site):
    """Files that are being received."""
    found = pathlib.Path(site.daemon.state, "containers").rglob("staging/*")
    return [path for path in found if path.is_file()]


def test_readers_that_take_nothing(site):
    """They wait for themselves: threads, memory and places are there for others."""
    buffer = site.tyger("buffer", "create").decode().strip()
    site.tyger("buffer", "write", buffer, "--block-size", "16777216", data=os.urandom(16 * 1024 * 1024))
    wanted = site.request("GET", "00/000", site.access(buffer))
    with contextlib.ExitStack() as stack:
        for number in range(CONNECTIONS // 2):
            sock = stack.enter_context(site.connect(number % 3))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(wanted)
        assert site.is_well()
        resident = int(pathlib.Path(f"/proc/{site.daemon.pid}/statm").read_text().split()[1])
        assert resident * resource.getpagesize() < 300 * 1024 * 1024


def test_forged_signatures_one_after_the_other(site):
    """Each costs a handshake: what was sent behind the first is not looked at."""
    forged = site.request("GET", "00/000", forged_signature(site.url))
    with site.connect() as sock:
        sock.sendall(forged * 50)
        answers = until_closed(sock)
    assert answers.count(b"HTTP/1.1 403") == 1
    assert b"AuthenticationFailed" in answers
    assert site.is_well()


def test_a_flood_of_connections(site):
    """The address is turned away after so many, and slowly let in again."""

    def flood():
        for _ in range(20 * SHARE):
            with contextlib.suppress(OSError):
                site.dial().close()
        return site.figures()["turnedAwayTotal"] > 0

    until(flood)  # a busy machine may be too slow to be one at once
    assert site.is_well()


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("Content-Length: 30000001\r\n", b"x", b"413"),
        ("Transfer-Encoding: chunked\r\n", b"1000000\r\n" + bytes(1 << 24) + b"\r\n", b"413"),
        ("Content-Length: -1\r\n", b"", b"400"),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", b"", b"400"),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", b"zz\r\n", b"400"),
        ("X: " + "y" * 200_000 + "\r\n", b"", b"400"),
    ],
)
def test_bodies_and_heads_without_measure(site, headers, body, status):
    writeable = site.access(site.tyger("buffer", "create").decode().strip(), writeable=True)
    with site.connect() as sock:
        with contextlib.suppress(OSError):
            sock.sendall(site.request("PUT", "00/000", writeable, headers))
            for _ in range(4):
                sock.sendall(body)
        assert until_closed(sock).split(b" ")[1] == status
    assert not staged(site)
    assert site.is_well()


def test_a_body_without_a_signature_is_not_waited_for(site):
    with site.connect() as sock:
        forged = forged_signature(site.url)
        sock.sendall(site.request("PUT", "00/000", forged, "Content-Length: 30000000\r\n"))
        assert sock.recv(65536).startswith(b"HTTP/1.1 403")
    assert not staged(site)


def test_no_descriptor_is_left(site):
    """Whoever has some keeps them; once there are some again everything goes on."""
    pid = site.daemon.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 4, before[1]))
    with contextlib.ExitStack() as stack:
        numbers = itertools.cycle(range(4))

        def refused():
            stack.enter_context(site.dial(next(numbers)))  # until no number is left, of those in between too
            return "cannot accept a connection: Too many open files" in site.daemon.log

        until(refused)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert site.is_well()


def test_strangers_do_not_keep_a_daemon_from_stopping(site):
    with contextlib.ExitStack() as stack:
        for number in range(8):
            stack.enter_context(site.dial(number)).sendall(HALF_A_HELLO)
            stack.enter_context(site.connect(number)).sendall(b"GET")
        os.kill(site.daemon.pid, signal.SIGTERM)
        assert site.daemon.process.wait(PATIENCE) == 0  # a tenth of what a request may take to finish


def test_a_block_that_is_damaged_on_its_way(site):
    """The MD5 that comes along is checked before anything is there."""
    writeable = site.access(site.tyger("buffer", "create").decode().strip(), writeable=True)
    md5 = base64.b64encode(hashlib.md5(b"good").digest()).decode()
    with site.connect() as sock:
        sock.sendall(
            site.request("PUT", "00/000", writeable, f"Content-Length: 4\r\nContent-MD5: {md5}\r\n") + b"evil"
        )
        assert b"x-ms-error-code: Md5Mismatch" in sock.recv(65536)
    assert not staged(site)
