"""What those who trace see of transfers, and that others see nothing. Plain requests: test_session.py."""

import pytest

from tyger import client, errors
from tyger.cli import output, tracedclient


@pytest.fixture
def traced(daemon):
    console = output.Console({})
    console.level = "trace"
    return tracedclient.Client(console, daemon.path)


def test_it_is_a_client(daemon):
    plain = tracedclient.Client(output.Console({}), daemon.path)
    assert isinstance(plain, client.Client)
    assert plain.request("GET", "/buffers/x").status == 200


def test_nothing_is_said_without_being_asked_for(daemon, capfd):
    plain = tracedclient.Client(output.Console({}), daemon.path)
    plain.request("GET", "/buffers/x")
    with plain.stream("GET", "/buffers/x"), pytest.raises(errors.Problem):
        plain.request("GET", "/nonsense")
    assert capfd.readouterr().err == ""


def test_a_transfer_is_traced_too(tyger, daemon, tmp_path):
    (tmp_path / "data").write_bytes(b"abc")
    daemon.buffer("b", b"", state="new")
    done = tyger("--log-level", "trace", "buffer", "write", "b", "-i", tmp_path / "data")
    assert done.code == 0
    url = f"url=http+unix://{daemon.path}:/transfers?api-version=1.0\n"
    assert f" TRC Sending request method=POST proxy= {url}" in done.err
    assert " TRC Received response status=201\n" in done.err


def test_a_request_whose_answer_is_for_later(traced, capfd):
    with traced.send("GET", "/buffers/x").stream() as stream:
        assert stream.status == 200
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert " TRC Sending request method=GET " in said


def test_the_body_of_a_whole_answer_is_shown_and_that_of_a_stream_is_not(traced, capfd):
    traced.request("GET", "/buffers/x")
    assert '\\r\\n\\r\\n{\\"id\\"' in capfd.readouterr().err
    with traced.stream("GET", "/buffers/x") as stream:
        assert capfd.readouterr().err.endswith('\\r\\n\\r\\n"\n')
        assert b"".join(stream.pieces()).startswith(b'{"id"')
