"""Blob names: the contract's worked examples, and the inverse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tygerd.blocks import names

EXAMPLES = {
    0: "00/000",
    1: "00/001",
    1024: "00/400",
    4095: "00/FFF",
    0x1000: "01/000",
    5000: "01/388",
    0x1FFF: "01/FFF",
    0x2000: "02/00/000",
    0x2010: "02/00/010",
    0x3FFF: "02/01/FFF",
    0x4000: "03/00/000",
    0x5321: "03/01/321",
    0x7FFF: "03/03/FFF",
    100000: "05/08/6A0",
    0xFFFFF: "08/7F/FFF",
    1000000: "08/74/240",
    0x100000: "09/00/000",
    0x1FFFFF: "09/FF/FFF",
    0x200000: "0A/00/00/000",
    0x3FFFFF: "0A/01/FF/FFF",
    0x10000000: "11/00/00/000",
    0x10102345: "11/01/02/345",
    0x1FFFFFFF: "11/FF/FF/FFF",
    0x20000000: "12/00/00/00/000",
    0x3FFFFFFF: "12/01/FF/FF/FFF",
    2**40: "1D/00/00/00/00/000",
}


@pytest.mark.parametrize(("number", "name"), EXAMPLES.items())
def test_worked_examples(number, name):
    assert names.block_name(number) == name


@given(st.integers(0, 2**62))
def test_a_name_leads_back_to_its_number(number):
    assert names.block_number(names.block_name(number)) == number


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_names_sort_as_numbers_do(one, other):
    assert (names.block_name(one) < names.block_name(other)) == (one < other)


@pytest.mark.parametrize(
    "name", ["", "00", "00/00", "0/000", "00/00G", "00/0000", "01/00/000", ".bufferend", "00/fff", "FF/000"]
)
def test_what_is_no_block_has_no_number(name):
    assert names.block_number(name) is None


@pytest.mark.parametrize("count", [0, 1, 4096, 4097, 3 * 4096, 3 * 4096 + 1, 300 * 4096])
def test_the_directories_of_blocks_parents_first_each_once(count):
    found = list(names.directories(count))
    assert len(found) == len(set(found))
    wanted = {names.block_name(number).rpartition("/")[0] for number in range(0, count, 4096)}
    assert wanted <= set(found)
    for path in found:
        parent = path.rpartition("/")[0]
        assert not parent or found.index(parent) < found.index(path)
        assert path in wanted or any(leaf.startswith(path + "/") for leaf in wanted)
