"""Pipes of ours and of others: what is passed as it is, what is pumped, how a pump ends."""

import fcntl
import os
import pty
import threading

import pytest

from tyger import pipes


def test_a_pipe_is_passed_as_it_is_and_enlarged():
    reader, writer = os.pipe()
    with pipes.as_pipe(reader) as source:
        assert source.fd == reader
        assert source.failure() is None
    assert fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ) >= 65536
    for fd in (reader, writer):
        os.close(fd)


def test_a_refused_enlargement_costs_nothing(tmp_path):
    with open(tmp_path / "file", "wb") as file:
        pipes.enlarge(file.fileno())


def test_a_file_is_pumped_to_its_end(tmp_path):
    data = os.urandom(3 * 1024 * 1024 + 7)
    (tmp_path / "file").write_bytes(data)
    with open(tmp_path / "file", "rb") as file, pipes.as_pipe(file.fileno()) as source:
        with open(os.dup(source.fd), "rb") as reader:
            assert reader.read() == data
        assert source.failure() is None


def test_a_source_that_waits_does_not_hold_the_pipe():
    """A splice from a terminal would keep the pipe's lock, and with it whoever reads the other end."""
    master, terminal = pty.openpty()
    with pipes.as_pipe(terminal) as source:
        os.write(master, b"typed\n")
        assert os.read(source.fd, 100) == b"typed\n"
        os.set_blocking(source.fd, False)
        with pytest.raises(BlockingIOError):
            os.read(source.fd, 100)
        os.write(master, b"\x04")
        os.set_blocking(source.fd, True)
        assert os.read(source.fd, 100) == b""
    os.close(master)
    os.close(terminal)


def test_leaving_early_ends_the_pump():
    before = set(threading.enumerate())
    with open("/dev/zero", "rb") as file, pipes.as_pipe(file.fileno()) as source:
        (pump,) = set(threading.enumerate()) - before
        assert pump.name == "pump"
        os.read(source.fd, 100)
    pump.join(60)
    assert not pump.is_alive()


def test_a_read_error_is_kept():
    fd = os.open("/", os.O_RDONLY)
    with pipes.as_pipe(fd) as source:
        assert os.read(source.fd, 10) == b""
        assert source.failure() == "cannot read the input: Is a directory"
    os.close(fd)


def test_writing_waits_for_a_full_nonblocking_pipe():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = os.urandom(1 << 20)
    got = []

    def drain():
        with open(reader, "rb") as file:
            got.append(file.read())

    draining = threading.Thread(target=drain)
    draining.start()
    pipes.write_all(writer, data)
    os.close(writer)
    draining.join()
    assert got == [data]
