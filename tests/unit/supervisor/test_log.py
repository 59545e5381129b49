"""Records of the log: whole lines, whatever the pieces they come in."""

from __future__ import annotations

import os

import hypothesis
import hypothesis.strategies as st

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
    texts = b""
    for record in records.split(b"\n")[:-1]:
        stamp, stream, text = record.split(b" ", 2)
        assert stamp == STAMP
        texts += text + (b"\n" if stream == b"O" else b"")
    assert texts == b"".join(pieces)


def test_an_endless_line_is_cut():
    lines = log.Lines(b"E", limit=4)
    assert lines.feed(b"abcdefghij", 0).replace(log.timestamp(0).encode() + b" ", b"") == b"E abcd\nE efgh\n"
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
