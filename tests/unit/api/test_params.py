from datetime import timedelta

import pytest

from tyger import errors
from tygerd.api import params
from tygerd.http import messages


def query(*pairs):
    return messages.Fields(pairs)


def refused(call, *args):
    with pytest.raises(errors.Problem) as caught:
        call(*args)
    return caught.value.kind, caught.value.message


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("TRUE", True)])
def test_flags(text, value):
    assert params.flag(query(("watch", text)), "watch") is value
    assert params.soft_deleted(query(("softDeleted", text))) is value
    assert params.soft_deleted_or_any(query(("softDeleted", text))) is value


def test_absent_parameters():
    assert params.flag(query(), "watch") is False
    assert params.soft_deleted(query()) is False
    assert params.soft_deleted_or_any(query()) is None
    assert params.ttl(query()) is None
    assert params.limit(query()) == 20
    assert params.tags(query()) == {}


@pytest.mark.parametrize("text", ["", "1", "yes", "tru"])
def test_bad_flags(text):
    assert refused(params.flag, query(("watch", text)), "watch")[0] is errors.BAD_REQUEST
    assert refused(params.soft_deleted, query(("softDeleted", text))) == (
        errors.BAD_REQUEST,
        "softDeleted must be true or false",
    )
    assert params.soft_deleted_or_any(query(("softDeleted", text))) is None


@pytest.mark.parametrize(
    ("text", "span"),
    [("0", timedelta(0)), (" 5 ", timedelta(days=5)), ("1:30", timedelta(minutes=90)), ("-0", timedelta(0))],
)
def test_ttl(text, span):
    assert params.ttl(query(("ttl", text))) == span


@pytest.mark.parametrize("text", ["", "1.02", "-1", "x", "25:00"])
def test_bad_ttl(text):
    assert refused(params.ttl, query(("ttl", text))) == (
        errors.BAD_REQUEST,
        "ttl must be a valid, non-negative TimeSpan",
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("7", 7), (" 7 ", 7), ("+7", 7), ("2000", 2000), ("2001", 2000), ("2147483647", 2000)],
)
def test_limit(text, value):
    assert params.limit(query(("limit", text))) == value


@pytest.mark.parametrize("text", ["", "x", "1.0", "2147483648", "1" * 30, "\u0661", "1\n2"])
def test_a_limit_that_is_no_number(text):
    kind, message = refused(params.limit, query(("limit", text)))
    assert kind is errors.BAD_REQUEST
    assert "\n" not in message


def test_a_negative_limit():
    outcome = refused(params.limit, query(("limit", "-1")))
    assert outcome == (errors.INVALID_INPUT, "Limit must be a non-negative integer.")


def test_tags():
    pairs = [
        ("tag[a]", "1"),
        ("tag[a]", "2"),
        ("tag[A]", "3"),
        ("Tag[x]", "4"),
        ("tag[]", "5"),
        ("tag[b", "6"),
        ("excludeTag[c]", "7"),
        ("tag", "8"),
    ]
    assert params.tags(query(*pairs)) == {"a": "1", "A": "3", "": "5"}
    assert params.tags(query(*pairs), "excludeTag") == {"c": "7"}


def test_a_filter_of_too_many_tags():
    many = [(f"tag[k{i}]", "v") for i in range(201)]
    assert len(params.tags(query(*many[:-1], many[0]))) == 200
    assert refused(params.tags, query(*many)) == (
        errors.BAD_REQUEST,
        "no more than 200 tag parameters may be given",
    )
