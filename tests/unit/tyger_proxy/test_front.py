"""Who may connect, and how often."""

import contextlib
import ipaddress
import socket

import pytest
import trio

from tests.support import wire
from tyger import addresses, errors
from tyger.cli import output
from tyger_proxy import front, logs, operations


@pytest.mark.parametrize(
    ("peer", "networks", "table"),
    [
        ("10.1.2.3", [], operations.EVERYBODY),
        ("10.1.2.3", ["10.0.0.0/8"], operations.EVERYBODY),
        ("10.1.2.3", ["192.168.0.0/16", "10.1.2.3"], operations.EVERYBODY),
        ("10.1.2.3", ["192.168.0.0/16"], operations.NOBODY),
        ("10.1.2.3", ["::/0"], operations.NOBODY),
        ("127.0.0.1", ["10.0.0.0/8"], operations.NEIGHBOURS),
        ("::1", ["10.0.0.0/8"], operations.NEIGHBOURS),
        ("127.0.0.1", ["127.0.0.0/8"], operations.EVERYBODY),
        ("fd00::1", ["fd00::/8"], operations.EVERYBODY),
    ],
)
def test_which_operations_a_client_has(peer, networks, table):
    found = front.table_for(ipaddress.ip_address(peer), [ipaddress.ip_network(each) for each in networks])
    assert found is table


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("10.0.0.1", 7), "10.0.0.1"),
        (("::ffff:10.0.0.1", 7, 0, 0), "10.0.0.1"),
        (("::1", 7, 0, 0), "::1"),
        (("fe80::1%eth0", 7, 0, 2), "fe80::1"),
    ],
)
def test_addresses(name, address):
    assert front.address_of(name) == ipaddress.ip_address(address)


def test_a_port_that_is_taken():
    with front.listen(0) as first:
        port = first.getsockname()[1]
        with pytest.raises(
            errors.Problem, match=f"cannot listen on port {port}: Address already in use"
        ) as caught:
            front.listen(port)
    assert caught.value.kind is errors.CONFIG


@pytest.fixture
async def serving(nursery):
    """A proxy before no server, with room for two connections from one address."""
    listening = front.listen(0)
    port = listening.getsockname()[1]
    proxy = operations.Proxy(
        address=addresses.of_socket("/nowhere/s"),
        here=None,
        log=logs.Log(output.Console({})),
        authority="x",
    )
    it = front.Front(proxy, listening, [], per_address=2)
    nursery.start_soon(it.serve)
    yield it, port
    it.stop()


def connect(port):
    return wire.Peer(socket.create_connection(("127.0.0.1", port)))


async def test_connections_of_one_address_are_counted(serving):
    _, port = serving
    first, second = connect(port), connect(port)
    for peer in (first, second):
        assert (await peer.ask("GET", "/")).status == 401
    third = connect(port)
    assert await third.closed()
    first.sock.close()
    with trio.fail_after(60):
        while True:  # until the first is forgotten
            fourth = connect(port)
            with_answer = await fourth.ask("GET", "/")
            fourth.sock.close()
            if with_answer.status == 401:
                break
    for peer in (second, third):
        peer.sock.close()


async def test_hostile_heads(serving):
    _, port = serving
    for data in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 200_000):
        peer = connect(port)
        with contextlib.suppress(OSError):  # it is refused before all of it has come
            await peer.say(data)
        assert (await peer.answer()).status == 400
        peer.sock.close()


async def test_a_stop_closes_those_who_wait(serving):
    it, port = serving
    idle, slow = connect(port), connect(port)
    assert (await idle.ask("GET", "/")).status == 401
    await slow.say(b"GET / HT")
    it.stop()
    assert await idle.closed()
    assert await slow.closed()
    for peer in (idle, slow):
        peer.sock.close()
