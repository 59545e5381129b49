"""A container as readers and the data plane see it; its writer; recovery."""

import concurrent.futures
import contextlib
import errno
import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tyger import errors
from tygerd.blocks import chain, container, journal, names, writer


@pytest.fixture
def target(tmp_path):
    made = container.Container(str(tmp_path))
    yield made
    made.close()


def put_block(target, number, data):
    """What capture does: fill the block's file."""
    fd = target.block_file(number)
    try:
        os.pwrite(fd, data, 0)
        return target.digest(fd, len(data))
    finally:
        os.close(fd)


def write_blocks(into, blocks):
    for data in blocks:
        into.seal(into.next_number, len(data), put_block(into, into.next_number, data))


def stream(source):
    """All bytes that the container's journal names, checked as a reader of the format would."""
    data, value, number = b"", chain.INITIAL, 0
    while (block := source.block(number)) is not None:
        value = chain.following(value, block.md5)
        assert block.chain == value
        if block.length == 0:
            return data, True
        with open(block.path, "rb") as file:
            piece = file.read()
        assert len(piece) == block.length
        assert hashlib.md5(piece).digest() == block.md5
        data += piece
        number += 1
    return data, False


def test_an_empty_container_has_nothing(target):
    assert target.book() is None
    assert not target.started()
    assert target.end() is None
    assert target.block(0) is None
    assert target.blob(names.START) is None
    assert target.find(0) == (0, 0)


def test_a_captured_stream_as_blobs(target):
    into = writer.Writer.create(target, 4096)
    write_blocks(into, [b"Hello"])
    assert target.blob(names.START).data == b'{"version":"0.3.0"}'
    assert target.blob(names.END) is None
    into.finish("complete")
    first, last = target.blob("00/000"), target.blob("00/001")
    assert first.length == 5
    assert first.meta == {"cumulative_hash_chain": "Be2sTc2k0VLW0/rZazR8uFCREuD5k1d9OtCAk14ns4U="}
    fd = first.open()
    assert os.read(fd, 10) == b"Hello"
    os.close(fd)
    assert (last.length, last.path, last.data) == (0, None, b"")
    assert last.meta == {"cumulative_hash_chain": "LV4PrI5mIT9mYkXErCiaIwlu8B8xxyHjH0UKfSKNt2w="}
    assert target.blob(names.END).data == b'{"status":"complete"}'
    assert target.blob("00/002") is None
    assert target.blob("other") is None
    assert target.end() == "complete"


def test_the_markers_md5_is_the_contracts(target):
    into = writer.Writer.create(target, 4096)
    into.finish("failed", "why not")
    assert target.blob(names.START).md5.hex() == "8d197abfeb5d5f945b7ec78756d5570f"
    assert target.blob(names.END).data == b'{"status":"failed"}'
    assert target.failure() == "why not"


def test_a_buffer_is_written_once(target):
    writer.Writer.create(target, 4096)
    with pytest.raises(errors.Problem, match="already written") as caught:
        writer.Writer.create(target, 4096)
    assert caught.value.kind is errors.CONFLICT


def test_finishing_again_the_same_way_is_fine_otherwise_not(target):
    into = writer.Writer.create(target, 4096)
    into.finish("complete")
    into.finish("complete")
    with pytest.raises(errors.Problem, match="already complete"):
        into.finish("failed", "late")
    assert stream(target) == (b"", True)


def test_blocks_are_sealed_in_order(target):
    into = writer.Writer.create(target, 4096)
    with pytest.raises(ValueError, match="before block 0"):
        into.seal(1, 5, bytes(16))


