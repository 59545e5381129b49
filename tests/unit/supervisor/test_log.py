"""Records of the log: whole lines, whatever the pieces they come in."""

from __future__ import annotations

import os

import hypothesis
import hypothesis.strategies as st

from tests.support import disks
from tygerd.supervisor import log

MOMENT = 1_706_206_849_951_262_003
STAMP = b"2024-01-25T18:20:49.951262003Z"


def test_timestamp():
    assert log.timestamp(MOMENT).encode() == STAMP
    assert log.timestamp(0) == "1970-01-01T00:00:00.000000000Z"


@hypothesis.given(st.lists(st.binary(max_size=20)))
def test_every_byte_is_recorded_once_and_in_order(pieces):
    lines = log.Lines(b"O")
    records = b"".join(lines.feed(piece, MOMENT) for piece in pieces) + lines.end(MOMENT)
    texts, last = b"", b""
    for record in records.split(b"\n")[:-1]:
        stamp, stream, text = record.split(b" ", 2)
        assert stamp > last
        last = stamp
        texts += text + (b"\n" if stream == b"O" else b"")
    assert texts == b"".join(pieces)


def test_times_neither_repeat_nor_go_back():
    stamps = log.Stamps()
    times = [MOMENT, MOMENT, MOMENT - 10**12, MOMENT + 1, MOMENT + 10**9, 0]
    assert [stamps.take(time, 1)[0].decode() for time in times] == [
        log.timestamp(MOMENT + more) for more in (0, 1, 2, 3, 10**9, 10**9 + 1)
    ]


def test_many_times_at_once_run_into_the_next_second():
    end = 5 * 10**9 - 2
    assert [stamp.decode() for stamp in log.Stamps().take(end, 4)] == [
        log.timestamp(end + more) for more in range(4)
    ]


def test_two_streams_share_their_times():
    stamps = log.Stamps()
    out, err = log.Lines(b"O", stamps=stamps), log.Lines(b"E", stamps=stamps)
    records = out.feed(b"a\nb\n", MOMENT) + err.feed(b"c\n", MOMENT) + out.end(MOMENT)
    assert [record[27:29] for record in records.splitlines()] == [b"03", b"04", b"05"]


def test_an_endless_line_is_cut():
    lines = log.Lines(b"E", limit=4)
    assert [record[31:] for record in lines.feed(b"abcdefghij", 0).split(b"\n")] == [
        b"E abcd",
        b"E efgh",
        b"",
    ]
    assert lines.end(0).endswith(b" e ij\n")
    assert lines.end(0) == b""


def test_a_source_ends_with_its_unfinished_line():
    reader, writer = os.pipe()
    source = log.Source(reader, b"E")
    assert source.read() == b""
    os.write(writer, b"a\nb")
    assert source.read().endswith(b" E a\n")
    os.close(writer)
    assert source.read().endswith(b" e b\n")
    assert source.fileno() == -1
    assert source.close() == b""


def test_the_last_of_the_disk_is_not_for_logs(tmp_path):
    with disks.mounted(tmp_path / "disk", "-o", "size=8m") as disk:
        file = log.LogFile(str(disk / "log"))
        file.append(b"x" * 10_000_000)
        assert file.blocked
        assert 3_500_000 < file.size < 4_500_000
        (disk / "log").write_bytes(b"")
        file.flush()
        (disk / "log").write_bytes(b"")
        file.flush()
        assert not file.blocked
        assert file.size == 10_000_000
        file.close()


def test_what_the_disk_has_no_room_for_is_kept(tmp_path):
    file = log.LogFile("/dev/full")
    file.append(b"one\n")
    file.append(b"two\n")
    assert file.blocked
    file.flush()
    assert file.blocked
    with open(tmp_path / "log", "wb") as room:
        os.dup2(room.fileno(), file._fd)
    file.flush()
    assert not file.blocked
    assert file.size == 8
    file.close()
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
