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


def test_baggage_that_is_none(tyger):
    done = tyger("--baggage", "a", "buffer", "show", "x")
    assert (done.code, done.err.splitlines()[0]) == (
        64,
        "Error: invalid baggage entry: a must be formatted as key=value",
    )


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
    done = tyger("--log-level", "trace", "buffer", "show", "x")
    assert "TRC Sending request method=GET url=/buffers/x" in done.err
    assert 'TRC Incoming response response="HTTP/1.1 200\\r\\nTyger-Version: 0.1.0\\r\\n' in done.err
    assert "TRC" not in tyger("--log-level", "debug", "buffer", "show", "x").err


@pytest.mark.parametrize(
    "arguments",
    [
        ["buffer", "show", "\udcff"],
        ["buffer", "read", "\udcff"],
        ["buffer", "list", "--tag", "a=\udcff"],
        ["buffer", "create", "--tag", "a=\udcff"],
        ["buffer", "set", "x", "--clear-tags", "--etag", "a\r\nX: y"],
        ["buffer", "set", "x", "--clear-tags", "--etag", "\u00fc"],
    ],
)
def test_what_cannot_be_said_in_http(tyger, daemon, arguments):
    done = tyger(*arguments)
    assert done.code == 65
    assert done.err.count("\n") == 1
    assert not daemon.requests
