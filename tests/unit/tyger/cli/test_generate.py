"""`tyger buffer gen`: which bytes, and into what."""

import contextlib
import hashlib
import os
import signal
import socket
import threading

import pytest

from tests.support import cli
from tyger.cli import generate, output, progress

MIB = 1024 * 1024
THREE_MIB = "09d7daed99c15bcee48dfa269c7597a1036a371c90100dda6f4fdcfe7ab79385"


def expected(size):
    return (generate.PATTERN * (size // generate.PERIOD + 1))[:size]


def test_the_pattern():
    assert generate.PATTERN[:65] == bytes(range(58, 122)) + b":"
    assert len(generate.PATTERN) == 65536


def drained(fill):
    reader, writer = os.pipe()
    digest, count = hashlib.sha256(), 0

    def body():
        fill(writer)
        os.close(writer)

    thread = threading.Thread(target=body)
    thread.start()
    while data := os.read(reader, MIB):
        digest.update(data)
        count += len(data)
    thread.join()
    os.close(reader)
    return count, digest.hexdigest()


def test_into_a_pipe():
    assert drained(lambda fd: generate.fill(fd, 3 * MIB)) == (3 * MIB, THREE_MIB)


@pytest.mark.parametrize("size", [0, 1, 65535, 65537, MIB + 1])
def test_odd_sizes(size):
    assert drained(lambda fd: generate.fill(fd, size)) == (size, hashlib.sha256(expected(size)).hexdigest())


@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_into_a_file(tmp_path, flags):
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT | flags)
    generate.fill(fd, 3 * MIB)
    os.close(fd)
    assert hashlib.sha256((tmp_path / "f").read_bytes()).hexdigest() == THREE_MIB


def test_into_a_socket():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        received = bytearray()

        def drain():
            while len(received) < MIB + 5:
                received.extend(theirs.recv(65536))

        thread = threading.Thread(target=drain)
        thread.start()
        generate.fill(ours.fileno(), MIB + 5)
        thread.join()
    assert received == expected(MIB + 5)


def test_into_a_non_blocking_pipe():
    def fill(fd):
        os.set_blocking(fd, False)
        generate.fill(fd, 3 * MIB)

    assert drained(fill) == (3 * MIB, THREE_MIB)


def test_the_command(daemon):
    done = cli.run(daemon.path, "buffer", "gen", "3MiB")
    assert (done.code, done.err) == (0, "")
    assert hashlib.sha256(done.out).hexdigest() == THREE_MIB
    assert not daemon.requests


def test_into_a_named_file(tyger, tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 100)
    assert tyger("buffer", "gen", "10", "-o", tmp_path / "f").code == 0
    assert (tmp_path / "f").read_bytes() == expected(10)


def test_progress_on_a_terminal(tmp_path):
    leader, follower = os.openpty()
    saved = os.dup(2)
    os.dup2(follower, 2)
    try:
        board = progress.Board(output.Console({"TERM": "xterm"}), drawn=True)
        with open(tmp_path / "f", "wb") as file:
            generate.fill(file.fileno(), 3 * MIB, generate.shown(board, 3 * MIB, every=0))
        board.close()
    finally:
        os.dup2(saved, 2)
        for fd in (saved, follower):
            os.close(fd)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while piece := os.read(leader, 4096):
            shown += piece
    os.close(leader)
    assert b"gen 1.0MiB of 3.0MiB" in shown
    assert b"gen 3.0MiB of 3.0MiB" in shown
    assert shown.endswith(b"\x1b[2K")


def test_a_bad_size_leaves_the_file_alone(tyger, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    assert tyger("buffer", "gen", "ten", "-o", tmp_path / "f").code == 64
    assert tyger("buffer", "gen", "-o", tmp_path / "f", "--", "-5").code == 64
    assert (tmp_path / "f").read_bytes() == b"x"


def test_a_full_disk(daemon):
    with open("/dev/full", "wb") as full:
        done = cli.run(daemon.path, "buffer", "gen", "1M", stdout=full)
    assert (done.code, done.err) == (74, "Error: cannot write the output: No space left on device\n")


def test_a_reader_that_has_enough(daemon):
    with cli.start(daemon.path, "buffer", "gen", "1G") as process:
        assert process.stdout.read(5) == b":;<=>"
        process.stdout.close()
        assert process.wait(60) == 128 + signal.SIGPIPE
        assert process.stderr.read() == b""
