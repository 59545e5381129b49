"""A request in proxy form: the head that goes on, and the end of a body however it is cut."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tyger import errors, proxyform


def head(first, *lines):
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("url", "socket", "target"),
    [
        ("http+unix:///opt/tyger/api.sock:/metadata", "/opt/tyger/api.sock", b"/metadata"),
        ("http+unix:///s:/runs/7?watch=true&a=b%20c", "/s", b"/runs/7?watch=true&a=b%20c"),
        ("http+unix:///s:", "/s", b"/"),
        ("http+unix:///s", "/s", b"/"),
        ("http+unix:///s:?a=b", "/s", b"/?a=b"),
        ("HTTP+UNIX:///s:/x#f", "/s", b"/x"),
        ("http+unix://tyger-server/s:/a:b", "/s", b"/a:b"),
        ("http+unix:///a%20b%C3%A4:/x%2Fy", "/a bä", b"/x%2Fy"),
    ],
)
def test_where_a_request_goes(url, socket, target):
    request = proxyform.parse(head(f"GET {url} HTTP/1.1"))
    assert request.socket == socket
    assert request.head == b"GET " + target + b" HTTP/1.1\r\nHost: tyger-server\r\nConnection: Close\r\n\r\n"
    assert request.body.done


def test_headers_that_go_on():
    request = proxyform.parse(
        head(
            "PUT http+unix:///s:/x HTTP/1.1",
            "Host: unix----F5XXA5A",
            "content-length: 5",
            "Proxy-Connection: keep-alive",
            "CONNECTION: keep-alive",
            "X-Odd:  value \xe4",
            "Expect: 100-continue",
        )
    )
    assert request.head.decode("latin-1") == (
        "PUT /x HTTP/1.1\r\nHost: tyger-server\r\ncontent-length: 5\r\nX-Odd:  value \xe4\r\n"
        "Expect: 100-continue\r\nConnection: Close\r\n\r\n"
    )
    assert not request.body.done


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ("GET /metadata HTTP/1.1", "not in proxy form"),
        ("CONNECT host:443 HTTP/1.1", "not in proxy form"),
        ("GET http://host/ HTTP/1.1", "the scheme is http, not http\\+unix"),
        ("GET https+unix:///s:/ HTTP/1.1", "the scheme is https\\+unix"),
        ("GET http+unix://x HTTP/1.1", "names no socket"),
        ("GET http+unix:///s%00:/x HTTP/1.1", "names no socket"),
        ("GET http+unix:///s:/ HTTP/2.0", "no HTTP/1.1 request"),
        ("GET http+unix:///s:/a b HTTP/1.1", "no HTTP/1.1 request"),
        ("", "no HTTP/1.1 request"),
        ("\x16\x03\x01", "no HTTP/1.1 request"),
    ],
)
def test_what_is_none(first, why):
    with pytest.raises(errors.Problem, match=why) as caught:
        proxyform.parse(head(first))
    assert caught.value.kind is errors.INVALID_INPUT


def bodies():
    """The bytes of a chunked body, as h11 frames the pieces."""

    def frame(pieces):
        framing = h11.Connection(h11.CLIENT)
        framing.send(
            h11.Request(method="PUT", target="/", headers=[("Host", "x"), ("Transfer-Encoding", "chunked")])
        )
        sent = b"".join(framing.send(h11.Data(data=piece)) for piece in pieces)
        return sent + framing.send(h11.EndOfMessage(headers=[("A", "b")]))

    return st.lists(st.binary(min_size=1, max_size=300), max_size=5).map(frame)


def feed(body, data, sizes):
    """How many of the bytes were the body's, given in pieces of these sizes, over and over."""
    taken = at = 0
    while at < len(data) and not body.done:
        size = sizes[at % len(sizes)]
        taken += body.take(data[at : at + size])
        at += size
    return taken


@given(bodies(), st.binary(max_size=50), st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_the_end_of_chunks(sent, behind, sizes):
    body = proxyform.parse(head("PUT http+unix:///s:/ HTTP/1.1", "Transfer-Encoding: chunked")).body
    assert not body.done
    assert feed(body, sent + behind, sizes) == len(sent)
    assert body.done


@given(st.integers(1, 2000), st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_the_end_of_a_known_length(length, sizes):
    body = proxyform.parse(head("PUT http+unix:///s:/ HTTP/1.1", f"Content-Length: {length}")).body
    assert feed(body, bytes(length + 500), sizes) == length
    assert body.done


@pytest.mark.parametrize(
    "data", [b"zz\r\n", b"-1\r\n", b"\r\n", b"x" * (2 * proxyform.MAX_HEAD), b"f" * 16 + b"\n"]
)
def test_chunks_that_make_no_sense_end_it(data):
    body = proxyform.parse(head("PUT http+unix:///s:/ HTTP/1.1", "Transfer-Encoding: chunked")).body
    assert feed(body, data, [4096]) <= len(data)
    assert body.done


def test_the_answer_of_nobody():
    assert proxyform.unreachable("ENOENT") == (
        b"HTTP/1.1 502 Bad Gateway\r\nx-ms-error: ENOENT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    assert b"x-ms-error: a  b\r\n" in proxyform.unreachable("a\r\nb")
