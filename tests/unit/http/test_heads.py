"""What is too much in a head, and what is said of what is none."""

import h11
import pytest

from tyger import errors
from tygerd.http import heads


def head(headers=(), target="/", version="1.1"):
    return h11.Request(method="GET", target=target, headers=[("Host", "x"), *headers], http_version=version)


@pytest.mark.parametrize(
    "fine",
    [
        head(),
        head(version="1.0"),
        head([("X", "y" * 60_000)]),
        head([("X", "y")] * 999),
        head(target="/" + "a" * 60_000),
    ],
)
def test_what_clients_send(fine):
    heads.check(fine)


@pytest.mark.parametrize(
    "long",
    [
        head([("X", "y" * heads.MAX_LENGTH)]),
        head([("X" * heads.MAX_LENGTH, "y")]),
        head([("X", "y" * 100)] * 900),
        head([("X", "y")] * 1000),
        head(target="/" + "a" * heads.MAX_LENGTH),
    ],
)
def test_what_is_too_long(long):
    with pytest.raises(errors.Problem, match="head is longer than 65536 bytes, or has more than 1000"):
        heads.check(long)


def test_another_version():
    with pytest.raises(errors.Problem, match="another version"):
        heads.check(head(version="2.0"))


def refused(data):
    framing = h11.Connection(h11.SERVER, max_incomplete_event_size=heads.MAX_LENGTH)
    framing.receive_data(data)
    with pytest.raises(h11.RemoteProtocolError) as caught:
        framing.next_event()
    return heads.refusal(caught.value)


def test_a_refusal_does_not_repeat_what_was_said():
    assert refused(b"GET /a b\xff HTTP/1.1\r\n\r\n").message == "this is not HTTP/1.1: illegal request line"
    assert (
        refused(b"GET / HTTP/1.1\r\n\r\n").message == "this is not HTTP/1.1: Missing mandatory Host: header"
    )


def test_a_head_that_does_not_end_is_too_long():
    assert "head is longer" in refused(b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000).message
