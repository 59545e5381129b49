"""Descriptors that come with a request: how many, in what order, and that none is left open."""

import os

import pytest

from tests.support.site import code

# --- descriptors -------------------------------------------------------------------------------------------


@pytest.fixture
def pipes():
    ends = [*os.pipe(), *os.pipe()]
    yield ends
    for end in ends:
        os.close(end)


async def test_a_descriptor_comes_along_and_is_closed_afterwards(peer):
    reading, writing = os.pipe()
    os.write(writing, b"through the pipe")
    os.close(writing)
    answer = await peer.ask("POST", "/take", b"{}", fds=[reading])
    os.close(reading)
    assert (answer.status, answer.body) == (200, b"through the pipe")


async def test_descriptors_come_in_order_and_can_be_kept(peer, log, pipes):
    answer = await peer.ask("POST", "/keep", b"", fds=[pipes[0], pipes[2]])
    assert answer.status == 204
    assert [os.fstat(fd.fileno()).st_ino for fd in log.kept] == [os.fstat(pipes[i]).st_ino for i in (0, 2)]
    assert not any(os.get_inheritable(fd.fileno()) for fd in log.kept)
    assert all(os.get_blocking(fd.fileno()) for fd in log.kept)
    for fd in log.kept:
        fd.close()
    # Their places in the quota are free again.
    assert (await peer.ask("POST", "/keep", b"", fds=[pipes[0], pipes[2]])).status == 204
    for fd in log.kept[2:]:
        fd.close()


@pytest.mark.parametrize(
    ("said", "sent"), [("0", 1), ("1", 0), ("2", 1), ("1", 2), ("x", 1), ("-1", 0), ("", 1), ("٣", 3)]
)
async def test_a_wrong_number_of_descriptors(peer, pipes, said, sent):
    head = f"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTyger-Fds: {said}\r\n\r\n"
    await peer.say(head.encode(), pipes[:sent])
    assert code(await peer.answer()) == (400, "BadRequest")
    assert await peer.closed()


async def test_a_route_that_takes_no_descriptors(peer, pipes):
    assert code(await peer.ask("POST", "/post", b"", fds=pipes[:1])) == (400, "BadRequest")
    assert await peer.closed()


async def test_descriptors_nobody_announced(peer, pipes):
    await peer.say(b"GET /plain/1 HTTP/1.1\r\nHost: x\r\n\r\n", pipes[:1])
    assert code(await peer.answer()) == (400, "BadRequest")


async def test_a_request_behind_one_with_descriptors(peer, pipes):
    head = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTyger-Fds: 1\r\n\r\n"
    await peer.say(head + b"GET /plain/1 HTTP/1.1\r\nHost: x\r\n\r\n", pipes[:1])
    assert code(await peer.answer()) == (400, "BadRequest")
    assert await peer.closed()


async def test_more_descriptors_than_a_message_may_bring(peer, pipes):
    await peer.say(b"POST /take HTTP/1.1\r\n", pipes[:1] * 17)
    answer = await peer.answer()
    assert code(answer) == (400, "BadRequest")
    assert await peer.closed()


async def test_more_descriptors_than_a_user_may_hold(peer, pipes):
    answer = await peer.ask("POST", "/take", b"", fds=pipes[:1] * 5)
    assert code(answer) == (503, "TryAgain")
    assert answer.headers["retry-after"] == "1"


async def test_descriptors_that_come_with_garbage_are_closed(peer, pipes):
    await peer.say(b"\x00\r\n\r\n", pipes)
    assert code(await peer.answer()) == (400, "BadRequest")


async def test_descriptors_of_a_request_that_never_ends_are_closed(peer, pipes):
    await peer.say(b"POST /take HTTP/1.1\r\nHost: x\r\n", pipes)
