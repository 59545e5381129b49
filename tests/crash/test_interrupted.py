"""Ctrl-C on `cat | tyger buffer write` at a real terminal, many times: never a complete buffer."""

import contextlib
import os
import pty
import random

import pytest

from tests.support import daemon
from tyger import client
from tygerd.blocks import container

TIMES = 200
AT_ONCE = 4


def interrupt_at_a_terminal(it, buffer, size):
    """Start the pipeline as a terminal's foreground job; the descriptor of the terminal, and the shell's pid.

    `size` bytes are typed at `cat` before the interrupt.
    """
    command = f"cat | {' '.join(daemon.TYGER)} buffer write {buffer} --log-level error"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("/bin/sh", ["sh", "-c", f"echo started; {command}"], it.env)
    heard = b""
    while b"started" not in heard:
        heard += os.read(terminal, 1000)
    os.write(terminal, b"x" * size + b"\n")
    return pid, terminal


def drain(terminal):
    with contextlib.suppress(OSError):  # EIO: the last process of the terminal has gone
        while os.read(terminal, 1000):
            pass
    os.close(terminal)


@pytest.mark.long
def test_never_a_complete_buffer():
    chance = random.Random(0)
    all_buffers = []
    with daemon.daemon() as it:
        for _ in range(TIMES // AT_ONCE):
            control = client.Client(it.socket)
            buffers = [control.request("POST", "/buffers", body={}).json()["id"] for _ in range(AT_ONCE)]
            jobs = [interrupt_at_a_terminal(it, buffer, chance.randrange(1, 200)) for buffer in buffers]
            for number, (_, terminal) in enumerate(jobs):
                if number:  # the first is interrupted wherever it is, most often before it has begun
                    wait_for_a_byte(it, buffers[number])
                os.write(terminal, b"\x03")
            for pid, terminal in jobs:
                drain(terminal)
                _, status = os.waitpid(pid, 0)
                assert os.waitstatus_to_exitcode(status) != 0
            all_buffers += buffers
        begun = [buffer for buffer in all_buffers if has_begun(it, buffer)]
        # Those that were interrupted before they had begun are still unwritten.
        assert len(begun) >= TIMES * (AT_ONCE - 1) // AT_ONCE
        for buffer in begun:
            assert ending(it, buffer).startswith("BufferFailed: ")


def wait_for_a_byte(it, buffer):
    with client.Client(it.socket).stream("GET", f"/transfers/read/{buffer}") as stream:
        assert next(stream.pieces())


def has_begun(it, buffer):
    target = container.Container(f"{it.state}/containers/{buffer}")
    try:
        return target.started()
    finally:
        target.close()


def ending(it, buffer):
    """How a reader is told that the stream is over; waits for it."""
    with client.Client(it.socket).stream("GET", f"/transfers/read/{buffer}") as stream:
        for _ in stream.pieces():
            pass
        return stream.trailers.get("tyger-error", "")
