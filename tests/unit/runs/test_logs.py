"""Logs as files: read, followed, archived."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tyger import errors
from tygerd.runs import live, logs, records

RECORD = "2024-01-25T18:20:49.00000000{}Z O line {}\n"


def write(path, *numbers):
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(RECORD.format(number, number) for number in numbers)


class Sink:
    """Collects what is sent, and lets a test wait for it."""

    def __init__(self):
        self.data = b""
        self._event = trio.Event()

    async def __call__(self, data):
        self.data += data
        event, self._event = self._event, trio.Event()
        event.set()

    async def until(self, data):
        with trio.fail_after(120):
            while self.data != data:
                await self._event.wait()


async def read(path, *, bells=None, **options):
    sink = Sink()
    await logs.send(lambda: str(path), records.Options(**options), b"", sink, bells)
    return sink.data


@pytest.mark.parametrize(("tail", "expected"), [(None, 4), (0, 0), (1, 1), (4, 4), (9, 4)])
async def test_the_last_lines(tmp_path, tail, expected):
    write(tmp_path / "log", 1, 2, 3, 4)
    found = await read(tmp_path / "log", tail=tail)
    assert found.splitlines() == [b"line 1", b"line 2", b"line 3", b"line 4"][4 - expected :]


async def test_the_last_lines_of_those_that_are_later(tmp_path):
    write(tmp_path / "log", 1, 2, 3, 4)
    since = records.moment("2024-01-25T18:20:49.000000002Z")
    assert await read(tmp_path / "log", tail=3, since=since) == b"line 3\nline 4\n"


async def test_an_archive_reads_like_the_log(tmp_path):
    write(tmp_path / "log", 1, 2, 3)
    logs.archive(str(tmp_path / "log"), str(tmp_path), 7)
    path = logs.archive_path(str(tmp_path), 7)
    for options in ({}, {"tail": 2}, {"timestamps": True}):
        assert await read(path, **options) == await read(tmp_path / "log", **options)


async def test_a_log_that_was_never_written_is_an_empty_archive(tmp_path):
    logs.archive(str(tmp_path / "log"), str(tmp_path), 7)
    assert await read(logs.archive_path(str(tmp_path), 7)) == b""


async def test_an_archive_that_is_damaged_is_read_as_far_as_it_goes(tmp_path):
    write(tmp_path / "log", *range(9))
    logs.archive(str(tmp_path / "log"), str(tmp_path), 7, sync=True)
    path = tmp_path / "7.gz"
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:20], b"", whole[:12] + b"?" * 9 + whole[21:], b"no archive"):
        path.write_bytes(damaged)
        if not damaged:  # gzip's own notion of an archive of nothing
            assert await read(path) == b""
            continue
        with pytest.raises(errors.Problem) as caught:
            await read(path)
        assert caught.value.kind is errors.CORRUPT
        assert str(path) in caught.value.message


async def test_a_log_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        await read(tmp_path / "log")


async def test_lines_longer_than_a_read(tmp_path):
    text = "x" * (3 * logs.CHUNK)
    (tmp_path / "log").write_text(f"2024-01-25T18:20:49.000000000Z O {text}\n")
    assert await read(tmp_path / "log", tail=1) == text.encode() + b"\n"


async def test_following_from_before_the_beginning_to_the_end(tmp_path):
    bells, sink = live.Live(), Sink()
    path = tmp_path / "log"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(logs.send, lambda: str(path), records.Options(), b"", sink, bells)
        await trio.testing.wait_all_tasks_blocked()
        write(path, 1)
        bells.log_grew(path.stat().st_size)
        await sink.until(b"line 1\n")
        write(path, 2, 3)
        bells.log_grew(path.stat().st_size)
        await sink.until(b"line 1\nline 2\nline 3\n")
        write(path, 4)
        bells.log_ended()
    assert sink.data.endswith(b"line 3\nline 4\n")


async def test_following_while_nobody_knows_yet_where_it_will_be(tmp_path):
    bells, sink = live.Live(), Sink()
    places = [tmp_path / "users"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(logs.send, lambda: str(places[-1]), records.Options(), b"", sink, bells)
        await trio.testing.wait_all_tasks_blocked()
        places.append(tmp_path / "system")
        write(places[-1], 1)
        bells.log_grew(1)
        await sink.until(b"line 1\n")
        bells.log_ended()


async def test_following_what_ends_without_a_log(tmp_path):
    bells = live.Live()
    bells.log_ended()
    with pytest.raises(FileNotFoundError):
        await read(tmp_path / "log", bells=bells)


async def test_following_the_last_lines(tmp_path):
    bells, sink = live.Live(), Sink()
    path = tmp_path / "log"
    write(path, 1, 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(logs.send, lambda: str(path), records.Options(tail=1), b"[main] ", sink, bells)
        await sink.until(b"[main] line 2\n")
        write(tmp_path / "log", 3)
        bells.log_ended()
    assert sink.data == b"[main] line 2\n[main] line 3\n"


async def test_growth_that_is_none_wakes_nobody():
    bells = live.Live()
    news = bells.next()
    bells.log_grew(0)
    assert not news.is_set()
    bells.log_grew(1)
    assert news.is_set()
