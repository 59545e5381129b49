"""What rows share says of parameters what their readers accept."""

import re

import pytest

from tyger import errors
from tygerd.api import described, params, routes
from tygerd.http import messages


def accepted(name, value, reader):
    try:
        reader(messages.Fields([(name, value)]))
    except errors.Problem:
        return False
    return True


@pytest.mark.parametrize("value", ["0", "20", "2000", str(2**31 - 1)])
def test_limits_within_the_bounds_are_read(value):
    schema = described.PAGE["limit"].schema
    assert schema["minimum"] <= int(value) <= schema["maximum"]
    assert accepted("limit", value, params.limit)


@pytest.mark.parametrize("value", ["-1", str(2**31)])
def test_limits_beyond_them_are_not(value):
    schema = described.PAGE["limit"].schema
    assert not schema["minimum"] <= int(value) <= schema["maximum"]
    assert not accepted("limit", value, params.limit)


def names_in_paths():
    return {
        (route.path.split("/")[1], name)
        for route in routes.ROUTES
        for name in re.findall(r"\{(\w+)", route.path)
    }


def test_every_name_in_a_path_is_described_and_no_other():
    assert names_in_paths() == set(described.NAMES)


@pytest.mark.parametrize(
    ("noun", "name", "value"),
    [
        ("buffers", "id", "yf4sx2aqzitepjhmxjhanomn5e"),
        ("codespecs", "name", "a.b-c_1"),
        ("containers", "container", "yf4sx2aqzitepjhmxjhanomn5e"),
        ("transfers", "id", "0123456789abcdef" * 2),
    ],
)
def test_what_we_name_things_is_what_is_described(noun, name, value):
    assert re.search(described.in_path(f"/{noun}", name).schema["pattern"], value)


def test_the_default_is_what_is_read_without_one():
    assert described.PAGE["limit"].schema["default"] == params.limit(messages.Fields())
    assert described.flag("").schema["default"] is params.flag(messages.Fields(), "watch")


@pytest.mark.parametrize("value", described.span("").schema["examples"])
def test_examples_of_spans_are_spans(value):
    assert accepted("ttl", value, params.ttl)


def test_tags_are_written_as_maps_in_brackets():
    parameter = described.with_tags("these")
    assert parameter.deep
    assert parameter.schema["additionalProperties"] == {"type": "string"}
