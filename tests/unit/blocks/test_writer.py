"""The writer of a container: its recovery against a model, over kills, losses of power, and damage."""

import hashlib
import itertools
import os
import pathlib
import shutil
import tempfile
import uuid
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tyger import errors
from tygerd.blocks import boot, chain, container, journal, verify, writer

EARLIER = f"{uuid.UUID(int=7)}\n"


@pytest.fixture
def target(tmp_path):
    made = container.Container(str(tmp_path))
    yield made
    made.close()


def fill(into, number, data, offset=0):
    """What capture does before it seals."""
    fd = into.block_file(number)
    try:
        os.pwrite(fd, data, offset)
    finally:
        os.close(fd)


def seal(into, number):
    fd = into.block_file(number)
    try:
        length = os.fstat(fd).st_size
        into.seal(number, length, into.digest(fd, length))
    finally:
        os.close(fd)


def add(into, *blocks):
    for data in blocks:
        number = into.next_number
        fill(into, number, data)
        seal(into, number)


def restart_machine(target):
    pathlib.Path(target.path, boot.FILE).write_text(EARLIER)


def reopened(target):
    """As the next daemon opens it."""
    target.close()
    return container.Container(target.path)


class Read(NamedTuple):
    """What a careful reader gets: blocks, then how it ended, or the number of the block that is damaged."""

    blocks: list[bytes]
    end: str | None
    damaged: int | None = None


def read(target):
    blocks, value = [], chain.INITIAL
    for number in itertools.count():
        try:
            block = target.block(number)
            if block is None or block.length == 0:
                return Read(blocks, target.end())
            piece = pathlib.Path(block.path).read_bytes()[: block.length]
        except (journal.DamagedError, OSError):
            return Read(blocks, None, number)
        value = chain.following(value, block.md5)
        if hashlib.md5(piece).digest() != block.md5 or block.chain != value:
            return Read(blocks, None, number)
        blocks.append(piece)
    raise AssertionError


# --- after a restart of the machine ------------------------------------------------------------------------


def test_what_the_journal_does_not_name_is_dropped_after_a_restart_of_the_machine(target):
    into = writer.Writer.create(target, 4096)
    add(into, b"one", b"two")
    fill(into, 2, bytes(4096))
    fill(into, 3, b"")
    restart_machine(target)
    assert writer.orphaned(target)
    after = reopened(target)
    again = writer.Writer.recover(after)
    assert again.orphaned
    assert (again.next_number, again.sealed_bytes) == (2, 6)
    assert not os.path.exists(after.block_path(2))
    assert not os.path.exists(after.block_path(3))
    with pytest.raises(journal.DamagedError, match="machine went down"):
        again.block_file(2)
    with pytest.raises(journal.DamagedError, match="machine went down"):
        again.finish("complete")
    again.finish("failed", "why")
    assert read(after) == Read([b"one", b"two"], "failed")
    assert not writer.orphaned(after)
    after.close()


def test_what_had_ended_is_not_orphaned(target):
    into = writer.Writer.create(target, 4096)
    add(into, b"one")
    into.finish("complete")
    restart_machine(target)
    assert not writer.orphaned(target)
    writer.Writer.recover(target).finish("complete")
    assert read(target) == Read([b"one"], "complete")


def test_what_was_not_begun_is_not_orphaned(target):
    assert not writer.orphaned(target)


def test_blocks_of_a_journal_that_was_lost_are_not_the_next_stream(target):
    add(writer.Writer.create(target, 4096), b"longer than the next")
    target.close()
    os.unlink(os.path.join(target.path, "journal"))
    into = writer.Writer.create(target, 4096)
    fill(into, 0, b"next")
    target.close()
    after = reopened(target)
    writer.Writer.recover(after)
    assert read(after) == Read([b"next"], None)
    after.close()


@pytest.mark.parametrize("left", [b"", b"tygerjnl", bytes(39)])
def test_a_journal_that_was_torn_before_its_header_was_whole_is_made_again(target, left):
    pathlib.Path(target.path, "journal").write_bytes(left)
    assert not target.started()
    add(writer.Writer.create(target, 4096), b"one")
    after = reopened(target)
    assert read(after) == Read([b"one"], None)
    after.close()


# --- syncing -----------------------------------------------------------------------------------------------
# Which syncs these are, and that they are enough, is tested in tests/crash/power/.


@pytest.mark.parametrize("outcome", ["complete", "failed"])
def test_a_synced_stream_is_the_same_stream(target, outcome):
    into = writer.Writer.create(target, 4096, sync=True)
    add(into, b"one", b"two")
    into.finish(outcome, "why")
    assert read(target) == Read([b"one", b"two"], outcome)
    assert boot.synced(target.path)


def test_directories_of_blocks_that_were_shipped_need_no_sync(target):
    into = writer.Writer.create(target, 4096, sync=True)
    add(into, b"one")
    shutil.rmtree(os.path.join(target.path, "blocks"))
    into.finish("complete")
    assert target.end() == "complete"


def test_a_daemon_with_another_setting_notes_it(target):
    add(writer.Writer.create(target, 4096), b"one", b"two")
    os.unlink(target.block_path(0))
    assert not boot.synced(target.path)
    writer.Writer.recover(target, sync=True)
    assert boot.synced(target.path)
    writer.Writer.recover(target)
    assert not boot.synced(target.path)
    assert not boot.changed(target.path)


# --- hashing -----------------------------------------------------------------------------------------------


def test_a_short_file_is_not_sealed(target):
    into = writer.Writer.create(target, 4096)
    fill(into, 0, b"abc")
    fd = into.block_file(0)
    with pytest.raises(EOFError):
        into.digest(fd, 4)
    os.close(fd)


# --- a model ------------------------------------------------------------------------------------------------


