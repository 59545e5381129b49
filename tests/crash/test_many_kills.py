"""Fifty `kill -9` of the daemon in a GiB through a pipe, in a GiB read, and in one that is never stored.

Every byte comes once, in either store.

The instants are random: after a random piece, wherever the daemon then is, and a fifth of them in the middle
of a start, when the next daemon recovers what the last one left.
"""

import hashlib
import random
import subprocess
import threading
import time

import pytest

from tests.support import azurite as azurites
from tests.support import commands, daemon, ending, producer, streaming

KILLS = 50
GIB = 1 << 30
PIECES = GIB // producer.PIECE

pytestmark = pytest.mark.long


@pytest.fixture(params=["local", "azurite"])
def streams(request, tmp_path):
    if request.param == "local":
        with daemon.daemon() as it, streaming.streaming(it) as made:
            yield made
        return
    with azurites.azurite(str(tmp_path)) as server:
        config = '[transfer]\nproxy = "none"\n' + server.config()
        with daemon.daemon(config=config) as it, streaming.streaming(it) as made:
            yield made


def deaths(chance):
    """After which pieces the daemon dies, and how long its successor lives (None: until the next)."""
    return {
        piece: chance.uniform(0, 0.7) if number % 5 == 0 else None
        for number, piece in enumerate(chance.sample(range(PIECES), KILLS))
    }


def die(it, life):
    if life is not None:
        it.kill()
        with ending.Popen(
            it.command(), env=it.env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as brief:
            time.sleep(life)
            brief.kill()
    it.restart()


def test_a_write(streams):
    chance = random.Random(1)
    plan = deaths(chance)
    buffer = streams.buffer()
    writing = streams.start("buffer", "write", buffer, stdin=subprocess.PIPE)
    for number, piece in enumerate(producer.pieces(1, GIB)):
        writing.process.stdin.write(piece)
        if number in plan:
            die(streams.daemon, plan[number])
    writing.process.stdin.close()
    assert writing.wait(600) == 0, writing.said
    assert streams.read(buffer, 1).finish(600).sha256 == producer.digest(1, GIB)


def test_a_read(streams):
    plan = deaths(random.Random(2))
    buffer = streams.buffer()
    streams.write(buffer, 2, GIB).finish(600)
    reading = streams.start("buffer", "read", buffer, stdout=subprocess.PIPE)
    digest = hashlib.sha256()
    for number in range(PIECES):
        digest.update(reading.process.stdout.read(producer.PIECE))
        if number in plan:
            die(streams.daemon, plan[number])
    assert reading.process.stdout.read() == b""
    assert reading.wait() == 0, reading.said
    assert digest.hexdigest() == producer.digest(2, GIB)


def test_through_ephemeral_buffers_and_a_job(tmp_path):
    """The pipes have all of it at any instant."""
    plan = deaths(random.Random(3))
    both = {"in": "_", "out": "_"}
    file = commands.run_file(tmp_path, "cat < $IN_PIPE > $OUT_PIPE", buffers=both)
    digest = hashlib.sha256()
    with daemon.daemon(config=commands.HOST) as it, streaming.streaming(it) as streams:
        run = streams.start("run", "exec", "-f", file, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def read():
            while piece := run.process.stdout.read(producer.PIECE):
                digest.update(piece)

        reading = threading.Thread(target=read)
        reading.start()
        for number, piece in enumerate(producer.pieces(3, GIB)):
            run.process.stdin.write(piece)
            if number in plan:
                die(it, plan[number])
        run.process.stdin.close()
        assert run.wait(600) == 0, run.said
        reading.join()
    assert digest.hexdigest() == producer.digest(3, GIB)