@given(
    blocks=st.lists(st.binary(min_size=1, max_size=50), max_size=8),
    sealed=st.integers(0, 8),
    torn=st.integers(0, 87),
    ended=st.booleans(),
)
@settings(max_examples=80)
def test_recovery_adopts_every_block_file_at_its_size(tmp_path_factory, blocks, sealed, torn, ended):
    """Whatever was sealed and wherever the journal was torn: the bytes on disk are the stream."""
    path = str(tmp_path_factory.mktemp("container"))
    before = container.Container(path)
    into = writer.Writer.create(before, 4096)
    write_blocks(into, blocks[:sealed])
    for number in range(into.next_number, len(blocks)):
        put_block(into, number, blocks[number])
    if ended and not blocks[sealed:]:
        into.finish("complete")
    before.close()
    if torn and not ended:
        with open(os.path.join(path, "journal"), "ab") as file:
            file.write(os.urandom(torn))

    after = container.Container(path)
    recovered = writer.Writer.recover(after)
    assert stream(after)[0] == b"".join(blocks)
    if after.end() is None:
        recovered.finish("complete")
    assert stream(after) == (b"".join(blocks), True)
    again = container.Container(path)
    assert writer.Writer.recover(again).sealed_bytes == len(b"".join(blocks))
    for each in (after, again):
        each.close()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.data())
@settings(max_examples=60)
def test_find_gives_the_block_that_holds_a_byte(tmp_path_factory, sizes, data):
    target = container.Container(str(tmp_path_factory.mktemp("container")))
    into = writer.Writer.create(target, 4096)
    write_blocks(into, [bytes(size) for size in sizes])
    if data.draw(st.booleans()):
        into.finish("complete")
    offset = data.draw(st.integers(0, sum(sizes) + 5))
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    expected = next((n for n in range(len(sizes)) if starts[n] <= offset < starts[n] + sizes[n]), len(sizes))
    assert target.find(offset) == (expected, sum(sizes[:expected]))
    target.close()


# --- blobs that were PUT ---------------------------------------------------------------------------------


def put(target, name, data, meta=None):
    fd, path = target.staging()
    os.write(fd, data)
    os.close(fd)
    try:
        target.publish(path, name, hashlib.md5(data).digest(), meta or {})
    finally:
        if os.path.exists(path):
            os.unlink(path)


def test_put_blobs_in_any_order_with_any_metadata(target):
    put(target, "00/001", b"", {"cumulative_hash_chain": "x"})
    put(target, "00/000", b"Hello", {"cumulative_hash_chain": "y", "other": "z"})
    put(target, ".bufferstart", b'{"version":"0.3.0"}', {"odd": "text"})
    assert target.started()
    blob = target.blob("00/000")
    assert (blob.length, blob.meta) == (5, {"cumulative_hash_chain": "y", "other": "z"})
    assert target.blob(".bufferstart").meta == {"odd": "text"}
    assert target.block(0).chain == "y"
    assert target.block(1).length == 0
    assert target.find(5) == (1, 5)
    assert target.end() is None
    put(target, ".bufferend", b'{"status":"complete"}')
    assert target.end() == "complete"


@pytest.mark.parametrize("left", [b"", b'{"file":', bytes(100)])
def test_what_a_loss_of_power_leaves_of_a_blob_is_named(target, tmp_path, left):
    put(target, "00/000", b"data")
    (tmp_path / "put" / "meta" / "00,000").write_bytes(left)
    with pytest.raises(journal.DamagedError, match="blob 00/000"):
        target.blob("00/000")


def test_a_reason_is_replaced_whole(target):
    target.set_failure("a longer one")
    target.set_failure("why", sync=True)
    assert target.failure() == "why"


def test_with_sync_blobs_and_failures_are_the_same(tmp_path):
    synced = container.Container(str(tmp_path), sync=True)
    put(synced, "00/000", b"first")
    with pytest.raises(FileExistsError):
        put(synced, "00/000", b"second")
    assert synced.mark_failed("why")
    again = container.Container(str(tmp_path), sync=True)
    put(again, "00/001", b"")
    assert (again.end(), again.failure(), again.block(0).length) == ("failed", "why", 5)


