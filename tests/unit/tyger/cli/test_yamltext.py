"""YAML that every reader takes for the same JSON."""

import json
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tyger.cli import yamltext

ODD = """
no|Yes|~|1|1.5|1e3|0x1F|010|1:30|2026-01-31|- a|a: b|#|a #b|'|"|\\|\n| a|a |a  b|<<|=|&a|*a|!t|%|@|`|{}|[]
"""
TEXTS = st.text() | st.sampled_from(
    [
        *ODD[1:-1].split("|"),
        "",
        "|",
        "\x85",
        "\u2028",
        "\ufeff",
        "\x7f",
        "\U0001f600",
        "?",
        "null",
        "y",
        "---",
        "...",
    ]
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_it_loads_back(value):
    loaded = yaml.safe_load(yamltext.dumps(value))
    assert loaded == value
    assert json.dumps(loaded) == json.dumps(value)  # 1 is not True is not 1.0


@settings(max_examples=20, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_items_make_a_sequence(values):
    assert yaml.safe_load("".join(map(yamltext.item, values))) == values


@pytest.mark.parametrize("value", [1e16, 1e-7, -2.5e300, 0.0, 1.0])
def test_floats_stay_floats(value):
    loaded = yaml.safe_load(yamltext.dumps(value))
    assert isinstance(loaded, float)
    assert math.isclose(loaded, value, abs_tol=0.0)


def test_what_a_person_sees():
    value = {"id": "abc", "tags": {"a": "1", "b c": "no"}, "empty": [], "list": ["x", {"k": None, "m": 1}]}
    assert yamltext.dumps(value) == (
        'id: abc\ntags:\n  a: "1"\n  b c: "no"\nempty: []\nlist:\n  - x\n  - k: null\n    m: 1\n'
    )
