"""MD5 and hash chain: the contract's vectors."""

import base64
import hashlib
import os

import pytest

from tygerd.blocks import chain


def test_vector_of_the_contract():
    first = hashlib.md5(b"Hello").digest()
    assert base64.b64encode(first) == b"ixqZU8RhEpaoJ6v4xHgE1w=="
    value = chain.following(chain.INITIAL, first)
    assert value == "Be2sTc2k0VLW0/rZazR8uFCREuD5k1d9OtCAk14ns4U="
    assert chain.following(value, chain.EMPTY_MD5) == "LV4PrI5mIT9mYkXErCiaIwlu8B8xxyHjH0UKfSKNt2w="


def test_empty_stream():
    assert chain.following(chain.INITIAL, chain.EMPTY_MD5) == "IBhjC6CulKsIAVImvFwU+NvluDHEN8fuYcdiV4ufDro="


def test_the_journal_keeps_32_bytes_of_a_value():
    value = chain.following(chain.INITIAL, chain.EMPTY_MD5)
    assert len(chain.to_bytes(value)) == 32
    assert chain.from_bytes(chain.to_bytes(value)) == value


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 1024 * 1024 + 1, 3 * 1024 * 1024 + 17])
def test_md5_of_a_file_leaves_its_position_alone(tmp_path, size):
    data = os.urandom(size)
    path = tmp_path / "block"
    path.write_bytes(data + b"more")
    with path.open("rb") as file:
        assert chain.file_md5(file.fileno(), size) == hashlib.md5(data).digest()
        assert file.tell() == 0


def test_a_short_file_is_an_error(tmp_path):
    path = tmp_path / "block"
    path.write_bytes(b"abc")
    with path.open("rb") as file, pytest.raises(EOFError):
        chain.file_md5(file.fileno(), 4)
