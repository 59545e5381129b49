"""How a file of tables is described and where a mistake in it is; `config` has the real tables."""

from typing import Annotated

import msgspec
import pytest

from tygerd import tables


class Red(tables.Table, frozen=True, tag_field="kind", tag="red"):
    """As a rose."""

    depth: Annotated[tables.Size, tables.Help(description="How deep.")] = tables.Size(1024)


class Blue(tables.Table, frozen=True, tag_field="kind", tag="blue"):
    """As the sea."""


class Inner(tables.Table, frozen=True):
    colour: Annotated[Red | Blue, tables.Help(description="Which.")]
    wait: Annotated[tables.Seconds, tables.Help(description="How long.")] = tables.Seconds(1)


class Perhaps(tables.Table, frozen=True):
    sure: Annotated[bool | None, tables.Help(description="Whether.")] = None
    marks: Annotated[dict[str, str], tables.Help(description="Which.")] = msgspec.field(
        default_factory=lambda: {"a": "b"}
    )


class Outer(tables.Table, frozen=True):
    inner: list[Inner] = msgspec.field(default_factory=list)
    own: Annotated[str | None, tables.Help(description="Its own.")] = None
    perhaps: Perhaps | None = None


def test_a_tables_own_keys_are_described_before_those_inside_it():
    found = [
        (option.table, option.name, option.notation, option.default) for option in tables.describe(Outer)
    ]
    assert found == [
        ("", "own", "text", None),
        ("inner", "wait", 'a duration such as 30, 0.5 or "1m30s"', "1"),
        ("inner.colour", "kind", '"red"', None),
        ("inner.colour", "depth", 'a size such as 4194304 or "4MiB"', '"1KiB"'),
        ("inner.colour", "kind", '"blue"', None),
        ("perhaps", "sure", "true or false", None),
        ("perhaps", "marks", "a table of texts", '{a = "b"}'),
    ]
    assert tables.tags(Red | Blue) == ["red", "blue"]


TEXT = """\
own = "x"
[[inner]]
colour = { kind = "red" }
[[inner]]
wait = 2
[inner.colour]
kind = "blue"
[[inner]]
"""


def test_the_line_of_a_key():
    lines = {
        "own": 1,
        "inner[0]": 2,
        "inner[0].colour": 3,
        "inner[0].colour.kind": 3,
        "inner[0].wait": 2,
        "inner[1].wait": 5,
        "inner[1].colour": 6,
        "inner[1].colour.kind": 7,
        "inner[2].colour": 8,
        "other": None,
    }
    assert {key: tables.line_of(TEXT, key) for key in lines} == lines


@pytest.mark.parametrize("name", ["", "a", "a.b.", "ä.example", "10.0.0.1", "fd00::1", "a_b"])
def test_a_host(name):
    assert tables.is_host(name)


@pytest.mark.parametrize("name", ["a..b", ".a", "x" * 64, "a\0b", "a\nb"])
def test_no_host(name):
    assert not tables.is_host(name)
