"""Large pieces to a socket, from a file by `sendfile` or from memory, in a thread that keeps the peer busy.

A thread stays while the peer takes bytes as fast as they come, so that a block costs one hop; for a slow
peer it returns, and trio waits until the socket is writable.
"""

from __future__ import annotations

import errno
import os
import select

import trio

PATIENCE = 20
"""Milliseconds that a thread waits for room in the socket before it gives its place to others."""

VISIT = 16 * 1024 * 1024
"""Bytes that a thread sends at most in one visit: cancellation waits for the visit's end, some
milliseconds.
"""


async def send_file(sock: int, file: int, offset: int, length: int, limiter: trio.CapacityLimiter) -> None:
    """Send `length` bytes of `file` from `offset` on to the non-blocking socket `sock`.

    Cancelled, some of them have been sent, unknown how many. Both descriptors must stay open until it
    returns.

    Raises:
        OSError: of the socket (EPIPE, ECONNRESET) or the file; EIO when the file ends too soon.
    """
    end = offset + length
    while offset < end:
        stop = min(end, offset + VISIT)
        offset = await trio.to_thread.run_sync(_send, sock, file, offset, stop, limiter=limiter)
        if offset < stop:
            await trio.lowlevel.wait_writable(sock)


async def send_memory(sock: int, data: memoryview, limiter: trio.CapacityLimiter) -> None:
    """Send all of `data` to the non-blocking socket `sock`. As `send_file`."""
    sent = 0
    while sent < len(data):
        stop = min(len(data), sent + VISIT)
        sent = await trio.to_thread.run_sync(_send_memory, sock, data, sent, stop, limiter=limiter)
        if sent < stop:
            await trio.lowlevel.wait_writable(sock)


def _send_memory(sock: int, data: memoryview, start: int, end: int) -> int:
    """Send until `end`, or until the socket had no room for `PATIENCE`; how far that came."""
    room = select.poll()
    room.register(sock, select.POLLOUT)
    while start < end:
        try:
            start += os.write(sock, data[start:end])
        except BlockingIOError:
            if not room.poll(PATIENCE):
                break
    return start


def _send(sock: int, file: int, offset: int, end: int) -> int:
    """Send until `end`, or until the socket had no room for `PATIENCE`; the offset reached."""
    room = select.poll()
    room.register(sock, select.POLLOUT)
    while offset < end:
        try:
            sent = os.sendfile(sock, file, offset, end - offset)
        except BlockingIOError:
            if not room.poll(PATIENCE):
                break
            continue
        if sent == 0:
            raise OSError(errno.EIO, "the file is shorter than it should be")
        offset += sent
    return offset
