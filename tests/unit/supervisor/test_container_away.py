"""A container whose engine goes away, is killed, hangs or does not come back, in its life."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tests.support import enginegate, watched
from tygerd.supervisor import container, dockerapi, handle, output

LAST = 20000
COUNT = f"seq 1 10000; echo half >&2; seq 10001 18000; sleep 0.2; seq 18001 {LAST}; exit 9"


@pytest.mark.parametrize("fault", ["lose", "drop"])
@pytest.mark.parametrize("request_", ["POST /create", "POST /attach", "POST /start", "GET /json", "DELETE /"])
def test_no_request_that_breaks_has_it_run_twice_or_not_at_all(docker, run, request_, fault):
    getattr(docker, fault)(request_)
    it = run(docker.socket, "echo once; exit 4")
    code, reason = it.end()
    if (request_, fault) == ("POST /start", "drop"):  # nobody can tell that from the other
        assert "create the run again" in reason
        assert not it.printed["o"]
        return
    assert (code, reason) == (4, None)
    assert it.printed["o"] == b"once\n"
    assert [made.state["Starts"] for made in docker.containers.values()] == [1]
    it.main.close()
    assert not docker.containers
    assert not docker.faults


def test_without_an_attached_connection_the_log_is_followed(docker, run):
    docker.refuse("POST /attach", 500, "not today")
    it = run(docker.socket, "echo one; echo two")
    assert it.end() == (0, None)
    assert it.printed["o"] == b"one\ntwo\n"


def test_a_log_that_is_refused_is_asked_for_again(docker, run, tmp_path):
    it = run(docker.socket, f"echo one; until [ -e {tmp_path}/go ]; do sleep 0.01; done; echo two")
    it.prints("one")
    docker.refuse("GET /logs", 500, "not today")
    docker.cut()
    docker.wait("GET /logs", 2)
    (tmp_path / "go").touch()
    assert it.end() == (0, None)
    assert it.printed["o"] == b"one\ntwo\n"


def test_an_engine_that_is_restarted_loses_nothing_of_what_is_printed(restarting, run):
    engine, away, back = restarting
    it = run(engine.socket, COUNT)
    for number in (1000, 12000, 18000):
        it.prints(f"{number}\n")
        away()
        back()
    assert it.end() == (9, None)
    assert bytes(it.printed["o"]) == "".join(f"{i}\n" for i in range(1, LAST + 1)).encode()
    assert it.printed["e"] == b"half\n"


LIFE, LOG = "^(?!.*/logs)", "/logs"


@pytest.mark.parametrize(
    ("requests", "pattern"), [*((count, LIFE) for count in range(4)), (0, LOG), (1, LOG)]
)
def test_an_engine_that_is_killed_between_two_requests(restarted, run, requests, pattern):
    """Create, attach, start, inspect: whichever is next, it runs once and loses nothing.

    Nor where the log is asked for: for its beginning, when the start may be unanswered yet, or for its end.
    """
    with enginegate.gate(restarted.socket) as gate:
        gate.close_after(requests, pattern=pattern)
        it = run(gate.path, "echo once; exit 3")
        assert gate.closed.wait(watched.PATIENCE), gate.requests
        if pattern == LOG:
            it.until(lambda main: main.started_at is not None)
        restarted.kill()
        gate.reopen()
        restarted.start()
        assert it.end() == (3, None)
        assert it.printed["o"] == b"once\n"
        it.main.close()
        assert not watched.is_left(restarted, it)


def test_a_container_that_ends_while_the_engine_is_away(restarting, run, tmp_path):
    """Its end and the last it printed are there when the engine is back."""
    engine, away, back = restarting
    place = {"host": {"Binds": [f"{tmp_path}:{tmp_path}"]}}
    waiting = f"until [ -e {tmp_path}/go ]; do sleep 0.01; done"
    it = run(engine.socket, f"echo one; {waiting}; printf two; touch {tmp_path}/gone; exit 5", **place)
    it.prints("one")
    away()
    (tmp_path / "go").touch()
    while not (tmp_path / "gone").exists():
        threading.Event().wait(0.01)
    assert not it.main.ended
    back()
    assert it.end() == (5, None)
    assert it.printed["o"] == b"one\ntwo"


def test_an_engine_that_comes_when_the_run_has_begun(docker, run):
    docker.stop()
    it = run(docker.socket, "echo once")
    docker.start()
    assert it.end() == (0, None)
    assert it.printed["o"] == b"once\n"


def test_an_engine_that_does_not_come_in_time(tmp_path, monkeypatch, run):
    monkeypatch.setattr(handle, "PATIENCE", 0.1)
    monkeypatch.setattr(container, "REMOVAL", 0.1)
    path = str(tmp_path / "s")
    reason = f"cannot create main's container: no engine answers on {path}: No such file or directory"
    assert run(path, "echo once").end() == (None, reason)


def test_a_canceled_run_ends_although_its_engine_is_gone_for_good(docker, run, monkeypatch):
    it = run(docker.socket, "echo one; exec sleep 100")
    it.prints("one")
    docker.stop()
    monkeypatch.setattr(handle, "LOST", 0.2)  # not before: it is also the patience with a start
    monkeypatch.setattr(container, "REMOVAL", 0.1)
    monkeypatch.setattr(output, "PATIENCE", 0.2)
    it.main.terminate()
    it.main.kill()
    code, reason = it.end()
    assert code is None
    assert reason.startswith("the container engine does not answer (no engine answers on ")
    assert reason.endswith("may still run, and is removed when the engine is back")
    assert it.printed["o"] == b"one\n"
    docker.start()


def test_an_engine_that_hangs(restarted, run, monkeypatch):
    """Nothing is lost when it goes on, and a run that is canceled meanwhile does not wait for that."""
    it = run(restarted.socket, "echo one; sleep 0.05; echo two; exit 2")
    it.prints("one")
    restarted.hang()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(handle, "LOST", 0.2)
            patch.setattr(container, "REMOVAL", 0.2)
            patch.setattr(output, "PATIENCE", 0.2)
            other = run(restarted.socket, "echo never")
            other.main.terminate()
            other.main.kill()
            assert other.end() == (None, None)
            other.main.close()
    finally:
        os.kill(restarted.pid, signal.SIGCONT)
    assert it.end() == (2, None)
    assert it.printed["o"] == b"one\ntwo\n"


def test_a_run_that_is_canceled_while_its_engine_hangs(restarted, run, monkeypatch):
    it = run(restarted.socket, "echo one; exec sleep 100")
    it.prints("one")
    restarted.hang()
    monkeypatch.setattr(handle, "LOST", 1.0)
    monkeypatch.setattr(output, "PATIENCE", 0.2)
    try:
        it.main.terminate()
        it.main.kill()
        code, reason = it.end()
    finally:
        os.kill(restarted.pid, signal.SIGCONT)
    assert code is None
    assert reason.startswith("the container engine does not answer (the engine does not answer in time)")
    it.main.close()
    with pytest.raises(dockerapi.Refused, match="no such container"):
        dockerapi.Api(restarted.socket).call("GET", it.main._handle.path + "/json")
