"""The daemon is killed again and again in the middle of streams: every byte arrives once, nobody hangs.

The killing is driven by how much has been moved, not by a clock; `kill -9` lands wherever the daemon then is.
"""

import hashlib
import random
import subprocess

import pytest

from tests.support import daemon, ending

KILLS = 8
PIECE = 256 * 1024
PIECES = 240


@pytest.fixture
def running():
    # Blocks much smaller than the stream, so that many are in every stage when the daemon dies.
    with daemon.daemon(config="[store]\nblock_size = 524288\n") as it:
        yield it


def tyger(it, *arguments, **options):
    return ending.Popen([*daemon.TYGER, "--log-level", "error", *arguments], env=it.env, **options)


def output(it, *arguments):
    return subprocess.run(
        [*daemon.TYGER, *arguments], env=it.env, check=True, stdout=subprocess.PIPE, timeout=daemon.PATIENCE
    ).stdout


def new_buffer(it):
    return output(it, "buffer", "create").decode().strip()


@pytest.mark.parametrize("seed", range(2))
def test_a_write_survives_every_kill(running, seed):
    chance = random.Random(seed)
    deaths = set(chance.sample(range(PIECES), KILLS))
    buffer = new_buffer(running)
    digest = hashlib.sha256()
    with tyger(running, "buffer", "write", buffer, "-b", "512K", stdin=subprocess.PIPE) as writing:
        for number in range(PIECES):
            piece = chance.randbytes(PIECE)
            digest.update(piece)
            writing.stdin.write(piece)
            if number in deaths:
                running.restart()
        writing.stdin.close()
        assert writing.wait(daemon.PATIENCE) == 0
    with tyger(running, "buffer", "read", buffer, stdout=subprocess.PIPE) as reading:
        read = hashlib.file_digest(reading.stdout, "sha256")
        assert reading.wait(daemon.PATIENCE) == 0
    assert read.hexdigest() == digest.hexdigest()


@pytest.mark.long
def test_a_read_survives_every_kill(running):
    buffer = new_buffer(running)
    data = random.Random(3).randbytes(PIECE * 100)
    subprocess.run(
        [*daemon.TYGER, "buffer", "write", buffer, "-b", "300K"],
        env=running.env,
        input=data,
        check=True,
        timeout=daemon.PATIENCE,
    )
    got = bytearray()
    with tyger(running, "buffer", "read", buffer, stdout=subprocess.PIPE) as reading:
        for death in sorted(random.Random(4).sample(range(len(data)), KILLS)):
            while len(got) < death:
                got += reading.stdout.read1(death - len(got))
            running.restart()
        got += reading.stdout.read()
        assert reading.wait(daemon.PATIENCE) == 0
    assert got == data


def test_a_reader_beside_the_writer_survives_too(running):
    buffer = new_buffer(running)
    data = random.Random(5).randbytes(PIECE * 40)
    with (
        tyger(running, "buffer", "write", buffer, stdin=subprocess.PIPE) as writing,
        tyger(running, "buffer", "read", buffer, stdout=subprocess.PIPE) as reading,
    ):
        got = bytearray()
        for start in range(0, len(data), PIECE):
            writing.stdin.write(data[start : start + PIECE])
            writing.stdin.flush()
            while len(got) < start + PIECE:
                got += reading.stdout.read1(start + PIECE - len(got))
            if start % (10 * PIECE) == 0:
                running.restart()
        writing.stdin.close()
        assert writing.wait(daemon.PATIENCE) == 0
        assert reading.stdout.read() == b""
        assert reading.wait(daemon.PATIENCE) == 0
    assert got == data


def test_a_client_killed_with_its_daemon_leaves_a_failed_buffer(running):
    """Nobody comes back for the write: after the grace, readers are told and do not hang."""
    buffer = new_buffer(running)
    with tyger(running, "buffer", "write", buffer, stdin=subprocess.PIPE) as writing:
        writing.stdin.write(b"some")
        writing.stdin.flush()
        with tyger(running, "buffer", "read", buffer, stdout=subprocess.PIPE) as reading:
            assert reading.stdout.read(4) == b"some"
            reading.terminate()
        running.kill()
        writing.kill()
        writing.stdin.close()
    with open(running.config, "a", encoding="utf-8") as config:
        config.write("[transfer]\nreattach_grace = 0\n")
    running.start()
    done = subprocess.run(
        [*daemon.TYGER, "buffer", "read", buffer],
        env=running.env,
        check=False,
        capture_output=True,
        timeout=daemon.PATIENCE,
    )
    assert done.stdout == b"some"
    assert done.returncode == 74
    assert b"permanently failed" in done.stderr


def test_a_killed_client_leaves_a_failed_buffer_and_the_producer_a_broken_pipe(running):
    buffer = new_buffer(running)
    with tyger(running, "buffer", "write", buffer, stdin=subprocess.PIPE) as writing:
        writing.stdin.write(b"some")
        writing.stdin.flush()
        with tyger(
            running, "buffer", "read", buffer, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as reading:
            assert reading.stdout.read(4) == b"some"
            writing.kill()
            writing.wait()
            assert b"permanently failed" in reading.stderr.read()
            assert reading.wait(daemon.PATIENCE) == 74
        with pytest.raises(BrokenPipeError):
            while True:
                writing.stdin.write(b"more")
                writing.stdin.flush()
        writing.stdin.raw.close()
