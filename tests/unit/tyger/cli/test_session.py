"""The flags that all commands share, and the way to the daemon."""

import pytest

from tyger import errors
from tyger.cli import output, session


@pytest.fixture
def invocation(daemon):
    return session.Session(output.Console({}), {"TYGER_SOCKET": daemon.path, "TYGER_AUTOSTART": "0"})


def test_the_environment_names_the_socket(invocation, daemon):
    assert invocation.paths.socket == daemon.path
    assert invocation.client is invocation.client
    assert invocation.ask("GET", "/metadata")["apiVersions"] == ["1.0"]


def test_the_flag_wins(tyger, daemon):
    assert tyger("buffer", "show", "x", "--socket", "/nonexistent/s").code == 69


def test_a_socket_path_that_is_too_long(tyger):
    done = tyger("--socket", "/" + "x" * 200, "buffer", "show", "x")
    assert done.code == 78
    assert "107" in done.err


def test_baggage_is_sent_along(tyger, daemon):
    tyger("--baggage", "a=b c", "--baggage", "d=ü", "buffer", "show", "x")
    assert daemon.requests[0].headers["baggage"] == "a=b%20c,d=%C3%BC"


def test_a_baggage_entry_without_value_is_no_pair(tyger):
    done = tyger("--baggage", "a", "buffer", "show", "x")
    assert (done.code, done.err.splitlines()[0]) == (
        64,
        'Error: invalid argument "a" for "--baggage" flag: a must be formatted as key=value',
    )


@pytest.mark.parametrize("entry", ["=x", "a b=c", "ü=x"])
def test_baggage_that_is_none(tyger, daemon, entry):
    done = tyger("--baggage", entry, "buffer", "show", "x")
    assert done.code == 64
    assert " FTL invalid baggage entry error=" in done.err
    assert not daemon.requests


def test_an_answer_that_is_no_object(invocation, daemon):
    daemon.answers["GET", "/metadata"] = (200, [1])
    with pytest.raises(errors.Problem, match="unable to understand server response"):
        invocation.ask("GET", "/metadata")


@pytest.mark.parametrize("text", ["a", "a b", "ü", "..."])
def test_a_segment_of_a_path(text):
    assert session.segment(text, "name") == text


def test_the_proxy_flag_is_accepted(tyger):
    assert tyger("--proxy", "none", "buffer", "show", "x").code == 0


def test_traced_requests_and_answers(tyger, daemon):
    done = tyger("--log-level", "trace", "buffer", "show", "x", "--soft-deleted")
    sent, received, dumped = done.err.splitlines()
    url = f"http+unix://{daemon.path}:/buffers/x?api-version=1.0&softDeleted=REDACTED"
    assert sent.endswith(f" TRC Sending request method=GET proxy= url={url}")
    assert received.endswith(" TRC Received response status=200")
    assert ' TRC Incoming response response="HTTP/1.1 200 OK\\r\\n' in dumped
    assert "\\r\\nTyger-Version: 0.1.0\\r\\n" in dumped
    assert '\\"id\\": \\"x\\"' in dumped
    assert "TRC" not in tyger("--log-level", "debug", "buffer", "show", "x").err


def test_a_traced_refusal_shows_all_of_it(tyger, daemon):
    daemon.answers["GET", "/runs/7"] = (404, {"error": {"code": "NotFound", "message": "gone"}})
    done = tyger("--log-level", "trace", "run", "show", "7")
    assert done.code == 66
    assert "TRC Received response status=404" in done.err
    assert 'response="HTTP/1.1 404 Not Found\\r\\n' in done.err
    assert '\\"message\\": \\"gone\\"' in done.err


def test_a_traced_stream_shows_its_head_at_once(tyger, daemon):
    daemon.runs[7] = {"id": 7, "status": "Succeeded", "createdAt": "2026-01-01T00:00:00Z"}
    done = tyger("--log-level", "trace", "run", "watch", "7")
    assert done.out == '{"id":7,"status":"Succeeded","createdAt":"2026-01-01T00:00:00Z"}\n'
    assert "/runs/7?api-version=1.0&watch=REDACTED" in done.err
    assert 'response="HTTP/1.1 200 OK\\r\\n' in done.err


def test_a_server_that_does_not_answer(tyger):
    done = tyger("--log-level", "trace", "buffer", "show", "x", "--socket", "/nonexistent/s")
    sent, failed, said = done.err.splitlines()
    assert " TRC Sending request " in sent
    assert ' TRC Error sending request error="no daemon answers on ' in failed
    assert said.startswith("Error: unable to connect to server: no daemon answers on /nonexistent/s")


@pytest.mark.parametrize(("date", "warned"), [("Tue, 01 Jan 2019 00:00:00 GMT", 1), ("yesterday", 0)])
def test_a_clock_that_is_far_off_is_told_once(tyger, daemon, date, warned):
    daemon.answers["GET", "/buffers/x"] = (200, {"id": "x", "eTag": "1"}, {"Date": date})
    daemon.answers["PUT", "/buffers/x"] = (200, {"id": "x", "eTag": "2"}, {"Date": date})
    done = tyger("buffer", "set", "x", "--tag", "a=b")
    assert done.code == 0
    assert done.err.count("WRN Detected significant clock skew. The system time may be wrong.") == warned


@pytest.mark.parametrize(
    "arguments",
    [
        ["buffer", "show", "\udcff"],
        ["buffer", "read", "\udcff"],
        ["buffer", "list", "--tag", "a=\udcff"],
        ["buffer", "create", "--tag", "a=\udcff"],
        ["buffer", "create", "--baggage", "a=\udcff"],
        ["buffer", "set", "x", "--clear-tags", "--etag", "a\r\nX: y"],
        ["buffer", "set", "x", "--clear-tags", "--etag", "\u00fc"],
    ],
)
def test_what_cannot_be_said_in_http(tyger, daemon, arguments):
    done = tyger(*arguments)
    assert done.code == 65
    assert done.err.count("\n") == 1
    assert not daemon.requests
