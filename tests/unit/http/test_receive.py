"""Bytes and descriptors over real socket pairs."""

import array
import os
import socket

import pytest
import trio

from tests.support import leftovers
from tyger import errors
from tygerd.http import messages, receive

PEER = messages.Peer(uid=7, gid=7, pid=1)


@pytest.fixture
async def pair():
    """A sending socket and a receiver with room for two descriptors."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    quota = receive.Quota(2)
    receiver = receive.Receiver(trio.socket.from_stdlib_socket(theirs), PEER, quota)
    yield ours, receiver, quota
    await receiver.aclose()
    ours.close()
    theirs.close()


def send(sock, data, fds):
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


async def test_bytes_and_their_end(pair):
    sock, receiver, _ = pair
    sock.sendall(b"hello")
    assert await receiver.receive() == b"hello"
    sock.close()
    assert await receiver.receive() == b""


async def test_descriptors_are_counted_and_taken_in_order(pair):
    sock, receiver, quota = pair
    ends = os.pipe()
    send(sock, b"a", ends[:1])
    send(sock, b"b", ends[1:])
    while receiver.arrived < 2:
        await receiver.receive()
    assert quota.total == 2
    taken = receiver.take()
    assert [os.fstat(fd.fileno()).st_mode for fd in taken] == [os.fstat(end).st_mode for end in ends]
    assert receiver.arrived == 0
    for fd in taken:
        fd.close()
    assert quota.total == 0
    for end in ends:
        os.close(end)


async def test_too_many_are_closed_and_refused(pair):
    sock, receiver, quota = pair
    before = leftovers.descriptors()
    for count, kind in ((3, errors.TRY_AGAIN), (receive.MAX_FDS + 1, errors.BAD_REQUEST)):
        send(sock, b"x", [0] * count)
        with pytest.raises(errors.Problem) as caught:
            await receiver.receive()
        assert caught.value.kind is kind
        assert (quota.total, receiver.arrived) == (0, 0)
        assert not leftovers.descriptors() - before


async def test_what_nobody_takes_is_closed(pair):
    sock, receiver, quota = pair
    before = leftovers.descriptors()
    send(sock, b"x", [0, 0])
    await receiver.receive()
    await receiver.aclose()
    assert quota.total == 0
    assert not leftovers.descriptors() - before


def test_a_quota_is_each_users_own():
    quota = receive.Quota(1)
    assert quota.acquire(1)
    assert not quota.acquire(1)
    assert quota.acquire(2)
    quota.release(1)
    assert quota.acquire(1)
    assert quota.total == 2


async def test_the_kernel_says_who_connected():
    ours, theirs = socket.socketpair()
    with ours, trio.socket.from_stdlib_socket(theirs) as sock:
        assert receive.peer_of(sock) == messages.Peer(os.geteuid(), os.getegid(), os.getpid())
