"""The harness itself: it says what is written down, and notices whatever differs in an answer."""

import socket
import threading

import pytest

from tests.support import daemon, exchanges

COMMON = "Date: Sat, 28 Nov 2026 16:26:05 GMT\r\nRequest-Id: x:1\r\nTyger-Version: 1\r\n"
WRITTEN = """
    > GET /x
    < 200 OK
    < ETag: [[etag:etag]]
    <
    < {"etag":"[[etag]]"}
"""


def answer(headers="ETag: 12\r\n", body='{"etag":"12"}', status="200 OK", common=COMMON, length=None):
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\n{headers}{common}Content-Length: {size}\r\n\r\n{body}".encode()


def talked(reply, text=WRITTEN, **settings):
    """What was heard by one who answers `reply` to the first request, and the talk."""
    heard = []

    def serve(listening):
        sock, _ = listening.accept()
        with sock:
            heard.append(sock.recv(65536))
            sock.sendall(reply)

    with daemon.directory() as path, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path / "s"))
        listening.listen()
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            with exchanges.talk(str(path / "s")) as talk:
                for name, value in settings.items():
                    setattr(talk, name, value)
                talk.hold(text)
        finally:
            thread.join()
    return heard[0].decode(), talk


def test_what_is_said():
    said, talk = talked(answer())
    assert talk["etag"] == "12"
    head, _, body = said.partition("\r\n\r\n")
    first, host, *rest = head.split("\r\n")
    assert (first, body) == ("GET /x HTTP/1.1", "")
    assert host.startswith("Host: unix----")
    assert rest == [
        "User-Agent: Go-http-client/1.1",
        "Content-Type: application/json",
        "Accept-Encoding: gzip",
    ]


@pytest.mark.parametrize(
    ("request_text", "trace", "said"),
    [
        ("> POST /x", False, "Content-Length: 0\r\n"),
        ("> POST /x", True, "Transfer-Encoding: chunked\r\n"),
        ("> POST /x\n>\n> {}\n> ", True, "Content-Length: 3\r\n"),
        ("> GET /x\n> If-Match: 5\n> !Content-Type", False, "If-Match: 5\r\n"),
    ],
)
def test_how_requests_are_framed(request_text, trace, said):
    heard, _ = talked(answer(), WRITTEN.replace("> GET /x", request_text), trace=trace)
    assert said in heard
    assert heard.endswith(
        "\r\n\r\n{}\n" if "{}" in request_text else "0\r\n\r\n" if "chunked" in said else "\r\n\r\n"
    )
    assert ("Content-Type" in heard) is ("!Content-Type" not in request_text)


@pytest.mark.parametrize(
    "reply",
    [
        answer(status="201 Created"),
        answer(status="200 Fine"),
        answer(headers=""),
        answer(headers="Etag: 12\r\n"),
        answer(headers="ETag: 12\r\nETag: 12\r\n"),
        answer(headers='ETag: "12"\r\n'),
        answer(headers="ETag: 12\r\nContent-Type: text/plain\r\n"),
        answer(common=COMMON.replace("Request-Id", "X-Request-Id")),
        answer(body='{"etag":"13"}'),
        answer(body='{"etag": "12"}'),
        answer(body='{"etag":"12"}\n'),
        answer(body=""),
        answer(length=100),
        answer(headers="ETag: 12\r\nTransfer-Encoding: chunked\r\n"),
        b"",
    ],
)
def test_what_differs_is_noticed(reply):
    with pytest.raises((AssertionError, ValueError)):
        talked(reply)


def test_chunks():
    reply = f"HTTP/1.1 200 OK\r\n{COMMON}Transfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n2\r\nc\n\r\n0\r\n\r\n".encode()
    text = "> GET /x\n< 200 OK\n< Transfer-Encoding: chunked\n<\n"
    talked(reply, text + "< a\n< bc\n<")
    for wrong in (text + "< a\n< bc", text + "< a\n< bd\n<"):
        with pytest.raises(AssertionError):
            talked(reply, wrong)
    with pytest.raises(AssertionError, match="cut"):
        talked(reply[:-9], text + "< a\n< bc\n<")
