"""Whatever bytes come, whole or a byte at a time: an error answer or the end, never a crash or a hang."""

import json

import h11
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import leftovers, wire
from tygerd import config
from tygerd.http import messages
from tygerd.http.router import Route

GOOD = b'POST /things?a=%20b HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{"name":"n"}'
CHUNKED = (
    b"POST /things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'6\r\n{"name\r\n6;x=y\r\n":"n"}\r\n0\r\nT: r\r\n\r\n'
)
WORDS = [
    b"GET ", b"POST ", b"/things", b"/stream", b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"\n", b"Host: x\r\n",
    b":", b"Content-Length: 3\r\n", b"Content-Length: 99999999999999999999\r\n", b"Connection: close\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Tyger-Fds: 1\r\n", b"0\r\n\r\n",
    b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"ffffffffffff\r\n", b"\x00", b"%", b"{", b"null", b"*",
    b"CONNECT x:1",
]  # fmt: skip


async def make(app: object, request: messages.Request, body: dict[str, str]) -> messages.Response:
    return messages.Response(body=body)


async def stream(app: object, request: messages.Request) -> messages.StreamResponse:
    async def run(sink: messages.Sink) -> None:
        await sink.send(b"x")

    return messages.StreamResponse(run)


ROUTES = [
    Route("POST", "/things", make, "x", body=dict[str, str], versioned=False),
    Route("GET", "/stream", stream, "x", versioned=False),
]
LIMITS = config.Limits(body_size=config.Size(1000))


@st.composite
def mutations(draw):
    """A good request, cut, or with something overwritten, inserted or repeated."""
    data = draw(st.sampled_from([GOOD, CHUNKED, GOOD + CHUNKED]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "insert", "overwrite", "repeat"])):
            case "cut":
                data = data[:at]
            case "insert":
                data = data[:at] + draw(st.sampled_from(WORDS)) + data[at:]
            case "overwrite":
                new = draw(st.binary(min_size=1, max_size=3))
                data = data[:at] + new + data[at + len(new) :]
            case "repeat":
                data += data[at:]
    return data


messes = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(WORDS), max_size=30).map(b"".join),
    mutations(),
)


async def throw(data: bytes, *, bytewise: bool) -> bytes:
    """Say all of it, then end of file; everything that came back."""
    answered = b""
    async with wire.serving(ROUTES, LIMITS) as peer, trio.open_nursery() as nursery:

        async def say() -> None:
            try:
                for piece in [data[i : i + 1] for i in range(len(data))] if bytewise else [data]:
                    await peer.say(piece)
                peer.sock.shutdown(1)
            except OSError:
                """The server has closed: it does not want the rest."""

        nursery.start_soon(say)
        while piece := await peer.receive():
            answered += piece
        nursery.cancel_scope.cancel()
    return answered


def answers(data: bytes) -> list[tuple[int, bytes]]:
    """Statuses and bodies of all answers in `data`, the last perhaps cut."""
    found = []
    while data:
        framing = h11.Connection(h11.CLIENT)
        framing.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        framing.send(h11.EndOfMessage())
        framing.receive_data(data)
        status, body = 0, b""
        while True:
            event = framing.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA:
                return found
            elif isinstance(event, h11.EndOfMessage):
                break
        found.append((status, body))
        data = framing.trailing_data[0]
    return found


@given(data=messes, bytewise=st.booleans())
@settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_server_survives(data, bytewise):
    before = leftovers.descriptors()
    came_back = trio.run(lambda: throw(data, bytewise=bytewise))
    assert not leftovers.descriptors() - before
    for status, body in answers(came_back):
        assert status in (200, 400, 404, 413), came_back
        if status in (400, 413):
            assert set(json.loads(body)["error"]) >= {"code", "message"}


def statuses(data, *, bytewise):
    return [status for status, _ in answers(trio.run(lambda: throw(data, bytewise=bytewise)))]


@given(data=messes)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_byte_at_a_time_or_whole_is_the_same(data):
    assert statuses(data, bytewise=True) == statuses(data, bytewise=False)


@pytest.mark.parametrize("bytewise", [False, True])
def test_a_good_request_is_good_both_ways(bytewise):
    assert statuses(GOOD + CHUNKED, bytewise=bytewise) == [200, 200]
