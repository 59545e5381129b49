"""The request that `run create` sends: file, flags, and flags over the file."""

import contextlib
import json
import threading
import uuid

import pytest

from tests.support import scripted
from tyger import client, errors, streams
from tyger.cli import output, runrequest, session


def created(tyger, daemon, *arguments):
    daemon.answers["POST", "/runs"] = (201, {"id": 17})
    done = tyger("run", "create", *arguments)
    assert (done.code, done.out) == (0, "17\n"), done.err
    return daemon.asked("POST", "/runs")[-1].body


def test_the_least(tyger, daemon):
    assert created(tyger, daemon, "-c", "negate") == {"job": {"codespec": "negate"}}
    assert len(daemon.asked("POST", "/runs")[0].headers["idempotency-key"]) == 36


def test_each_request_has_a_key_of_its_own(tyger, daemon):
    for _ in range(2):
        created(tyger, daemon, "-c", "negate")
    first, second = daemon.asked("POST", "/runs")
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


def test_all_flags(tyger, daemon):
    assert created(
        tyger, daemon, "-c", "negate", "--version", "3", "-r", "2", "--node-pool", "p", "-b", "a=1,b=2",
        "--buffer-tag", "t=u", "--buffer-ttl", "1.02:03", "--worker-codespec", "w", "--worker-version", "4",
        "--worker-replicas", "5", "--worker-node-pool", "q", "--cluster", "c", "--timeout", "1m30.9s",
        "--tag", "x=y", "--buffer-access-ttl", "0.00:10",
    ) == {
        "job": {
            "codespec": "negate/versions/3",
            "replicas": 2,
            "nodePool": "p",
            "buffers": {"a": "1", "b": "2"},
            "tags": {"t": "u"},
            "bufferTtl": "1.02:03",
        },
        "worker": {"codespec": "w/versions/4", "replicas": 5, "nodePool": "q"},
        "cluster": "c",
        "timeoutSeconds": 90,
        "tags": {"x": "y"},
        "bufferAccessTtl": "0.00:10:00",
    }  # fmt: skip


