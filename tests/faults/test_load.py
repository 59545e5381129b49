"""Four writers and four readers at once: bounded memory, fair shares, every byte."""

import pytest

from tests.support import azurite as azurites
from tests.support import cloud as clouds
from tests.support import streaming

MIB = 1 << 20
EACH = 4

RSS = 400 * MIB
"""Far above what the daemon needs (`./just bench` measures that), far below what grows with streams."""


def peak(pid):
    """The largest resident size of a process so far, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


@pytest.mark.parametrize("size", [48 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.long)])
def test_four_writers_and_four_readers(tmp_path, size):
    """The account is slower than the pipes, so that all of them want more than they get."""
    seconds = 30 + size / MIB / 2
    with azurites.azurite(str(tmp_path)) as server:
        config = '[transfer]\nproxy = "none"\n' + server.config()
        with clouds.daemon.daemon(config=config) as it, streaming.streaming(it) as streams:
            old = [streams.buffer() for _ in range(EACH)]
            source = streams.buffer()
            made = streams.write(source, 0, size).finish(seconds)
            new = [streams.buffer() for _ in range(EACH)]
            writings = [streams.write(buffer, 1 + seed, size) for seed, buffer in enumerate(new)]
            readings = [streams.read(source, 0) for _ in old]
            shares(streams, new, size, seconds)
            for reading in readings:
                assert reading.finish(seconds) == made
            finished = [writing.finish(seconds) for writing in writings]
            assert peak(it.pid) < RSS
            again = [streams.read(buffer, 1 + seed) for seed, buffer in enumerate(new)]
            assert [reading.finish(seconds) for reading in again] == finished
            assert peak(it.pid) < RSS


def shares(streams, buffers, size, seconds):
    """When the first of several equal writers is three quarters through, none of the others is far behind."""

    def shipped():
        return [streams.transfer(buffer)["shipped"] for buffer in buffers]

    streams.wait_transfer(buffers[0], lambda _: max(shipped()) >= size * 3 // 4, seconds=seconds)
    all_shipped = shipped()
    assert min(all_shipped) >= max(all_shipped) // 2, all_shipped
