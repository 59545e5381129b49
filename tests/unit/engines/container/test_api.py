"""Exchanges with a real Podman, and with peers that are none."""

import socket

import pytest

from tests.unit.engines.container import conftest
from tyger import errors
from tygerd.engines.container import api


async def test_answers(engine):
    assert (await engine[0].get("/version"))["Os"] == "linux"
    with pytest.raises(api.Refused, match="no such container") as caught:
        await engine[0].get("/containers/missing/json")
    assert caught.value.status == 404
    await engine[0].delete("/containers/missing")
    with pytest.raises(api.Refused):
        await engine[0].post("/containers/create", {"Image": "localhost/missing:1"}, name="x")


async def test_an_error_in_the_middle_of_an_answer(engine):
    with pytest.raises(api.Refused, match="no such host") as caught:
        await engine[0].lines(
            "/images/create", lambda _: None, params={"fromImage": "x.invalid/a", "tag": "1"}, headers={}
        )
    assert caught.value.status == 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "cannot reach the container engine"),
        (b"", "cannot reach the container engine"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "not the API of Docker or Podman"),
        (b"HTTP/1.1 200 OK\r\nApi-Version: x\r\nContent-Length: 0\r\n\r\n", "not the API of Docker"),
    ],
)
async def test_who_is_no_engine(tmp_path, answer, words):
    with conftest.peer(tmp_path, answer) as path:
        engine = api.Api(path)
        with pytest.raises(errors.Problem, match=words) as caught:
            await engine.negotiate()
        await engine.close()
    assert caught.value.kind is errors.UNAVAILABLE
    assert path in caught.value.message


async def test_an_error_without_json(tmp_path):
    with conftest.peer(tmp_path, b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n") as path:
        engine = api.Api(path)
        with pytest.raises(api.Refused, match="500 Oops"):
            await engine.get("/x")
        await engine.close()


@pytest.mark.parametrize(("theirs", "spoken"), [("1.30", "1.30"), ("9.9", "1.44")])
async def test_the_version_that_both_sides_know(tmp_path, theirs, spoken):
    answer = f"HTTP/1.1 200 OK\r\nApi-Version: {theirs}\r\nContent-Length: 0\r\n\r\n".encode()
    with conftest.peer(tmp_path, answer) as path:
        engine = api.Api(path)
        await engine.negotiate()
        await engine.close()
    assert engine.version == spoken


async def test_one_that_does_not_answer(tmp_path, monkeypatch):
    """Nobody waits longer for it than for one that has to be started."""
    monkeypatch.setattr(api, "CONNECT_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        asked = api.Api(str(tmp_path / "s"))
        with pytest.raises(errors.Problem, match="it does not answer"):
            await asked.negotiate()
        await asked.close()