class Streams(RuleBasedStateMachine):
    """One container and its writer through random work, kills, losses of power and damage.

    The model is the stream's bytes: what was sealed, and what is out of the pipe and in block files.
    """

    def __init__(self):
        super().__init__()
        self.path = tempfile.mkdtemp(dir="/dev/shm")
        self.sealed = []
        self.filled = []
        self.end = None
        self.orphaned = False
        self.damaged = None
        """The first block that can't be read any more."""

    @initialize()
    def create(self):
        self.target = container.Container(self.path)
        self.writer = writer.Writer.create(self.target, 1 << 20)

    def teardown(self):
        self.target.close()
        shutil.rmtree(self.path)

    # what a capture does

    @precondition(lambda self: self.end is None and not self.orphaned and len(self.filled) < 4)
    @rule(data=st.binary(min_size=1, max_size=40))
    def fill_another_block(self, data):
        fill(self.writer, len(self.sealed) + len(self.filled), data)
        self.filled.append(data)

    @precondition(lambda self: self.filled)
    @rule(data=st.binary(min_size=1, max_size=40))
    def fill_more_of_it(self, data):
        fill(self.writer, len(self.sealed) + len(self.filled) - 1, data, len(self.filled[-1]))
        self.filled[-1] += data

    @precondition(lambda self: self.end is None and not self.orphaned and len(self.filled) < 4)
    @rule()
    def make_a_file_and_get_no_bytes(self):
        os.close(self.writer.block_file(len(self.sealed) + len(self.filled)))

    @precondition(lambda self: self.filled)
    @rule()
    def seal_the_next(self):
        seal(self.writer, len(self.sealed))
        self.sealed.append(self.filled.pop(0))

    @precondition(lambda self: not self.filled and not (self.orphaned and self.end is None))
    @rule()
    def complete(self):
        if self.end == "failed":
            with pytest.raises(errors.Problem, match="already failed"):
                self.writer.finish("complete")
        else:
            self.writer.finish("complete")
            self.end = "complete"

    @rule()
    def fail(self):
        if self.end == "complete":
            with pytest.raises(errors.Problem, match="already complete"):
                self.writer.finish("failed", "why")
        elif not self.filled:
            self.writer.finish("failed", "why")
            self.end = "failed"

    # what happens to it

    @rule(torn=st.binary(max_size=87), half_header=st.booleans())
    def kill(self, torn, half_header):
        """The process dies: what is in files is there; an append may have stopped in its middle."""
        self.target.close()
        if self.end is None:
            if half_header and torn:
                torn = journal.encode(journal.Record(journal.BLOCK, 99, 0, 5))[: len(torn)]
            with open(os.path.join(self.path, "journal"), "ab") as file:
                file.write(torn)
        self.recover()

    @rule(data=st.data(), kept=st.integers(0, 3))
    def lose_power(self, data, kept):
        """The machine dies: the journal's tail may be gone, and block files short, zeros or gone."""
        self.target.close()
        restart_machine(self.target)
        if self.end is None and self.damaged is None:
            self.lose_records(data.draw(st.integers(max(0, len(self.sealed) - kept), len(self.sealed))), data)
            numbers = range(len(self.sealed) + len(self.filled))
            for number in data.draw(st.sets(st.sampled_from(numbers), max_size=2)) if numbers else ():
                self.damage(number, data)
        self.recover()

    def lose_records(self, count, data):
        """Keep `count` records, and of the next some bytes, or zeros in their place."""
        size = 40 + 88 * count
        lost = 88 * (len(self.sealed) - count)
        os.truncate(os.path.join(self.path, "journal"), size + data.draw(st.integers(0, min(lost, 87))))
        with open(os.path.join(self.path, "journal"), "ab") as file:
            file.write(bytes(data.draw(st.integers(0, 200))))
        del self.sealed[count:]
        self.filled.clear()
        self.orphaned = True

    def damage(self, number, data):
        path = self.target.block_path(number)
        if not os.path.exists(path):
            return
        before = pathlib.Path(path).read_bytes()
        match data.draw(st.sampled_from(["gone", "short", "zeros"])):
            case "gone":
                os.unlink(path)
            case "short":
                os.truncate(path, len(before) // 2)
            case "zeros":
                pathlib.Path(path).write_bytes(bytes(len(before)))
        after = pathlib.Path(path).read_bytes() if os.path.exists(path) else None
        if number < len(self.sealed) and before[: len(self.sealed[number])] != after:
            self.damaged = number if self.damaged is None else min(number, self.damaged)

    def recover(self):
        self.target = container.Container(self.path)
        self.writer = writer.Writer.recover(self.target)
        if self.end is None and not self.orphaned:
            self.sealed += self.filled
            self.filled.clear()

    # what has to hold

    @invariant()
    def a_reader_gets_what_was_sealed_or_a_name_for_what_is_wrong(self):
        if not hasattr(self, "target"):
            return
        expected = Read(self.sealed, self.end)
        if self.damaged is not None:
            expected = Read(self.sealed[: self.damaged], None, self.damaged)
        for reader in (self.target, container.Container(self.path)):
            assert read(reader) == expected
            bad = verify.first_bad_block(reader)
            assert (bad and bad.number) == self.damaged
        reader.close()
        assert self.writer.next_number == len(self.sealed) + (self.end == "complete")
        assert self.writer.sealed_bytes == sum(map(len, self.sealed))

    @invariant()
    def any_byte_is_found(self):
        if hasattr(self, "target"):
            start = 0
            for number, block in enumerate(self.sealed):
                assert self.target.find(start) == (number, start)
                assert self.target.find(start + len(block) - 1) == (number, start)
                start += len(block)
            assert self.target.find(start) == (len(self.sealed), start)


Streams.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestStreams = Streams.TestCase
