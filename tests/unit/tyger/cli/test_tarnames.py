"""Names and links that an archive may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tyger.cli import tarnames


@pytest.mark.parametrize(
    ("name", "found"),
    [("a/b", ("a", "b")), ("./a//b/.", ("a", "b")), (".", ()), ("...", ("...",)), ("a..b", ("a..b",))],
)
def test_names(name, found):
    assert tarnames.parts(name) == found


@pytest.mark.parametrize(
    "name",
    ["/a", "..", "a/../b", "../a", "a\0b", ".tyger-incomplete", "./.tyger-incomplete/x", "a/.tyger-part/b"][
        :
    ],
)
def test_names_that_are_refused(name):
    with pytest.raises(tarnames.RefusedError):
        tarnames.parts(name)


@pytest.mark.parametrize(
    ("name", "target"), [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a", "./b/./c"), ("a", "..b")]
)
def test_links(name, target):
    assert tarnames.bad_link(tarnames.parts(name), target) is None


@pytest.mark.parametrize(
    ("name", "target"),
    [("a", "/etc/passwd"), ("a", ".."), ("a/b", "../../c"), ("a", "b/../../c"), ("a", "b/.."), ("a", "")],
)
def test_links_that_are_refused(name, target):
    assert tarnames.bad_link(tarnames.parts(name), target) is not None


@given(st.integers(-(10**18), 10**18))
def test_times(nanoseconds):
    assert tarnames.nanoseconds(tarnames.seconds(nanoseconds)) == nanoseconds


def test_times_of_others():
    assert tarnames.nanoseconds("1.25") == 1_250_000_000
    assert tarnames.nanoseconds("1.1234567899") == 1_123_456_789
    assert tarnames.nanoseconds("1e9") is None
    assert tarnames.nanoseconds("") is None


def test_a_name_on_one_line():
    assert tarnames.shown("a b") == "a b"
    assert tarnames.shown("a\nb\udcff") == "a\\nb\\xff"
