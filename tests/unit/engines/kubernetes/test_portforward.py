"""What an API server is told for a port-forward, and what refusals mean; `tests/cluster` has a real one."""

import contextlib
import errno
import ssl

import pytest
import trio

from tests.support import apiserver, fakeforward
from tygerd.engines.kubernetes import portforward, refusals


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (404, refusals.NotFound, 'pods "p" not found'),
        (403, refusals.Refused, "pods/portforward is forbidden"),
        (401, refusals.NoAccess, "Unauthorized"),
        (500, refusals.Transient, "the kubelet is away"),
        (429, refusals.Transient, "too many requests"),
    ],
)
async def test_a_refusal_in_the_clusters_words(server, reach, code, kind, words):
    server.answers["GET /api/v1/namespaces/runs/pods/p/portforward?ports=52173"] = [
        apiserver.status(code, words)
    ]
    with pytest.raises(kind) as caught:
        await trio.to_thread.run_sync(portforward.dial, reach(), "p", 52173)
    assert str(caught.value) == f"cannot reach port 52173 of the pod p: {words}"
    (seen,) = server.seen
    assert seen.headers["Upgrade"] == "websocket"
    assert seen.headers["Sec-WebSocket-Protocol"] == "v4.channel.k8s.io"
    assert seen.headers["Authorization"] == "Bearer good"
    assert seen.headers["Origin"] is None


async def test_a_server_that_leads_elsewhere_is_not_followed(server, reach):
    """Who we are is for nobody else."""
    with apiserver.ApiServer() as other:
        elsewhere = apiserver.Reply(302, b"", {"Location": other.url.replace("http", "ws")})
        server.answers["GET /api/v1/namespaces/runs/pods/p/portforward?ports=1"] = elsewhere
        with pytest.raises(refusals.Transient, match="cannot reach port 1 of the pod p: the API server "):
            await trio.to_thread.run_sync(portforward.dial, reach(), "p", 1)
        assert (len(server.seen), other.seen) == (1, [])


async def test_nobody_answers(reach):
    reached = reach(cluster={"server": "https://127.0.0.1:1"})
    with pytest.raises(refusals.Transient, match=r"does not answer: .*refused"):
        await trio.to_thread.run_sync(portforward.dial, reached, "p", 1)


async def test_a_client_certificate_is_shown(server, reach, certificate):
    server.answers["GET /api/v1/namespaces/runs/pods/p/portforward?ports=1"] = [apiserver.status(404, "no")]
    user = {"client-certificate": certificate, "client-key": certificate}
    with contextlib.suppress(refusals.NotFound):
        await trio.to_thread.run_sync(portforward.dial, reach(user), "p", 1)
    (seen,) = server.seen
    assert seen.peer == "localhost"


async def test_a_server_that_is_not_to_be_trusted(server, reach):
    reached = reach(cluster={"certificate-authority": ssl.get_default_verify_paths().openssl_cafile})
    with pytest.raises(refusals.Trouble):
        await trio.to_thread.run_sync(portforward.dial, reached, "p", 1)
    assert not server.seen


@pytest.fixture
def forwarding(certificate):
    with fakeforward.Server(certificate) as server:
        yield server


@pytest.fixture
async def forward(forwarding, reach):
    reached = reach(cluster={"server": f"https://127.0.0.1:{forwarding.port}"})
    made = await trio.to_thread.run_sync(portforward.dial, reached, "p", 52173)
    made.socket.settimeout(60)
    yield made
    made.socket.close()
    forwarding.closed.wait(60)


def receive(sock, count):
    found = b""
    while len(found) < count and (data := sock.recv(count - len(found))):
        found += data
    return found


async def test_bytes_go_there_and_back(forwarding, forward):
    for word in (b"hello", b"x" * 200, b"y" * 100_000):
        forward.socket.sendall(word)
        assert receive(forward.socket, len(word)) == word.upper()
    forward.socket.sendall(b"big")
    assert receive(forward.socket, 1 << 20) == bytes(1 << 20)
    assert forwarding.heads[0].startswith(
        "GET /api/v1/namespaces/runs/pods/p/portforward?ports=52173 HTTP/1.1"
    )
    assert forward.error is None


async def test_one_for_which_nothing_is_left_is_closed(forwarding, reach, monkeypatch):
    """No descriptor for its other end: the connection would be in the way of the next attempt."""

    def refuse(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(portforward, "Forward", refuse)
    reached = reach(cluster={"server": f"https://127.0.0.1:{forwarding.port}"})
    with pytest.raises(OSError, match="Too many open files"):
        await trio.to_thread.run_sync(portforward.dial, reached, "p", 52173)
    assert await trio.to_thread.run_sync(forwarding.closed.wait, 60)


async def test_what_the_cluster_says_ends_it(forward):
    forward.socket.sendall(b"error")
    assert forward.socket.recv(1) == b""
    assert forward.error == "error forwarding port 1: connection refused there"


@pytest.mark.parametrize("word", [b"close", b"drop"])
async def test_the_clusters_end(forward, word):
    forward.socket.sendall(word)
    assert forward.socket.recv(1) == b""


async def test_our_end(forwarding, forward):
    forward.socket.sendall(b"hello")
    assert receive(forward.socket, 5) == b"HELLO"
    forward.socket.close()
    assert forwarding.closed.wait(60)


async def test_a_quiet_connection_is_kept(forwarding, reach, monkeypatch):
    monkeypatch.setattr(portforward, "PING_SECONDS", 0.01)
    reached = reach(cluster={"server": f"https://127.0.0.1:{forwarding.port}"})
    made = await trio.to_thread.run_sync(portforward.dial, reached, "p", 1)
    with made.socket:
        made.socket.settimeout(60)
        for _ in range(3):
            assert forwarding.pings.acquire(timeout=60)
        made.socket.sendall(b"hello")
        assert receive(made.socket, 5) == b"HELLO"


async def test_one_that_is_silent_is_given_up(forwarding, reach, monkeypatch):
    monkeypatch.setattr(portforward, "PING_SECONDS", 0.01)
    monkeypatch.setattr(portforward, "SILENT_SECONDS", 0.03)
    forwarding.answers_pings = False
    reached = reach(cluster={"server": f"https://127.0.0.1:{forwarding.port}"})
    made = await trio.to_thread.run_sync(portforward.dial, reached, "p", 1)
    with made.socket:
        made.socket.settimeout(60)
        assert made.socket.recv(1) == b""
    assert "silent for too long" in made.error
