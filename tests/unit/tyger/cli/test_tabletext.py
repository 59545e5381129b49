"""Columns, their widths on a terminal, ages."""

import datetime as dt

import pytest

from tyger.cli import fields, tabletext

NOW = dt.datetime(2026, 1, 31, 12, 0, 0, tzinfo=dt.UTC)

RUN = {
    "id": 7,
    "status": "Failed",
    "statusReason": "Main exited\nwith code 3",
    "createdAt": "2026-01-31T10:59:00Z",
    "startedAt": "2026-01-31T10:59:30.5+00:00",
    "finishedAt": "2026-01-31T11:00:00.5Z",
    "job": {"codespec": "recon/versions/2"},
    "tags": {"b": "2", "a": "1"},
}


def table(kind, *values, limit=None):
    return list(tabletext.Layout(tabletext.COLUMNS[kind], limit).lines(values, NOW))


def test_runs():
    assert table(fields.RUN, RUN, {"id": 10, "status": "Pending", "createdAt": "2026-01-31T12:00:01Z"}) == [
        "ID  STATUS   AGE  TOOK  CODESPEC  TAGS     REASON",
        "7   Failed   1h   30s   recon:2   a=1,b=2  Main exited with code 3",
        "10  Pending  0s",
    ]


def test_a_run_that_goes_on_and_one_without_a_name():
    going = RUN | {"finishedAt": None, "job": {"codespec": {"image": "host"}}, "tags": {}, "statusReason": ""}
    assert table(fields.RUN, going)[1] == "7   Failed  1h   1h    host"


def test_buffers():
    buffers = [
        {"id": "x" * 26, "createdAt": "2026-01-28T12:00:00Z", "location": "local", "tags": {"k": "v"}},
        {"id": "y" * 26, "createdAt": "2023-01-28T12:00:00Z", "expiresAt": "2026-02-02T12:00:00Z"},
        {"id": "z" * 26, "createdAt": "so so", "expiresAt": "2026-01-30T12:00:00Z"},
    ]
    assert [line.split() for line in table(fields.BUFFER, *buffers)[1:]] == [
        ["x" * 26, "3d", "local", "k=v"],
        ["y" * 26, "3y", "in", "2d"],
        ["z" * 26, "over"],
    ]


def test_codespecs_and_accounts():
    codespec = {"name": "c", "version": 2, "kind": "job", "image": "i", "buffers": {"inputs": ["a", "b"]}}
    assert table(fields.CODESPEC, codespec)[1].split() == ["c", "2", "job", "a,b", "i"]
    assert table(fields.STORAGE_ACCOUNT, {"name": "n", "location": "l", "endpoint": "e"})[1].split() == [
        "n",
        "l",
        "e",
    ]


def test_every_column_of_every_table_stands_without_its_value():
    for kind in tabletext.COLUMNS:
        assert len(table(kind, {})) == 2


def test_a_terminal_is_not_left():
    long = RUN | {"tags": {"t": "x" * 100}, "statusReason": "y" * 60}
    lines = table(fields.RUN, long, limit=80)
    assert max(map(tabletext.columns_of, lines)) <= 80
    assert lines[1].count("…") == 2
    assert "yyyyyyy…" in lines[1]
    assert max(map(tabletext.columns_of, table(fields.RUN, long, limit=20))) <= 20


def test_wide_characters_take_two_columns():
    assert tabletext.columns_of("日本") == 4
    assert tabletext.columns_of("e\u0301") == 1
    assert tabletext.cut("日本語", 5) == "日本…"
    lines = table(
        fields.STORAGE_ACCOUNT, {"name": "日本", "location": "l"}, {"name": "abcd", "location": "l"}
    )
    assert [tabletext.columns_of(line) for line in lines[1:]] == [7, 7]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (86400, "1d"), (366 * 86400, "1y")],
)
def test_spans(seconds, shown):
    assert tabletext.span(seconds) == shown


def test_one_object_as_lines():
    value = {"a": 1, "b": {"c": True, "d": {}}, "e": [], "f": ["x", "y"], "g": [{"h": 1, "i": None}, "j k"]}
    assert list(tabletext.flat(value)) == [
        ("a", "1"),
        ("b.c", "yes"),
        ("b.d", "none"),
        ("e", "none"),
        ("f", "x, y"),
        ("g", "h 1"),
        ("g", "j k"),
    ]
    hostile = {"tags": {"\x1b[31m\nid": "x", "\x00": {"\r": "y"}}}
    assert [name for name, _ in tabletext.flat(hostile)] == ["tags. [31m id", "tags. . "]
