"""Buffers written twice, unknown, deleted or failed, and readers that cannot take what they asked for."""

import signal
import subprocess

import pytest

from tests.support import daemon
from tests.support.commands import complaint


def refused(done, code, said):
    assert (done.returncode, done.stdout) == (code, b"")
    assert said in complaint(done)


@pytest.fixture
def failed(commands):
    """A buffer whose writer was interrupted after `half`."""
    buffer = commands.buffer()
    writing = commands.start("buffer", "write", buffer, "--flush-interval", "5ms")
    reading = commands.start("buffer", "read", buffer)
    writing.stdin.write(b"half")
    writing.stdin.flush()
    assert reading.stdout.read(4) == b"half"
    writing.terminate()
    assert writing.wait(daemon.PATIENCE) == 128 + signal.SIGTERM
    return buffer


def test_writing_twice_keeps_the_first(commands):
    buffer = commands.buffer(b"first")
    refused(commands.run("buffer", "write", buffer, data=b"second"), 73, "it was already written")
    assert commands.run("buffer", "read", buffer).stdout == b"first"


def test_writing_while_another_writes(commands):
    buffer = commands.buffer()
    writing = commands.start("buffer", "write", buffer, "--flush-interval", "5ms")
    writing.stdin.write(b"the only one")
    writing.stdin.flush()
    with commands.start("buffer", "read", buffer) as reading:
        assert reading.stdout.read(12) == b"the only one"
        refused(commands.run("buffer", "write", buffer, data=b"second"), 73, "it was already written")
        writing.stdin.close()
        assert writing.wait(daemon.PATIENCE) == 0
        assert reading.stdout.read() == b""


def test_a_failed_one(commands, failed):
    done = commands.run("buffer", "read", failed)
    assert (done.returncode, done.stdout) == (74, b"half")
    assert "permanently failed state: the writer was interrupted by SIGTERM" in complaint(done)
    refused(commands.run("buffer", "write", failed, data=b"again"), 73, "it was already written")


def test_a_failed_one_as_the_input_of_a_run(commands, failed, tmp_path):
    commands.run(
        "codespec", "create", "reader", "--image", "host", "--input", "in", "--", "cat", "$(IN_PIPE)"
    )
    done = commands.run("run", "exec", "-c", "reader", "-b", f"in={failed}")
    assert done.returncode == 1
    assert "buffer 'in': the buffer is in a permanently failed state" in complaint(done)


@pytest.mark.parametrize("verb", ["show", "read", "write", "set"])
@pytest.mark.parametrize("state", ["unknown", "deleted", "purged"])
def test_one_that_is_not_there(commands, verb, state):
    buffer = "a" * 26
    if state != "unknown":
        buffer = commands.buffer(b"x")
        commands.run("buffer", "delete", buffer)
    if state == "purged":
        commands.run("buffer", "purge", buffer)
    more = ["--tag", "a=b"] if verb == "set" else []
    refused(commands.run("buffer", verb, buffer, *more, data=b"x"), 66, "NotFound")


@pytest.mark.parametrize(
    ("identifier", "code"),
    [
        ("", 65), (".", 65), ("..", 65), ("../x", 65), ("a/b", 65), ("/", 65), ("a" * 5000, 66), (" ", 66),
        ("%2e%2e", 66), ("%00", 66), ("?x=1", 66), ("#f", 66), ("a\nb", 66), ("ü", 66), ("\udcff", 65),
        ("http://example/containers/x", 65), ("http+unix://nowhere", 65),
    ],
)  # fmt: skip
def test_identifiers_that_are_none(commands, identifier, code):
    for verb in ("show", "read"):
        if (verb, code) == ("show", 65) or "://" not in identifier:
            refused(commands.run("buffer", verb, identifier), code, "")


# --- readers ---------------------------------------------------------------------------------------------


def piped(host, line):
    done = subprocess.run(
        ["bash", "-c", f"{line}; echo ${{PIPESTATUS[@]}}"],
        env=host.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr
    return done


TYGER = " ".join(daemon.TYGER)


def test_a_reader_that_has_enough(host, commands):
    buffer = commands.buffer(bytes(20_000_000))
    done = piped(host, f"{TYGER} buffer read {buffer} --log-level error | head -c 1")
    assert done.stdout == b"\x00141 0\n"
    assert done.stderr == b""


def test_a_reader_that_leaves_a_quiet_stream(host, commands):
    """Nothing is written, now or later: only the pipe's other end says that nobody wants it."""
    done = piped(host, f"{TYGER} buffer read {commands.buffer()} | true")
    assert done.stdout == b"141 0\n"
    assert done.stderr == b""


def test_output_that_cannot_be_written(commands):
    buffer = commands.buffer(b"content")
    with open("/dev/full", "wb") as full:
        done = commands.run("buffer", "read", buffer, stdout=full)
        assert done.returncode == 74
        assert "cannot write the output: No space left on device" in complaint(done)
    done = commands.run("buffer", "read", buffer, "--output", "/nonexistent/x")
    refused(done, 66, "cannot open output file /nonexistent/x: No such file or directory")
    done = commands.run("buffer", "read", buffer, "--output", "/")  # a directory is for archives
    refused(done, 65, "the buffer holds no tar archive that can be unpacked")
    assert commands.run("buffer", "read", buffer).stdout == b"content"


@pytest.mark.parametrize("arguments", [["buffer", "create"], ["buffer", "list"], ["status"], ["version"]])
def test_a_closed_or_full_standard_output(host, commands, arguments):
    closing = ["sh", "-c", 'exec "$@" >&-', "sh", *daemon.TYGER, *arguments]
    done = subprocess.run(closing, env=host.env, stderr=subprocess.PIPE, timeout=daemon.PATIENCE, check=False)
    assert (done.returncode, complaint(done)) == (74, "Error: standard output is closed")
    with open("/dev/full", "wb") as full:
        done = commands.run(*arguments, stdout=full)
    words = "Error: cannot write to standard output: No space left on device"
    assert (done.returncode, complaint(done)) == (74, words)