FILE = """
job:
  codespec: {image: x}
  buffers: {a: 1, b: 2}
  tags: {t: u}
timeoutSeconds: 5
tags: {x: y, z: w}
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "run.yml").write_text(FILE)
    return tmp_path / "run.yml"


def test_a_file(tyger, daemon, file):
    assert created(tyger, daemon, "-f", file) == {
        "job": {
            "codespec": {"kind": "job", "image": "x"},
            "buffers": {"a": "1", "b": "2"},
            "tags": {"t": "u"},
        },
        "timeoutSeconds": 5,
        "tags": {"x": "y", "z": "w"},
    }


def test_flags_over_a_file(tyger, daemon, file):
    body = created(
        tyger,
        daemon,
        "-f",
        file,
        "-c",
        "other",
        "-b",
        "b=3",
        "--tag",
        "z=v",
        "--timeout",
        "0",
        "--version",
        "2",
    )
    assert body["job"]["codespec"] == "other/versions/2"
    assert body["job"]["buffers"] == {"a": "1", "b": "3"}
    assert body["tags"] == {"x": "y", "z": "v"}
    assert body["timeoutSeconds"] == 0


def test_a_version_without_a_codespec_and_no_replicas_do_not_count(tyger, daemon, file):
    body = created(tyger, daemon, "-f", file, "--version", "2", "-r", "0")
    assert body["job"]["codespec"] == {"kind": "job", "image": "x"}
    assert "replicas" not in body["job"]


def test_no_codespec(tyger, daemon, tmp_path):
    for arguments in ([], ["-f", "/dev/null"]):
        done = tyger("run", "create", *arguments)
        assert (done.code, done.err) == (
            65,
            "Error: a codespec for the job must be specified, with a flag or in the run file\n",
        )
    done = tyger("run", "exec", "-c", "x", "--worker-replicas", "2")
    assert done.err.startswith("Error: a codespec for the worker must be specified")
    assert not daemon.requests


def test_pull_is_only_a_warning(tyger, daemon):
    daemon.answers["POST", "/runs"] = (201, {"id": 17})
    done = tyger("run", "create", "-c", "x", "--pull")
    assert done.code == 0
    assert "WRN The --pull parameter is only supported when running Tyger in Docker." in done.err
    assert queries(daemon) == [{"engine": ""}]


def queries(daemon):
    return [dict(request.query) for request in daemon.asked("POST", "/runs")]


def with_containers(daemon):
    daemon.answers["GET", "/metadata"] = (200, {"capabilities": ["Docker"], "apiVersions": ["1.0"]})
    codespecs = {"job": {"codespec": {"image": "i"}}, "worker": {"codespec": {"image": "w"}}}
    chosen = {"Tyger-Engine": "container", "Tyger-Engine-Reason": "it sl%C3%A4eps"}
    daemon.answers["POST", "/runs"] = (201, {"id": 17, **codespecs}, chosen)


def test_pulling_where_there_are_containers(tyger, daemon):
    with_containers(daemon)
    done = tyger("run", "create", "-c", "x", "--pull")
    assert (done.code, done.out) == (0, "17\n")
    assert 'INF The container engine was chosen reason="it sl\u00e4eps"' in done.err
    assert "INF Pulled image i image=i" in done.err
    assert "INF Pulled image w image=w" in done.err
    assert queries(daemon) == [{"engine": "", "pull": "true"}]


def test_an_engine_that_was_named_says_itself_whether_it_can_pull(tyger, daemon):
    daemon.answers["POST", "/runs"] = (201, {"id": 17})
    done = tyger("run", "create", "-c", "x", "--pull", "--engine", "container")
    assert (done.code, "WRN" in done.err) == (0, False)
    assert queries(daemon) == [{"engine": "container", "pull": "true"}]
    assert not daemon.asked("GET", "/metadata")


def test_what_is_said_while_images_are_fetched(tyger, daemon):
    with_containers(daemon)
    made = daemon.answers["POST", "/runs"]
    told = threading.Event()

    def progress(request):
        send = daemon._chunked(request)
        send(json.dumps({"message": f"half of {request.asked('key')}"}).encode() + b"\n")
        told.set()
        return daemon._end(request)

    def create(request):
        assert told.wait(20)
        return made

    daemon.answers["GET", "/runs/_progress"] = progress
    daemon.answers["POST", "/runs"] = create
    done = tyger("run", "create", "-c", "x")
    key = daemon.asked("POST", "/runs")[0].headers["idempotency-key"]
    assert done.code == 0
    assert f"INF half of {key}" in done.err


def test_an_engine_that_is_asked_for(tyger, daemon, tmp_path):
    daemon.answers["POST", "/runs"] = (201, {"id": 17})
    file = tmp_path / "run.yml"
    file.write_text(f"{FILE}engine: container\nimageDigest: sha256:1\n")
    for arguments in (["--engine", "process"], ["-f", file], ["-f", file, "--engine", "process"]):
        assert tyger("run", "create", "-c", "x", *arguments).err == ""
    assert [query["engine"] for query in queries(daemon)] == ["process", "container", "process"]
    assert "engine" not in daemon.asked("POST", "/runs")[1].body


def test_each_run_has_a_key_of_its_own(tyger, daemon):
    for _ in range(20):
        tyger("run", "create", "-c", "x")
    keys = [request.headers["idempotency-key"] for request in daemon.asked("POST", "/runs")]
    assert len(set(keys)) == 20
    for key in keys:
        assert str(uuid.UUID(key)) == key
        assert (uuid.UUID(key).version, uuid.UUID(key).variant) == (4, uuid.RFC_4122)


@pytest.fixture
def stop():
    stop = streams.Stop()
    yield stop
    stop.close()


def submitted(socket, stop, seconds=None):
    asking = session.Session(output.Console({}), {"TYGER_SOCKET": str(socket)})
    return runrequest.submit(asking, runrequest.Request({}), stop, streams.Patience(seconds, first=True))


def test_a_run_whose_answer_is_lost_is_asked_for_until_it_is_there(stop, monkeypatch):
    """Its daemon was killed, perhaps after it had made it: one key says that it is the same run."""
    monkeypatch.setenv("TYGER_AUTOSTART", "0")
    away = [scripted.hanging_up] * (2 * client.ATTEMPTS)
    with scripted.Peer(*away, scripted.replying(scripted.answer(201, b'{"id": 17}'))) as peer:
        assert submitted(peer.path, stop) == {"id": 17}
    lines = [line for one in peer.requests for line in one.head.split(b"\r\n")]
    keys = [line for line in lines if line.lower().startswith(b"idempotency-key:")]
    assert len(keys) == len(away) + 1
    assert len(set(keys)) == 1


def test_a_daemon_that_is_not_there_is_not_waited_for(tmp_path, stop, monkeypatch, capfd):
    monkeypatch.setenv("TYGER_AUTOSTART", "0")
    with pytest.raises(errors.Problem, match="unable to connect to server: no daemon answers"):
        submitted(tmp_path / "s", stop)
    assert capfd.readouterr().err == ""


def test_a_request_that_ends_each_daemon_is_not_repeated_for_ever(tmp_path, stop, capfd):
    asking = session.Session(output.Console({}), {"TYGER_SOCKET": str(tmp_path / "s")})
    with contextlib.ExitStack() as started:

        def ensure():
            asking.client.socket_path = started.enter_context(scripted.Peer(scripted.hanging_up)).path

        asking.client.ensure = ensure
        with pytest.raises(errors.Problem, match="each daemon that was started has gone away"):
            runrequest.submit(asking, runrequest.Request({}), stop, streams.Patience(first=True))
        assert runrequest.STARTS <= asking.client.starts <= runrequest.STARTS + client.ATTEMPTS
    assert runrequest.MAY_BE_THERE in capfd.readouterr().err


def test_a_daemon_that_stays_away_is_waited_for_so_long(stop, monkeypatch, capfd):
    monkeypatch.setenv("TYGER_AUTOSTART", "0")
    with (
        scripted.Peer(*[scripted.hanging_up] * client.ATTEMPTS) as peer,
        pytest.raises(errors.Problem, match="it was waited for"),
    ):
        submitted(peer.path, stop, seconds=0.2)
    assert runrequest.MAY_BE_THERE in capfd.readouterr().err


def test_an_answer_that_says_no_more_than_unavailable_is_an_answer(stop, monkeypatch, capfd):
    monkeypatch.setenv("TYGER_AUTOSTART", "0")
    refusing = scripted.replying(scripted.answer(503, b"<html>no</html>"))
    with scripted.Peer(refusing) as peer, pytest.raises(errors.Problem):
        submitted(peer.path, stop)
    assert len(peer.requests) == 1
    assert capfd.readouterr().err == ""


def test_whoever_waits_for_a_daemon_can_be_stopped(stop, monkeypatch, capfd):
    monkeypatch.setenv("TYGER_AUTOSTART", "0")
    stop.request("a signal came")
    with (
        scripted.Peer(*[scripted.hanging_up] * client.ATTEMPTS) as peer,
        pytest.raises(errors.Problem, match="unable to connect to server"),
    ):
        submitted(peer.path, stop)
    assert runrequest.MAY_BE_THERE in capfd.readouterr().err
