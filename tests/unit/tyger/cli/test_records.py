"""Log records, contract cli.md 1.3."""

import json
import time

import pytest

from tyger.cli import records


@pytest.fixture(params=["Etc/GMT-1", "UTC", "America/St_Johns"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


NOVEMBER = 1_795_411_822 * 10**9  # 2026-11-23T05:30:22Z


def test_the_contract_s_plain_example():
    values = {"runId": 7, "status": "Running", "runningCount": 1}
    shown = records.text("2026-11-23T06:30:22.352+01:00", "info", "Run status changed", values, colours=False)
    assert shown == (
        "2026-11-23T06:30:22.352+01:00 INF Run status changed runId=7 runningCount=1 status=Running"
    )


def test_the_contract_s_json_example():
    values = {"runId": 7, "status": "Running"}
    shown = records.as_json("2026-11-23T06:30:22.352107364+01:00", "info", "Run status changed", values)
    assert shown == (
        '{"level":"info","runId":7,"status":"Running","time":"2026-11-23T06:30:22.352107364+01:00",'
        '"message":"Run status changed"}'
    )


def test_a_record_without_message():
    assert records.text("T", "error", "", {"error": "x y"}, colours=False) == 'T ERR error="x y"'
    assert records.as_json("T", "error", "", {"a": 1}) == '{"level":"error","a":1,"time":"T"}'


def test_fields_are_sorted_and_the_error_comes_first():
    values = {"b": 1, "a": 2, "error": "e", "B": 3}
    assert records.text("T", "warn", "m", values, colours=False) == "T WRN m error=e B=3 a=2 b=1"


@pytest.mark.parametrize(
    ("level", "mark"),
    [
        ("trace", "TRC"),
        ("debug", "DBG"),
        ("info", "INF"),
        ("warn", "WRN"),
        ("error", "ERR"),
        ("fatal", "FTL"),
    ],
)
def test_levels(level, mark):
    assert records.text("T", level, "m", {}, colours=False) == f"T {mark} m"
    assert f'"level":"{level}"' in records.as_json("T", level, "m", {})


def test_colours():
    assert records.text("T", "info", "m", {"a": 1}, colours=True) == (
        "\x1b[90mT\x1b[0m \x1b[32mINF\x1b[0m \x1b[1mm\x1b[0m \x1b[36ma=\x1b[0m1"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "a"),
        ("", ""),
        ("a=b,c/[d]{e}'f", "a=b,c/[d]{e}'f"),
        ("a b", '"a b"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ("ü", '"ü"'),
        ("\x1b[1m\n", '"\\x1b[1m\\n"'),
        ("\x7f", '"\\x7f"'),
        ("\udcff", '"\\xff"'),
        (7, "7"),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        (["a", "b c"], '["a","b c"]'),
    ],
)
def test_values(value, shown):
    assert records.value(value) == shown


@pytest.mark.parametrize("value", ['<a>&"\\', "\x00\x1f\x7f", "ü\u2028", "\udcff"])
def test_json_is_json_whatever_the_value(value):
    shown = records.as_json("T", "info", "m", {"v": value})
    assert json.loads(shown)["v"] == value.replace("\udcff", "\ufffd")
    assert "\x7f" not in shown
    shown.encode()


def test_local_time(zone):
    offset = {"Etc/GMT-1": ("06:30:22", "+01:00"), "UTC": ("05:30:22", "Z")}.get(zone, ("02:00:22", "-03:30"))
    clock, sign = offset
    assert records.milliseconds(NOVEMBER + 352_107_364) == f"2026-11-23T{clock}.352{sign}"
    assert records.milliseconds(NOVEMBER) == f"2026-11-23T{clock}.000{sign}"
    assert records.all_digits(NOVEMBER + 352_107_364) == f"2026-11-23T{clock}.352107364{sign}"
    assert records.all_digits(NOVEMBER + 352_100_000) == f"2026-11-23T{clock}.3521{sign}"
    assert records.all_digits(NOVEMBER) == f"2026-11-23T{clock}{sign}"
