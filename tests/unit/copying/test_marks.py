import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tyger import errors
from tygerd.copying import marks

KEYS = st.text("abAB01-_.", min_size=1, max_size=8)
VALUES = st.text("abAB01-_. \r\n\x00ü\U0001f600", max_size=8)


@given(st.dictionaries(KEYS, VALUES, max_size=10))
def test_tags_come_back(tags):
    made = marks.labels(tags)
    assert marks.is_exported(made)
    assert marks.tags(made) == tags
    # As a server that lowers the names of headers gives them.
    assert marks.tags({name.lower(): value for name, value in made.items()}) == tags
    assert all(
        name.isidentifier() and value.isascii() and value.isprintable() for name, value in made.items()
    )
    assert all(value and value == value.strip() for value in made.values())


def test_as_the_contract_writes_them():
    assert marks.labels({"series": "7"}) == {
        "tyger_exported_buffer_status": "exported",
        "tyger_custom_tag_series": "7",
    }


def test_those_of_another_program():
    found = {"tyger_exported_buffer_status": "exported", "tyger_custom_tag_Case": "x", "other": "y"}
    assert marks.tags(found) == {"Case": "x"}


@pytest.mark.parametrize(
    "packed",
    [
        "!",
        *(
            base64.b64encode(text).decode()
            for text in (b"[1]", b'{"a":1}', b'{"a":"\\ud800"}', b'{"\\udfff":""}', b"[" * 5900)
        ),
    ],
    ids=["no base64", "a list", "a number", "half a pair", "half a pair as key", "deep"],
)
def test_a_pack_that_is_none_of_ours(packed):
    assert marks.tags({"tyger_tags": packed, "tyger_custom_tag_a": "b"}) == {"a": "b"}


@pytest.mark.parametrize("found", [{}, {"tyger_exported_buffer_status": "started"}])
def test_what_is_not_exported(found):
    assert not marks.is_exported(found)


def test_more_than_there_is_room_for():
    with pytest.raises(errors.Problem, match="has room for 8192"):
        marks.labels({f"key{number}": "x" * 256 for number in range(40)})
