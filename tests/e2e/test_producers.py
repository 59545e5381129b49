"""Producers that the commands run, parts of buffers, and another daemon's access URLs, all of it for real."""

import hashlib
import os
import pathlib
import random
import signal
import subprocess
import sys

import pytest

from tests.support import commands as support
from tests.support import daemon

MIB = 1024 * 1024

NOISE = "import random, sys; w = sys.stdout.buffer.write; r = random.Random(7)\n"


def noise(mebibytes):
    chance = random.Random(7)
    return b"".join(chance.randbytes(MIB) for _ in range(mebibytes))


def ending(commands, buffer):
    done = commands.run("buffer", "read", buffer)
    return done.returncode, done.stdout, support.complaint(done) if done.returncode else ""


@pytest.mark.parametrize(
    ("script", "why"), [("exit 3", "exited with code 3"), ("kill -KILL $$", "was ended by SIGKILL")]
)
def test_a_producer_that_fails(commands, script, why):
    buffer = commands.buffer()
    done = commands.run("buffer", "write", buffer, "--", "sh", "-c", f"printf half; {script}")
    assert done.returncode == 74
    assert f"the producer sh {why}" in support.complaint(done)
    code, delivered, said = ending(commands, buffer)
    assert (code, delivered) == (74, b"half")
    assert f"the producer sh {why}" in said


def test_a_producer_that_succeeds(commands):
    buffer = commands.buffer()
    assert commands.run("buffer", "write", buffer, "--", "tr", "a-z", "A-Z", data=b"hello").returncode == 0
    assert ending(commands, buffer) == (0, b"HELLO", "")


def test_a_producer_for_a_buffer_that_was_written_is_not_started(commands, tmp_path):
    buffer = commands.buffer(b"there")
    done = commands.run("buffer", "write", buffer, "--", "touch", tmp_path / "started")
    assert done.returncode == 73
    assert not (tmp_path / "started").exists()


def test_a_run_whose_producer_fails(commands, tmp_path):
    path = support.run_file(pathlib.Path(tmp_path), "cat $$IN_PIPE > $$OUT_PIPE")
    done = commands.run("run", "exec", "-f", path, "--", "sh", "-c", "printf half; exit 3")
    assert done.returncode in (1, 74)  # by the run's own end, where that is known in time
    assert b"the producer sh exited with code 3" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_run_whose_producer_succeeds(commands, tmp_path):
    path = support.run_file(pathlib.Path(tmp_path), "tr a-z A-Z < $$IN_PIPE > $$OUT_PIPE")
    done = commands.run("run", "exec", "-f", path, "--", "printf", "hello")
    assert (done.returncode, done.stdout) == (0, b"HELLO")


def test_ctrl_c_beside_a_producer(commands):
    buffer = commands.buffer()
    process = commands.start("buffer", "write", buffer, "--", "sh", "-c", "echo pid=$$ >&2; exec yes")
    producer = os.pidfd_open(int(support.until(process, b"pid=").rpartition(b"=")[2]))
    support.until(process, b"Transfer starting")
    process.send_signal(signal.SIGINT)
    assert process.wait(support.PATIENCE) == -signal.SIGINT
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(producer, 0)
    os.close(producer)
    assert ending(commands, buffer)[0] == 74


def test_a_daemon_that_is_killed_while_a_producer_writes():
    """Killed three times while a producer writes and a reader reads: every byte arrives, once."""
    data = noise(24)
    code = NOISE + "for _ in range(24): w(r.randbytes(1 << 20)); sys.stdout.flush(); sys.stdin.readline()"
    with daemon.daemon(config=support.HOST) as it, support.commands(it) as commands:
        buffer = commands.buffer()
        writer = commands.start(
            "buffer",
            "write",
            buffer,
            "-b",
            "64KiB",
            "--",
            sys.executable,
            "-c",
            code,
            stderr=subprocess.DEVNULL,
        )
        reader = commands.start("buffer", "read", buffer, "--range", "100-", stderr=subprocess.DEVNULL)
        digest = hashlib.sha256(data[:100])
        for number in range(24):
            if number in (3, 11, 19):
                it.restart()
            writer.stdin.write(b"\n")
            writer.stdin.flush()
            wanted = MIB - (100 if number == 0 else 0)
            digest.update(read_exactly(reader, wanted))
        writer.stdin.close()
        assert writer.wait(support.PATIENCE) == 0
        assert reader.stdout.read() == b""
        assert reader.wait(support.PATIENCE) == 0
        assert digest.digest() == hashlib.sha256(data).digest()


def read_exactly(process, count):
    data = b""
    while len(data) < count:
        piece = process.stdout.read(count - len(data))
        assert piece, "it ended"
        data += piece
    return data


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--head", "1"], slice(0, 1)),
        (["--head", "0"], slice(0, 0)),
        (["--range", "65535-65536"], slice(65535, 65537)),
        (["--range", "131072-"], slice(131072, None)),
        (["--range", "299999-400000"], slice(299999, None)),
        (["--range", "300000-"], slice(0, 0)),
        (["--range", "1PB-2PB"], slice(0, 0)),
        (["--no-follow"], slice(None)),
    ],
)
def test_parts(commands, arguments, part):
    data = noise(1)[:300_000]
    buffer = commands.buffer()
    assert commands.run("buffer", "write", buffer, "-b", "64KiB", data=data).returncode == 0
    done = commands.run("buffer", "read", buffer, *arguments)
    assert (done.returncode, done.stdout) == (0, data[part])


def test_what_is_there_now(commands):
    buffer = commands.buffer()
    assert commands.run("buffer", "read", buffer, "--no-follow").stdout == b""
    process = commands.start("buffer", "write", buffer, "-f", "1ms")
    process.stdin.write(b"first")
    process.stdin.flush()
    assert commands.run("buffer", "read", buffer, "--head", "5").stdout == b"first"
    assert commands.run("buffer", "read", buffer, "--no-follow").stdout == b"first"
    process.stdin.close()
    assert process.wait(support.PATIENCE) == 0


def test_the_access_urls_of_another_daemon(commands, tmp_path):
    """Written through this daemon into the other's store, read back the same way and from a file."""
    with daemon.daemon(config=support.HOST) as far, support.commands(far) as there:
        buffer, data = there.buffer(), noise(1)
        writeable = there.run("buffer", "access", buffer, "--write").stdout.decode().strip()
        done = commands.run("buffer", "write", writeable, data=data)
        assert done.returncode == 0
        assert b"sig=" not in done.stderr
        assert there.run("buffer", "read", buffer).stdout == data
        (tmp_path / "url").write_bytes(there.run("buffer", "access", buffer).stdout)
        assert commands.run("buffer", "read", tmp_path / "url", "--range", "5-9").stdout == data[5:10]
        again = commands.run("buffer", "write", writeable, data=b"other")
        assert again.returncode == 73
        shown = commands.run("transfer", "list", "--output", "table").stdout
        assert b"sig=" not in shown


def test_an_access_url_that_nobody_answers(commands):
    """It is waited for, as a network that is away is, and said."""
    process = commands.start("buffer", "read", "http://127.0.0.1:1/b?sig=secret")
    said = support.until(process, b"Transfer waits")
    assert b"offline since" in said
    assert b"secret" not in said
    process.send_signal(signal.SIGINT)
    assert process.wait(support.PATIENCE) == -signal.SIGINT
