"""What an API server is told for a port-forward, and what refusals mean; `tests/cluster` has a real one."""

import contextlib
import ssl

import pytest
import trio

from tests.support import apiserver
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
