"""The grammar of flag values, contract cli.md 1.4 and 1.5."""

import pytest

from tyger.cli import flags


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=b", [("a", "b")]),
        ("a=b,c", [("a", "b,c")]),
        ("a=b,c=d", [("a", "b"), ("c", "d")]),
        ("a=b=c", [("a", "b=c")]),
        ('"a=b"', [("a", "b")]),
        ('a=b,"c=d,e"', [("a", "b"), ("c", "d,e")]),
        ("a=", [("a", "")]),
        ("=x", [("", "x")]),
    ],
)
def test_map_flags(text, pairs):
    assert flags.parse_pairs(text) == pairs


@pytest.mark.parametrize(("text", "part"), [("a", "a"), ("a=b=c,d", "d"), ("", "")])
def test_map_flags_need_an_equals_sign(text, part):
    with pytest.raises(ValueError, match=f"^{part} must be formatted as key=value$"):
        flags.parse_pairs(text)


def test_repeats_merge_and_the_last_wins(tyger, daemon):
    tyger("buffer", "create", "--tag", "a=1", "--tag", "b=2,c=3", "--tag", "a=4")
    assert daemon.asked("POST", "/buffers")[0].body == {"tags": {"a": "4", "b": "2", "c": "3"}}


def test_statuses_in_any_case_listed_and_repeated(tyger, daemon):
    daemon.answers["GET", "/runs"] = (200, {"items": []})
    tyger("run", "list", "--status", "Running,failed", "--status", "FAILED")
    assert daemon.requests[0].query == [("limit", "1001"), ("status", "Running"), ("status", "Failed")]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["buffer", "create", "--ttl", "1.24"], "invalid TTL '1.24'"),
        (["run", "create", "--buffer-ttl", "3"], "invalid buffer TTL format: 3 (should be D.HH:MM)"),
        (["run", "create", "--timeout", "5"], "invalid duration '5'"),
        (["run", "exec", "--block-size", "0"], "a block has at least one byte"),
        (["run", "exec", "--flush-interval", "-1s"], "it cannot be negative"),
        (["run", "exec", "--read-dop", "0"], "it must be at least 1"),
        (["run", "list", "--limit", "many"], "'many' is not a whole number"),
        (["run", "list", "--since", "30m"], "failed to parse time 30m"),
        (["buffer", "gen", "10k"], "invalid size '10k'"),
        (["codespec", "create", "x", "--endpoint", "a=b"], "'b' is not a whole number"),
        (["codespec", "create", "x", "--endpoint", "a"], "a must be formatted as key=value"),
        (["codespec", "create", "x", "--input", '"a'], "unexpected end of data"),
    ],
)
def test_a_bad_value_says_why(tyger, arguments, why):
    done = tyger(*arguments)
    assert done.code == 64
    assert why in done.err.splitlines()[0]
