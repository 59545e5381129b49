"""What is refused as input or output before anything starts."""

import os

import pytest

from tests.support import cli
from tyger import errors
from tyger.cli import output, stdio


@pytest.fixture
def console():
    return output.Console({})


def open_source(console, path):
    with stdio.source(console, path, hint="do something else") as fd:
        return fd, os.read(fd, 10)


def test_a_file(console, tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    fd, data = open_source(console, str(tmp_path / "f"))
    assert data == b"abc"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("missing", errors.NOT_FOUND, "cannot open input file .*missing: No such file or directory"),
        (".", errors.INVALID_INPUT, "is a directory"),
        ("nul\0", errors.INVALID_INPUT, "its name has a null byte"),
        ("file/x", errors.IO_ERROR, "Not a directory"),
    ],
)
def test_files_that_cannot_be_read(console, tmp_path, name, kind, said):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.Problem, match=said) as caught:
        open_source(console, os.path.join(tmp_path, name))
    assert caught.value.kind is kind


def test_a_closed_standard_input():
    with pytest.raises(errors.Problem, match="standard input is closed"):
        open_source(output.Console({}, frozenset({0})), None)


def test_a_closed_or_read_only_standard_output(daemon):
    with (
        pytest.raises(errors.Problem, match="standard output is closed"),
        stdio.destination(output.Console({}, frozenset({1})), None),
    ):
        pass
    with open("/dev/null", "rb") as null:
        done = cli.run(daemon.path, "buffer", "gen", "1", stdout=null)
    assert (done.code, done.err) == (74, "Error: standard output is not open for writing\n")


def write(daemon, stdin, *arguments):
    daemon.buffer("b")
    return cli.run(daemon.path, "buffer", "write", "b", *arguments, stdin=stdin, data=None)


def test_a_terminal_needs_to_be_meant(daemon):
    leader, follower = os.openpty()
    try:
        done = write(daemon, follower)
        assert done.code == 64
        assert done.err == (
            "Error: standard input is a terminal; pipe data in, name a file with --input, or say --input - to"
            " type it\n"
        )
        os.write(leader, b"typed\n\x04")
        done = write(daemon, follower, "--input", "-")
    finally:
        os.close(leader)
        os.close(follower)
    assert done.code == 0
    assert bytes(daemon.buffers["b"].data) == b"typed\n"


def test_a_write_only_file_as_standard_input(daemon, tmp_path):
    with open(tmp_path / "f", "wb") as file:
        done = write(daemon, file)
    assert (done.code, done.err) == (74, "Error: standard input is not open for reading\n")
    assert daemon.buffers["b"].state == "new"


def test_an_output_file_that_cannot_be_made(console, tmp_path):
    with (
        pytest.raises(errors.Problem, match=r"cannot open output file .*: Is a directory"),
        stdio.destination(console, str(tmp_path)),
    ):
        pass
