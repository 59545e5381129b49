"""A container's life, on a real Podman and on what Docker documents."""

from __future__ import annotations

import os
import re
import select

from tests.support import enginegate, leftovers, watched
from tygerd.supervisor import container, dockerapi, output


def test_a_container_runs_prints_and_ends(engine, run):
    it = run(engine.socket, "echo one; echo two >&2; printf three; exit 7")
    assert it.end() == (7, None)
    assert it.printed == {"o": b"one\nthree", "e": b"two\n"}
    assert it.main.started_at is not None
    it.main.close()
    assert not watched.is_left(engine, it)


def test_a_program_that_is_not_there(engine, run):
    code, reason = run(engine.socket, ["nosuch"]).end()
    assert (code, reason) == (None, "cannot start 'nosuch': executable file not found in $PATH")


def test_an_image_that_is_not_there(podman, run):
    code, reason = run(podman.socket, "true", Image="localhost/nosuch:1").end()
    assert code is None
    assert reason.startswith("cannot create main's container: no such image: localhost/nosuch:1"), reason


def test_term_reaches_the_program_and_its_code_is_told(engine, run):
    it = run(engine.socket, "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done")
    it.prints("ready")
    it.main.terminate()
    assert it.end() == (3, None)
    assert it.printed["o"] == b"ready\nbye\n"


def test_kill(engine, run):
    it = run(engine.socket, "trap '' TERM; echo ready; while :; do sleep 0.01; done")
    it.prints("ready")
    it.main.terminate()
    it.main.kill()
    it.main.kill()
    assert it.end() == (137, None)


def test_what_is_told_to_end_while_it_is_created_never_runs(engine, run):
    with enginegate.gate(engine.socket) as gate, gate.held("POST", "/containers/create") as hold:
        it = run(gate.path, "echo ran")
        hold.arrived()
        it.main.terminate()
        hold.release()
        assert it.end() == (None, None)
        assert not it.printed["o"]
        it.main.close()
        assert not watched.is_left(engine, it)


def test_a_name_that_a_killed_supervisor_has_taken_is_taken_over(engine, run):
    first = run(engine.socket, "echo first; sleep 100")
    first.prints("first")
    again = run(engine.socket, "echo second", unique=first.main._container.name)
    assert again.end() == (0, None)
    assert again.printed["o"] == b"second\n"
    assert watched.is_left(engine, again)
    again.main.close()
    assert not watched.is_left(engine, first)


def test_a_container_that_somebody_removes(engine, run):
    it = run(engine.socket, "echo one; exec sleep 100")
    it.prints("one")
    dockerapi.Api(engine.socket).call("DELETE", it.main._handle.path, query={"force": "1"})
    code, reason = it.end()
    assert (code, reason) in [(137, None), (None, "main's container was removed by somebody else")]
    assert it.printed["o"] == b"one\n"


def test_memory_that_runs_out_is_named(podman, run):
    limit = {"Memory": 20 << 20, "MemorySwap": 20 << 20}
    it = run(podman.socket, "exec tail /dev/zero", host=limit)
    assert it.end() == (137, "Main was killed: out of memory (its limit is 20 MiB)")
    it = run(podman.socket, "sh -c 'tail /dev/zero'; exit 4", name="job-1", host=limit)
    why = "after a process in it was killed: out of memory (its limit is 20 MiB)"
    assert it.end() == (4, f"Main exited with code 4 in job-1, {why}")


def test_an_engine_that_says_so_is_believed(docker, run):
    it = run(docker.socket, "echo one; exec sleep 100", name="worker-0")
    it.prints("one")
    docker.containers[it.main._handle.path.rpartition("/")[2]].state["OOMKilled"] = True
    it.main.kill()
    assert it.end() == (137, "Worker was killed in worker-0: out of memory")


def test_workers_have_addresses_and_names(podman, run):
    worker = run(podman.socket, "echo up; exec sleep 100", name="worker-0", host={"NetworkMode": "bridge"})
    worker.until(lambda main: main.started_at is not None)
    assert worker.main.address is not None
    job = run(
        podman.socket,
        "cat /etc/hosts",
        hosts={"run-1-worker-0": "worker-0"},
        addresses={"worker-0": worker.main.address},
        host={"NetworkMode": "bridge"},
    )
    assert job.end() == (0, None)
    assert re.search(rf"(?m)^{re.escape(worker.main.address)}\s+run-1-worker-0$", job.printed["o"].decode())


def test_published_ports_are_known(podman, run):
    ports = {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    it = run(
        podman.socket,
        "exec sleep 100",
        host={"NetworkMode": "bridge", "PortBindings": ports},
        ExposedPorts={"8080/tcp": {}},
    )
    it.until(lambda main: main.started_at is not None)
    assert set(it.main.published) == {8080}
    assert it.main.published[8080] > 1023


def test_a_container_ends_by_itself_while_nobody_takes_its_output(podman, run, tmp_path):
    """Its exit code is known at once, and what was on its way is there when somebody reads on."""
    script = f"seq 1 40000 & exec 2>/dev/null; until [ -e {tmp_path}/go ]; do sleep 0.01; done; exit 6"
    it = run(podman.socket, script, reads=False, host={"Binds": [f"{tmp_path}:{tmp_path}"]})
    while not it.main._output.blocked:
        select.select([], [], [], 0.01)  # no event tells of it
    (tmp_path / "go").touch()
    it.until(lambda main: main.ended)
    assert it.main.code == 6
    os.set_blocking(it.main.sources[0].fileno(), True)
    with open(it.main.sources[0].fileno(), "rb", closefd=False) as source:
        printed = source.read()
    assert b"".join(b"%d\n" % number for number in range(1, 40001)).startswith(printed)
    assert len(printed) > 60_000  # the pipe of 64 KiB in front of us was full


def test_output_that_nobody_takes_does_not_hide_the_end(engine, run, monkeypatch):
    """As on a full disk: the run can still be stopped, and its end does not wait for room for ever."""
    monkeypatch.setattr(container, "LOOK_CLOSELY", 0.05)
    monkeypatch.setattr(output, "STUCK", 0.1)
    monkeypatch.setattr(output, "UNREAD", 0.2)
    it = run(engine.socket, "cat /dev/zero", reads=False)
    select.select([it.main.sources[0]], [], [])
    it.main.kill()
    it.until(lambda main: main.ended)
    assert (it.main.code, it.main.reason) == (137, None)
    it.main.close()


def test_nothing_is_left_behind(podman, run):
    had = leftovers.held()
    for _ in range(3):
        it = run(podman.socket, "echo one")
        it.end()
        it.main.close()
        for source in it.main.sources:
            source.close()
        assert not watched.is_left(podman, it)
    assert leftovers.since(had) == set()
