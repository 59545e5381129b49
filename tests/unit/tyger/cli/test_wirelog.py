"""Dumps, and the clock."""

import datetime as dt

import pytest

from tyger.cli import wirelog

NOW = dt.datetime(2026, 8, 22, 13, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ([], "?api-version=1.0"),
        ([("limit", "5"), ("tag[a]", "b")], "?api-version=1.0&limit=REDACTED&tag%5Ba%5D=REDACTED"),
        (
            [("writeable", "true"), ("sig", "secret")],
            "?api-version=1.0&writeable=true&sig=REDACTED",
        ),
    ],
)
def test_the_values_of_a_query_are_hidden(query, shown):
    assert wirelog.url("/run/t/s", "/buffers/a b", query) == f"http+unix:///run/t/s:/buffers/a%20b{shown}"


def test_an_answer_is_shown_as_it_came():
    headers = {"request-id": "7", "content-type": "application/json", "etag": "1"}
    assert wirelog.response(200, headers, b'{"a":"\xff"}') == (
        'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nEtag: 1\r\nRequest-Id: 7\r\n\r\n{"a":"\ufffd"}'
    )
    assert wirelog.response(404, {}, None) == "HTTP/1.1 404 Not Found\r\n\r\n"
    assert wirelog.response(299, {}, b"") == "HTTP/1.1 299\r\n\r\n"


@pytest.mark.parametrize(
    ("date", "skewed"),
    [
        ("Sat, 22 Aug 2026 13:30:00 GMT", False),
        ("Sat, 22 Aug 2026 13:45:00 GMT", False),
        ("Sat, 22 Aug 2026 13:45:01 GMT", True),
        ("Sat, 22 Aug 2026 13:14:59 GMT", True),
        ("Tue, 01 Jan 2019 00:00:60 GMT", True),
        ("Sat, 32 Aug 2026 13:30:00 GMT", False),
        ("Sat, 22 Aug 99999 13:30:00 GMT", False),
        ("yesterday", False),
        ("", False),
        (None, False),
    ],
)
def test_a_clock_that_is_far_off(date, skewed):
    assert wirelog.is_skewed(date, NOW) is skewed
