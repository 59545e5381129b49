"""`tygerd pump` against a real daemon: streams, a daemon that dies, expired URLs, damage, early ends."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import threading
from datetime import timedelta

import pytest

from tests.support import daemon as daemons
from tyger import errors
from tygerd import clock
from tygerd.identity import keys

SIZE = 32 * 1024 * 1024
SHA256 = "b997630f9de63d635b4f686f6e4d9827d253bcf3e0ee204186095486ff64793c"
"""Of so many bytes of `tyger buffer gen` (contract buffers.md section 16)."""


@pytest.fixture
def daemon():
    with daemons.daemon() as running:
        yield running


def tyger(daemon, *arguments):
    done = subprocess.run(
        [*daemons.TYGER, *arguments],
        env=daemon.env,
        capture_output=True,
        check=True,
        timeout=daemons.PATIENCE,
    )
    return done.stdout.decode().strip()


def new_buffer(daemon):
    """A buffer's id and an access URL that writes and reads."""
    buffer = tyger(daemon, "buffer", "create")
    return buffer, tyger(daemon, "buffer", "access", buffer, "--write")


class Pump:
    """A pump and its named pipe."""

    def __init__(self, daemon, way, buffer, *more):
        self.pipe = str(daemon.path / f"{way}-{os.urandom(4).hex()}.pipe")
        os.mkfifo(self.pipe)
        flag = "--output" if way == "input" else "--input"
        self.process = subprocess.Popen(
            [*daemons.TYGERD, "pump", way, str(buffer), flag, self.pipe, *more],
            env=daemon.env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def finish(self):
        _, err = self.process.communicate(timeout=daemons.PATIENCE)
        return self.process.returncode, err.decode()


def generate(path):
    """`tyger buffer gen` into a pipe, as a job would write it."""
    with open(path, "wb") as job:
        subprocess.run([*daemons.TYGER, "buffer", "gen", str(SIZE)], stdout=job, check=True, cwd=daemons.ROOT)


def digest(path):
    """SHA-256 of what a job reads."""
    with open(path, "rb", buffering=0) as job:
        return hashlib.file_digest(job, "sha256").hexdigest()


def test_out_and_in_at_the_same_time(daemon):
    """The reader is there first, and follows the writer."""
    buffer, url = new_buffer(daemon)
    into = Pump(daemon, "input", url)
    out = Pump(daemon, "output", url)
    thread = threading.Thread(target=generate, args=(out.pipe,))
    thread.start()
    assert digest(into.pipe) == SHA256
    thread.join()
    assert out.finish()[0] == 0
    assert into.finish()[0] == 0
    read = subprocess.run(
        [*daemons.TYGER, "buffer", "read", buffer], env=daemon.env, capture_output=True, check=True
    )
    assert hashlib.sha256(read.stdout).hexdigest() == SHA256


def test_a_daemon_that_dies_on_the_way(daemon):
    """Blocks are sent and asked for again; every byte arrives once."""
    _, url = new_buffer(daemon)
    into = Pump(daemon, "input", url, "--log-format", "human")
    out = Pump(daemon, "output", url, "--block-size", "256KiB", "--log-format", "human")
    data = os.urandom(256 * 1024)
    digests = []
    thread = threading.Thread(target=lambda: digests.append(digest(into.pipe)))
    thread.start()
    whole = hashlib.sha256()
    with open(out.pipe, "wb", buffering=0) as job:
        for number in range(120):
            if number in {20, 70}:
                daemon.restart()
            job.write(data)
            whole.update(data)
    code, said = out.finish()
    assert code == 0, said
    thread.join()
    code, said = into.finish()
    assert code == 0, said
    assert digests == [whole.hexdigest()]


def signed(daemon, buffer, start, lifetime):
    """An access URL as the daemon would sign it at another time."""
    signer = keys.load_or_create(os.path.join(daemon.state, "keys"))
    query = signer.query(buffer, "cr", clock.now() + start, lifetime)
    return f"http+unix://{daemon.socket}:/containers/{buffer}?{query}"


def test_an_expired_url_whose_file_is_replaced(daemon):
    buffer, url = new_buffer(daemon)
    file = pathlib.Path(daemon.path, "output.access")
    file.write_text(signed(daemon, buffer, timedelta(hours=-2), timedelta(hours=1)))
    out = Pump(daemon, "output", file, "--log-format", "human")
    with open(out.pipe, "wb", buffering=0) as job:
        job.write(b"Hello")
    assert out.process.stderr is not None
    assert "its source still gives the same one" in out.process.stderr.readline().decode()
    fresh = file.with_suffix(".new")
    fresh.write_text(url)
    fresh.rename(file)
    code, said = out.finish()
    assert (code, "the access URL was renewed" in said) == (0, True)
    assert tyger(daemon, "buffer", "read", buffer) == "Hello"


def test_an_expired_literal_url(daemon):
    buffer, _ = new_buffer(daemon)
    out = Pump(daemon, "output", signed(daemon, buffer, timedelta(hours=-2), timedelta(hours=1)))
    code, said = out.finish()
    assert code == errors.FORBIDDEN.exit_code
    assert "invalid access URL" in said
    assert "sig=" not in said


def test_a_block_that_rots_in_the_store_never_reaches_the_job(daemon):
    buffer, url = new_buffer(daemon)
    data = os.urandom(3_000_000)
    subprocess.run(
        [*daemons.TYGER, "buffer", "write", buffer, "--block-size", "1MB"],
        env=daemon.env, input=data, check=True, capture_output=True,
    )  # fmt: skip
    block = pathlib.Path(daemon.state, "containers", buffer, "blocks/00/001")
    damaged = bytearray(block.read_bytes())
    damaged[1000] ^= 1
    block.write_bytes(damaged)
    into = Pump(daemon, "input", url)
    with open(into.pipe, "rb", buffering=0) as job:
        assert job.read() == data[: 1024 * 1024]
    code, said = into.finish()
    assert code == errors.CORRUPT.exit_code
    assert "cannot read block 1: MD5 mismatch" in said


@pytest.mark.parametrize("way", ["input", "output"])
def test_a_job_that_never_opens_its_pipe(daemon, way):
    buffer, url = new_buffer(daemon)
    tombstone = daemon.path / "tombstone.txt"
    pump = Pump(daemon, way, url, "--tombstone", str(tombstone))
    tombstone.write_text("tombstone")
    code, said = pump.finish()
    assert (code, "the job ended without having opened" in said) == (0, True)
    if way == "output":
        assert tyger(daemon, "buffer", "read", buffer) == ""


def test_a_buffer_that_is_gone(daemon):
    buffer, url = new_buffer(daemon)
    tyger(daemon, "buffer", "delete", buffer)
    tyger(daemon, "buffer", "purge", buffer, "--force")
    code, said = Pump(daemon, "output", url).finish()
    assert code == errors.NOT_FOUND.exit_code
    assert "the buffer does not exist" in said


def test_a_buffer_that_was_written(daemon):
    buffer, url = new_buffer(daemon)
    subprocess.run(
        [*daemons.TYGER, "buffer", "write", buffer],
        env=daemon.env,
        input=b"x",
        check=True,
        capture_output=True,
    )
    code, said = Pump(daemon, "output", url).finish()
    assert code == errors.CONFLICT.exit_code
    assert "buffer cannot be overwritten" in said
