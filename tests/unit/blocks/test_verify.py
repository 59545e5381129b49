"""Verification of blocks after a loss of power."""

import os

import pytest

from tygerd.blocks import container, journal, verify, writer

BLOCKS = [b"Hello", b", ", b"world", b"!" * 5000]


@pytest.fixture
def target(tmp_path):
    made = container.Container(str(tmp_path))
    into = writer.Writer.create(made, 8192)
    for number, data in enumerate(BLOCKS):
        fd = into.block_file(number)
        os.pwrite(fd, data, 0)
        into.seal(number, len(data), into.digest(fd, len(data)))
        os.close(fd)
    into.finish("complete")
    yield made
    made.close()


@pytest.mark.parametrize("start", range(6))
def test_good_blocks_are_good_from_anywhere(target, start):
    assert verify.first_bad_block(target, start) is None


def test_shipped_blocks_need_no_file(target):
    os.unlink(target.block_path(0))
    os.unlink(target.block_path(1))
    assert verify.first_bad_block(target, 2) is None
    assert verify.first_bad_block(target, 1) == (1, "its file is missing")
    assert verify.first_bad_block(target) == (0, "its file is missing")


def test_where_files_may_be_missing_the_others_are_checked(target):
    os.unlink(target.block_path(1))
    assert verify.first_bad_block(target, may_be_missing=True) is None
    os.truncate(target.block_path(2), 1)
    assert verify.first_bad_block(target, may_be_missing=True).number == 2


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: os.truncate(path, 3), "its file is shorter than it was: 3 of 5 bytes"),
        (lambda path: os.truncate(path, 0), "its file is shorter than it was: 0 of 5 bytes"),
        (lambda path: overwrite(path, 0, bytes(5)), "its bytes are not those that were sealed"),
        (lambda path: os.chmod(path, 0) or os.unlink(path) or os.mkdir(path), "cannot be read: Is a direct"),
    ],
)
def test_what_is_wrong_with_a_block_is_said(target, damage, why):
    damage(target.block_path(2))
    bad = verify.first_bad_block(target, 1)
    assert bad.number == 2
    assert why in bad.why
    assert verify.first_bad_block(target, 3) is None


def test_a_file_that_is_longer_is_no_fault(target):
    overwrite(target.block_path(2), 5, b"never sealed")
    assert verify.first_bad_block(target) is None


def test_damage_to_the_journal_is_named(target, tmp_path):
    overwrite(str(tmp_path / "journal"), 40 + 88 * 2 + 30, b"\xff\xff")
    assert verify.first_bad_block(target) == (2, "record 2 of the journal is damaged")
    assert verify.first_bad_block(target, 3) == (2, "record 2 of the journal is damaged")
    assert verify.first_bad_block(target, 4) is None


def test_a_journal_that_lost_shipped_blocks_is_named(target, tmp_path):
    target.close()
    os.truncate(tmp_path / "journal", 40 + 88 * 2)
    assert verify.first_bad_block(target, 2) is None
    assert verify.first_bad_block(target, 4) == (2, "the journal ends here, but 4 blocks were shipped")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"number": 7}, "is of another block"),
        ({"offset": 7}, "is of another block"),
        ({"chain": bytes(32)}, "its chain value does not follow"),
        ({"length": 0}, "it is empty, and its MD5 is not"),
    ],
)
def test_a_record_that_does_not_fit_is_named(target, tmp_path, change, why):
    wrong = journal.encode(target.book().record(1)._replace(**change))
    overwrite(str(tmp_path / "journal"), 40 + 88, wrong)
    bad = verify.first_bad_block(target)
    assert bad.number == 1
    assert why in bad.why


@pytest.mark.parametrize("header", [None, b"", b"short", bytes(40)])
def test_a_journal_that_is_gone_is_named(target, tmp_path, header):
    target.close()
    os.unlink(tmp_path / "journal")
    if header is not None:
        (tmp_path / "journal").write_bytes(header)
    bad = verify.first_bad_block(target, 3)
    assert bad.number == 3
    assert "journal" in bad.why


def overwrite(path, offset, data):
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, data, offset)
    os.close(fd)
