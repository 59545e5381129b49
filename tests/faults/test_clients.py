"""Clients that are killed, stopped, interrupted or gone while blocks are on their way to the account."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import time

import pytest

from tests.support import cloud as clouds
from tests.support import daemon, producer, streaming

MIB = 1 << 20


def over(transfer):
    return transfer["state"] in {"complete", "failed"}


def test_killed(cloud):
    """What it had been given is stored, what comes later is refused, and readers are told."""
    streams = cloud.streams
    cloud.proxy.throttle(up=2 * MIB)  # blocks are on their way when it dies
    buffer = streams.buffer()
    writing = streams.start("buffer", "write", buffer, stdin=subprocess.PIPE)
    data = producer.content(1, 4 * MIB)
    writing.process.stdin.write(data)
    writing.process.stdin.flush()
    writing.process.kill()
    writing.process.wait()
    closed = select.poll()
    closed.register(writing.process.stdin, 0)
    ((_, event),) = closed.poll(streaming.PATIENCE * 1000)
    assert event == select.POLLERR, "the producer would get EPIPE"
    ended = streams.wait_transfer(buffer, over)
    assert (ended["state"], ended["bytes"]) == ("failed", len(data))
    assert cloud.ending(buffer) == "failed"
    code, said, _ = streams.read(buffer, 1).fail()
    assert code == 74
    assert "permanently failed" in said


def test_killed_while_the_network_is_away(cloud):
    """The failure is kept until it can be told."""
    streams = cloud.streams
    buffer = streams.buffer()
    writing = streams.write(buffer, 1, 1 << 40, rate=4 * MIB)
    streams.wait_transfer(buffer, lambda transfer: transfer["shipped"] > 0)
    cloud.proxy.refuse()
    writing.command.process.kill()
    assert writing.producer.wait() == 1
    assert writing.made.ended == "broken pipe"
    cloud.daemon.restart()
    cloud.proxy.restore()
    code, _, made = streams.read(buffer, 1).fail()
    assert code == 74
    assert made.bytes <= writing.made.bytes
    assert cloud.ending(buffer) == "failed"


@pytest.mark.parametrize("seconds", [0, pytest.param(150, marks=pytest.mark.long)])
def test_stopped_and_continued(cloud, seconds):
    """Its pipe is the daemon's, so that data go on; only its word at the end is waited for."""
    streams = cloud.streams
    buffer = streams.buffer()
    size = 16 * MIB
    first, *others = producer.pieces(1, size, MIB)
    writing = streams.start(
        "buffer", "write", buffer, "--block-size", f"{clouds.BLOCK // 1024}K", stdin=subprocess.PIPE
    )
    reading = streams.read(buffer, 1)
    writing.process.stdin.write(first)
    writing.process.stdin.flush()
    streams.wait_transfer(buffer, lambda transfer: transfer["shipped"] > 0)
    writing.process.send_signal(signal.SIGSTOP)
    for piece in others:
        time.sleep(seconds / len(others))  # stopped for longer than anybody else would be waited for
        writing.process.stdin.write(piece)
        writing.process.stdin.flush()
    writing.process.stdin.close()
    streams.wait_transfer(buffer, lambda transfer: transfer["bytes"] == size)
    assert not over(streams.transfer(buffer))
    writing.process.send_signal(signal.SIGCONT)
    assert writing.wait() == 0, writing.said
    assert reading.finish().sha256 == producer.digest(1, size)


def interrupt(cloud, buffer):
    """Ctrl-C of the whole pipeline at a terminal, once blocks are under way; the shell's exit code."""
    words = " ".join([*producer.command(1, 1 << 40, rate=8 * MIB), "|", *daemon.TYGER])
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(
            "/bin/sh", ["sh", "-c", f"{words} buffer write {buffer} --log-level error"], cloud.daemon.env
        )
    cloud.proxy.wait(lambda: [seen for seen in cloud.proxy.seen if seen.container == buffer and seen.up])
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):  # EIO: the last process of the terminal has gone
        while os.read(terminal, 1000):
            pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_ctrl_c_of_a_whole_pipeline(cloud):
    streams = cloud.streams
    cloud.proxy.throttle(up=4 * MIB)
    buffers = [streams.buffer() for _ in range(8)]
    for buffer in buffers:
        assert interrupt(cloud, buffer) != 0
    cloud.proxy.throttle()
    for buffer in buffers:
        ended = streams.wait_transfer(buffer, over)
        assert ended["state"] == "failed"
        assert cloud.ending(buffer) == "failed"
        code, _, _ = streams.read(buffer, 1).fail()
        assert code == 74


def test_a_producer_that_fails(cloud):
    """`-- CMD` knows its producer's exit code, so that half a stream is never complete."""
    streams = cloud.streams
    buffer = streams.buffer()
    script = f"head -c {3 * clouds.BLOCK} /dev/zero; exit 3"
    done = streams.run("buffer", "write", buffer, "--", "sh", "-c", script)
    assert done.returncode not in {0, None}
    assert "exited with code 3" in done.stderr.decode()
    assert cloud.ending(buffer) == "failed"


def test_detached_and_the_daemon_killed_before_anything_is_shipped(cloud):
    streams = cloud.streams
    buffer = streams.buffer()
    cloud.proxy.refuse()
    made = streams.write(buffer, 1, 8 * MIB, "--detach").finish()
    assert streams.transfer(buffer)["state"] == "spooled"
    cloud.daemon.restart()
    cloud.proxy.restore()
    assert streams.read(buffer, 1).finish() == made
    streams.wait_transfer(buffer, lambda transfer: transfer["state"] == "complete")
    assert cloud.ending(buffer) == "complete"


def test_a_reader_that_leaves_a_quiet_stream(cloud):
    """Nobody polls the account for somebody who has gone."""
    streams = cloud.streams
    buffer = streams.buffer()
    reading = streams.start("buffer", "read", buffer, stdout=subprocess.PIPE)
    cloud.proxy.wait(lambda: cloud.proxy.count("*", ".bufferstart"))
    reading.process.stdout.close()
    assert reading.wait() == 128 + signal.SIGPIPE
    streams.wait_transfer(buffer, over, kind="read")
