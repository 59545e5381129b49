"""What a listening socket says, played in order, as the kernel says it only in need."""

import errno
import os
import socket

import pytest
import trio
import trio.testing

from tygerd.http import accepting


class Played:
    """A listening socket that gives these one after the other; numbers are errors."""

    def __init__(self, *says):
        self.says = list(says)

    async def accept(self):
        await trio.lowlevel.checkpoint()
        said = self.says.pop(0)
        if isinstance(said, int):
            raise OSError(said, os.strerror(said))
        return said


async def test_a_real_one():
    with (
        trio.socket.from_stdlib_socket(socket.create_server(("127.0.0.1", 0))) as listening,
        socket.create_connection(listening.getsockname()) as client,
    ):
        sock, name = await accepting.accept(listening)
        sock.close()
        assert name == client.getsockname()


async def test_what_is_wrong_with_one_connection_is_no_matter():
    listening = Played(errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, "next")
    assert await accepting.accept(listening) == "next"


async def test_a_lack_of_descriptors_is_waited_out(autojump_clock, caplog):
    assert await accepting.accept(Played(errno.EMFILE, errno.ENOBUFS, "next")) == "next"
    assert trio.current_time() >= 2 * accepting.RESOURCE_PAUSE
    assert "cannot accept a connection: Too many open files" in caplog.text


@pytest.mark.parametrize("number", [errno.EBADF, errno.EINVAL, errno.ENOTSOCK])
async def test_a_socket_of_no_use_is_said(number):
    with pytest.raises(OSError, match=os.strerror(number)):
        await accepting.accept(Played(number))
