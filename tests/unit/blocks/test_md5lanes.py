"""MD5 of several blocks at once: the same digests as hashlib's, whatever is given together."""

import errno
import hashlib
import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tygerd.blocks import chain, md5lanes

needs_library = pytest.mark.skipif(
    md5lanes.FOUND is None, reason="NOT BUILT: tygerd/blocks/libmd5lanes.so (./just setup), or no AVX2"
)

# About a block of MD5 (64 bytes, of which the length takes 8 and the padding one at least), about a piece
# that is read at a time (32 KiB), and anything.
LENGTHS = st.one_of(
    st.sampled_from([0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 121, 127, 128, 129]),
    st.integers(32 * 1024 - 66, 32 * 1024 + 66),
    st.integers(0, 100_000),
)


def content(length: int, seed: int) -> bytes:
    return (hashlib.sha256(seed.to_bytes(8)).digest() * (length // 32 + 1))[:length]


def file_of(data: bytes) -> int:
    with tempfile.TemporaryFile() as file:
        file.write(data + b"what is behind the block")
        file.flush()
        return os.dup(file.fileno())


@needs_library
@settings(deadline=None)
@given(st.lists(st.tuples(LENGTHS, st.booleans()), min_size=1, max_size=40))
def test_any_blocks_together_have_the_digests_that_they_have_alone(wanted):
    contents = [content(length, number) for number, (length, _) in enumerate(wanted)]
    blocks = [
        (file_of(data), len(data)) if is_file else memoryview(bytearray(data))
        for data, (_, is_file) in zip(contents, wanted, strict=True)
    ]
    try:
        assert chain.digests(blocks, md5lanes.FOUND) == [hashlib.md5(data).digest() for data in contents]
        assert chain.digests(blocks, None) == [hashlib.md5(data).digest() for data in contents]
    finally:
        for block in blocks:
            if isinstance(block, tuple):
                os.close(block[0])


@pytest.mark.parametrize("lanes", [pytest.param(md5lanes.FOUND, marks=needs_library), None])
def test_megabytes_of_different_lengths(lanes):
    lengths = (3_000_000, 1 << 20, (1 << 20) + 1, 17, 2_345_678, *range(70_000, 71_000, 90))
    contents = [content(length, length) for length in lengths]
    files = [file_of(data) for data in contents]
    try:
        blocks = [(fd, len(data)) for fd, data in zip(files, contents, strict=True)]
        assert chain.digests(blocks, lanes) == [hashlib.md5(data).digest() for data in contents]
    finally:
        for fd in files:
            os.close(fd)


@pytest.mark.parametrize("lanes", [pytest.param(md5lanes.FOUND, marks=needs_library), None])
def test_a_block_that_cannot_be_read_spoils_no_other(lanes):
    good = file_of(b"good" * 50_000)
    reader, writer = os.pipe()
    try:
        found = chain.digests([(good, 200_000), (reader, 5), (good, 300_000), (good, 4)], lanes)
    finally:
        for fd in (good, reader, writer):
            os.close(fd)
    assert found[0] == hashlib.md5(b"good" * 50_000).digest()
    assert isinstance(found[1], OSError)
    assert found[1].errno == errno.ESPIPE
    assert isinstance(found[2], EOFError)
    assert found[3] == hashlib.md5(b"good").digest()


def test_the_position_of_a_file_is_left_alone():
    fd = file_of(b"x" * 1000)
    try:
        os.lseek(fd, 7, os.SEEK_SET)
        chain.digests([(fd, 1000), (fd, 1000)])
        assert os.lseek(fd, 0, os.SEEK_CUR) == 7
    finally:
        os.close(fd)


def test_without_the_library_there_is_hashlib(tmp_path, caplog):
    assert md5lanes.load(str(tmp_path / "missing.so")) is None
    assert not caplog.messages
    (tmp_path / "broken.so").write_text("not a library")
    assert md5lanes.load(str(tmp_path / "broken.so")) is None
    assert "hashing is slower" in caplog.text