def test_a_stream_that_had_ended_well_can_fail_after_all(target):
    into = writer.Writer.create(target, 4096)
    into.finish("complete")
    target.fail("blocks were lost")
    target.fail("blocks were lost")
    assert (target.end(), target.failure()) == ("failed", "blocks were lost")


def test_a_blob_is_put_once_and_a_refused_put_leaves_nothing(target, tmp_path):
    put(target, "00/000", b"first")
    with pytest.raises(FileExistsError):
        put(target, "00/000", b"second")
    fd = target.blob("00/000").open()
    assert os.read(fd, 10) == b"first"
    os.close(fd)
    assert os.listdir(tmp_path / "staging") == []
    assert len(os.listdir(tmp_path / "put" / "data")) == 1


@pytest.mark.parametrize("call", ["link", "open"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_put_that_the_disk_refuses_leaves_nothing(target, tmp_path, monkeypatch, call, times):
    """Neither the bytes nor the draft of its name: a client repeats it for as long as the disk is full."""
    put(target, "00/000", b"there")
    real, calls = getattr(container.os, call), iter(range(10))

    def refuse(path, *rest, **more):
        if "staging" in str(path) and next(calls) == times - 1:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return real(path, *rest, **more)

    monkeypatch.setattr(container.os, call, refuse)
    if call == "open":  # the second one is that of the draft
        monkeypatch.setattr("builtins.open", refuse)
    with contextlib.suppress(OSError):
        put(target, "00/001", b"data")
    monkeypatch.undo()
    assert target.blob("00/001") is None
    assert os.listdir(tmp_path / "staging") == []
    assert len(os.listdir(tmp_path / "put" / "data")) == 1


def test_what_a_killed_daemon_was_receiving_is_removed(target, tmp_path):
    fd, path = target.staging()
    os.close(fd)
    fd, other = target.staging()
    os.close(fd)
    assert sorted(os.listdir(tmp_path / "staging")) == sorted(map(os.path.basename, (path, other)))
    put(container.Container(str(tmp_path)), "00/000", b"data")
    assert os.listdir(tmp_path / "staging") == []


def test_capture_and_put_exclude_each_other(target, tmp_path_factory):
    put(target, ".bufferstart", b"{}")
    with pytest.raises(errors.Problem, match="already written"):
        writer.Writer.create(target, 4096)
    other = container.Container(str(tmp_path_factory.mktemp("other")))
    writer.Writer.create(other, 4096)
    with pytest.raises(FileExistsError):
        put(other, "00/000", b"data")
    other.close()


@pytest.mark.parametrize("how", ["empty", "put", "captured"])
def test_marking_as_failed_is_create_only(target, how):
    if how == "put":
        put(target, ".bufferstart", b'{"version":"0.3.0"}')
    elif how == "captured":
        write_blocks(writer.Writer.create(target, 4096), [b"data"])
    assert target.mark_failed("the run was cancelled")
    assert target.end() == "failed"
    assert target.failure() == "the run was cancelled"
    assert not target.mark_failed("again")
    assert target.failure() == "the run was cancelled"


def test_a_complete_buffer_is_not_marked(target):
    writer.Writer.create(target, 4096).finish("complete")
    assert not target.mark_failed("too late")
    assert target.end() == "complete"


def test_a_damaged_record_is_an_error_for_readers(target, tmp_path):
    into = writer.Writer.create(target, 4096)
    write_blocks(into, [b"one", b"two"])
    with open(tmp_path / "journal", "r+b") as file:
        file.seek(40 + 30)
        file.write(b"\xff\xff")
    with pytest.raises(journal.DamagedError):
        target.block(0)


def test_threads_that_open_a_container_at_once_see_the_same_journal(target):
    writer.Writer.create(target, 4096)
    target.close()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        books = set(threads.map(lambda _: id(target.book()), range(64)))
    assert len(books) == 1
