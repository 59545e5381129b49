import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tyger.cli import jsontext

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@settings(deadline=None)  # a busy machine
@given(values)
def test_it_is_the_text_of_the_standard_library(value):
    assert jsontext.pretty(value) == json.dumps(value, indent=2, ensure_ascii=False)


def test_lines_begin_as_they_are_told():
    assert jsontext.pretty({"a": [1, {}]}, "\n\t") == '{\n\t  "a": [\n\t    1,\n\t    {}\n\t  ]\n\t}'


@settings(deadline=None)
@given(st.lists(st.none() | st.booleans() | st.integers() | st.text() | st.just({"a": []}), max_size=5))
def test_a_long_list_is_the_same_text(some):
    many = [*some, {"list": some}] * jsontext.MANY
    assert jsontext.pretty(many, "\n ") == json.dumps(many, indent=2, ensure_ascii=False).replace("\n", "\n ")


def test_a_lone_surrogate_in_a_long_list():
    many = ["\ud800"] * jsontext.MANY
    assert json.loads(jsontext.pretty(many)) == many


@pytest.mark.parametrize("size", [1, jsontext.LONG])
@pytest.mark.parametrize("value", [{"a": [1, -2.5, "ä\n", None, True]}, {"big": 1 << 70, "tiny": 1e-300}])
def test_a_text_is_read_as_json_reads_it(value, size):
    jsontext.prepare()
    text = json.dumps(value).encode() + b" " * size
    assert jsontext.loads(text) == value


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b"\xff", b"{" + b" " * jsontext.LONG])
def test_what_is_no_json(text):
    with pytest.raises(ValueError):  # noqa: PT011 - its words are the library's
        jsontext.loads(text)


def test_what_json_takes_beyond_the_standard():
    assert jsontext.loads(b"[Infinity" + b" " * jsontext.LONG + b"]") == [float("inf")]


@pytest.mark.parametrize("known", [True, False])
def test_a_page(known, monkeypatch):
    if not known:
        monkeypatch.delitem(sys.modules, "msgspec", raising=False)
    else:
        jsontext.prepare()
    page = jsontext.page(b'{"items": [{"id": 1}, {"id": 2}], "nextLink": "/x?y", "more": {}}')
    assert (page.link, page.items()) == ("/x?y", [{"id": 1}, {"id": 2}])
    last = jsontext.page(b'{"items": []}')
    assert (last.link, last.items()) == (None, [])
    assert jsontext.page(b"{}").items() == []
    with pytest.raises(ValueError, match="not a list"):
        jsontext.page(b'{"items": 5}').items()
    for text in (b"[]", b"{", b'{"items": [}'):
        with pytest.raises(ValueError):  # noqa: PT011 - its words are the library's
            jsontext.page(text).items()
