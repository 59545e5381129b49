"""The journal: its bytes, torn tails, damage."""

import gc
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tyger import errors
from tygerd.blocks import journal

HEADER = journal.Header(4096, bytes(range(16)))
RECORDS = [
    journal.Record(journal.BLOCK, n, 10 * n, 10, bytes([n]) * 16, bytes([n]) * 32) for n in range(5)
] + [journal.Record(journal.COMPLETE)]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "journal")


def filled(path, records=RECORDS):
    book = journal.Journal.create(path, HEADER)
    for record in records:
        book.append(record)
    return book


def test_what_was_appended_is_read_back(path):
    filled(path).close()
    book = journal.Journal.open(path)
    assert book.header == HEADER
    assert [book.record(n) for n in range(book.count)] == RECORDS
    assert book.last() == RECORDS[-1]
    assert book.record(len(RECORDS)) is None
    assert book.record(-1) is None
    book.close()


def test_a_journal_is_made_once(path):
    filled(path).close()
    with pytest.raises(FileExistsError):
        journal.Journal.create(path, HEADER)


def test_the_documented_sizes(path):
    filled(path).close()
    assert os.path.getsize(path) == 40 + 88 * len(RECORDS)


@given(st.integers(0, 40 + 88 * 6))
@settings(max_examples=60)
def test_a_torn_tail_is_not_seen_and_is_cut(tmp_path_factory, size):
    path = str(tmp_path_factory.mktemp("torn") / "journal")
    filled(path).close()
    os.truncate(path, size)
    if size < 40:
        with pytest.raises(FileNotFoundError):
            journal.Journal.open(path)
        return
    book = journal.Journal.open(path)
    assert book.count == (size - 40) // 88
    book.cut_tail()
    book.append(RECORDS[-1])
    assert book.last() == RECORDS[-1]
    assert os.path.getsize(path) == 40 + 88 * book.count
    book.close()


@pytest.mark.parametrize("size", [0, 8, 39])
def test_one_that_was_torn_before_its_header_was_whole_is_written_over(path, size):
    filled(path).close()
    os.truncate(path, size)
    book = filled(path)
    assert book.last() == RECORDS[-1]
    assert os.path.getsize(path) == 40 + 88 * len(RECORDS)
    book.close()


def test_damage_is_a_problem_with_a_name():
    assert journal.DamagedError("record 7 of the journal is damaged").kind is errors.CORRUPT


@given(st.integers(0, 39), st.integers(1, 255))
@settings(max_examples=60)
def test_a_damaged_header_is_refused(tmp_path_factory, position, flip):
    path = str(tmp_path_factory.mktemp("damaged") / "journal")
    filled(path).close()
    flip_byte(path, position, flip)
    with pytest.raises(journal.DamagedError):
        journal.Journal.open(path)


@given(st.integers(40, 40 + 88 * 3 - 1), st.integers(1, 255))
@settings(max_examples=60)
def test_a_damaged_record_is_never_read_as_good(tmp_path_factory, position, flip):
    path = str(tmp_path_factory.mktemp("damaged") / "journal")
    filled(path).close()
    flip_byte(path, position, flip)
    book = journal.Journal.open(path)
    with pytest.raises(journal.DamagedError, match="is damaged"):
        book.record((position - 40) // 88)
    book.close()


def flip_byte(path, position, flip):
    with open(path, "r+b") as file:
        file.seek(position)
        (old,) = file.read(1)
        file.seek(position)
        file.write(bytes([old ^ flip]))


def test_a_full_disk_adds_nothing(path):
    book = filled(path)
    full = os.open("/dev/full", os.O_RDWR)
    before, whole = book.count, os.dup(book.fd)
    os.dup2(full, book.fd)
    with pytest.raises(OSError, match=r"No space left|Invalid argument"):
        book.append(RECORDS[0])
    assert book.count == before
    os.dup2(whole, book.fd)
    book.append(RECORDS[0])
    assert book.record(before) == RECORDS[0]
    for fd in (full, whole):
        os.close(fd)
    book.close()


def test_one_that_cannot_be_counted_is_closed_once(path, monkeypatch):
    """A failing disk: the number must not be closed again when it is somebody else's."""
    filled(path).close()
    closed = []
    real = os.close
    monkeypatch.setattr(journal.Journal, "refresh", lambda _: os.open("/nonexistent", 0))
    monkeypatch.setattr(os, "close", lambda fd: (closed.append(fd), real(fd)))
    with pytest.raises(FileNotFoundError):
        journal.Journal.open(path)
    gc.collect()
    assert len(closed) == 1
