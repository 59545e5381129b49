"""A container's life, on a real Podman and on what Docker documents."""

from __future__ import annotations

import os
import re
import select
import signal
import threading
from typing import NamedTuple

import pytest

from tests.support import enginegate, fakedocker
from tests.support import podman as podman_support
from tygerd.supervisor import container, dockerapi, handle, log, output, spec

PATIENCE = 30
NAME = "tyger-run-1-main-{}"
LAST = 20000
COUNT = f"seq 1 10000; echo half >&2; seq 10001 18000; sleep 0.2; seq 18001 {LAST}; exit 9"


@pytest.fixture(params=["podman", "docker"])
def engine(request):
    """An engine that is left without containers."""
    if request.param == "podman":
        yield request.getfixturevalue("podman")
        return
    with fakedocker.docker() as fake:
        yield fake


@pytest.fixture(params=["podman", "docker"])
def restarting(request):
    """An engine, and how it goes away and comes back."""
    if request.param == "podman":
        own = request.getfixturevalue("restarted")
        yield own, own.kill, own.start
        return
    with fakedocker.docker() as fake:
        yield fake, fake.stop, fake.start


@pytest.fixture(scope="module")
def restarted():
    """A Podman whose service may be killed, and is running again afterwards."""
    with podman_support.service() as own:
        yield own


@pytest.fixture
def docker():
    with fakedocker.docker() as fake:
        yield fake


class Watched(NamedTuple):
    """A main, and what it prints."""

    main: container.ContainerMain
    changed: threading.Condition
    readers: list[threading.Thread]
    printed: dict[str, bytearray]

    def until(self, condition) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.main), PATIENCE), vars(self.main)

    def end(self) -> tuple[int | None, str | None]:
        self.until(lambda main: main.ended)
        for reader in self.readers:
            reader.join(PATIENCE)
        return self.main.code, self.main.reason

    def prints(self, text: str) -> None:
        """Until it runs, also for its engine, and has printed this."""
        self.until(lambda main: main.started_at is not None)
        with self.changed:
            assert self.changed.wait_for(lambda: text.encode() in self.printed["o"], PATIENCE), self.printed


@pytest.fixture
def run(tmp_path):
    """`run(engine.socket, "shell text")`: a main that was started, closed afterwards."""
    made: list[Watched] = []

    def start(
        socket: str,
        script: str | list[str],
        name="main",
        hosts=(),
        unique="",
        addresses=(),
        reads=True,
        **more,
    ) -> Watched:
        host = {"NetworkMode": "none", "LogConfig": {"Type": "json-file"}, **more.pop("host", {})}
        argv = ["sh", "-c", script] if isinstance(script, str) else script
        body = {
            "Image": podman_support.BUSYBOX,
            "Entrypoint": argv[:1],
            "Cmd": argv[1:],
            "HostConfig": host,
            **more,
        }
        setup = spec.ContainerSpec(socket, unique or NAME.format(os.urandom(4).hex()), body, dict(hosts))
        changed = threading.Condition()

        def report() -> None:
            with changed:
                changed.notify_all()

        main = container.ContainerMain(spec.MainSpec(name, container=setup), setup, log.Stamps(), report)
        printed = {"o": bytearray(), "e": bytearray()}
        watched = Watched(main, changed, [], printed)

        def read(fd: int, into: bytearray) -> None:
            os.set_blocking(fd, True)
            while data := os.read(fd, 65536):
                with changed:
                    into.extend(data)
                    changed.notify_all()

        main.addresses = dict(addresses)
        main.start()
        for source, stream in zip(main.sources if reads else (), "oe", strict=reads):
            reader = threading.Thread(target=read, args=(source.fileno(), printed[stream]))
            watched.readers.append(reader)
            reader.start()
        made.append(watched)
        return watched

    yield start
    for watched in made:
        if not watched.main.ended:
            watched.main.kill()
            watched.end()
        watched.main.close()
        for source in watched.main.sources:
            source.close()


def left(engine) -> list[str]:
    if isinstance(engine, fakedocker.Docker):
        return list(engine.containers)
    return [one["Id"] for one in engine.containers()]


def test_a_container_runs_prints_and_ends(engine, run):
    it = run(engine.socket, "echo one; echo two >&2; printf three; exit 7")
    assert it.end() == (7, None)
    assert it.printed == {"o": b"one\nthree", "e": b"two\n"}
    assert it.main.started_at is not None
    it.main.close()
    assert left(engine) == []


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
        assert left(engine) == []


def test_a_name_that_a_killed_supervisor_has_taken_is_taken_over(engine, run):
    first = run(engine.socket, "echo first; sleep 100")
    first.prints("first")
    again = run(engine.socket, "echo second", unique=first.main._container.name)
    assert again.end() == (0, None)
    assert again.printed["o"] == b"second\n"
    assert len(left(engine)) == 1


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


@pytest.mark.parametrize("requests", range(5))
def test_an_engine_that_is_killed_between_two_requests(restarted, run, requests):
    """Create, attach, start, inspect, inspect or logs: whichever is next, it runs once and loses nothing."""
    with enginegate.gate(restarted.socket) as gate:
        gate.close_after(requests)
        it = run(gate.path, "echo once; exit 3")
        assert gate.closed.wait(PATIENCE), gate.requests
        restarted.kill()
        gate.reopen()
        restarted.start()
        assert it.end() == (3, None)
        assert it.printed["o"] == b"once\n"
        it.main.close()
        assert left(restarted) == []


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
    monkeypatch.setattr(handle, "LOST", 0.2)
    monkeypatch.setattr(container, "REMOVAL", 0.1)
    monkeypatch.setattr(output, "PATIENCE", 0.2)
    it = run(docker.socket, "echo one; exec sleep 100")
    it.prints("one")
    docker.stop()
    it.main.terminate()
    it.main.kill()
    code, reason = it.end()
    assert code is None
    assert reason.startswith("the container engine does not answer (no engine answers on ")
    assert reason.endswith("may still run, and is removed when the engine is back")
    assert it.printed["o"] == b"one\n"
    docker.start()


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


def test_a_container_ends_by_itself_while_nobody_takes_its_output(podman, run):
    """Its exit code is known at once, and all that it has printed is there when somebody reads on."""
    it = run(podman.socket, "seq 1 40000 & exec 2>/dev/null; sleep 0.2; exit 6", reads=False)
    it.until(lambda main: main.ended)
    assert it.main.code == 6
    os.set_blocking(it.main.sources[0].fileno(), True)
    with open(it.main.sources[0].fileno(), closefd=False) as printed:
        numbers = [int(line) for line in printed]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 20000  # the pipes of 64 KiB between it and us were full


def test_output_that_nobody_takes_does_not_hide_the_end(engine, run, monkeypatch):
    """As on a full disk: the run can still be stopped, and its end does not wait for room for ever."""
    monkeypatch.setattr(container, "LOOK_CLOSELY", 0.05)
    monkeypatch.setattr(output, "STUCK", 0.1)
    it = run(engine.socket, "cat /dev/zero", reads=False)
    select.select([it.main.sources[0]], [], [])
    it.main.kill()
    it.until(lambda main: main.ended)
    assert it.main.code == 137
    it.main.close()


def test_nothing_is_left_behind(podman, run):
    before = len(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    for _ in range(3):
        it = run(podman.socket, "echo one")
        it.end()
        it.main.close()
        for source in it.main.sources:
            source.close()
    assert left(podman) == []
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_engine_that_hangs(restarted, run, monkeypatch):
    """Nothing is lost when it goes on, and a run that is canceled meanwhile does not wait for that."""
    it = run(restarted.socket, "echo one; sleep 0.05; echo two; exit 2")
    it.prints("one")
    restarted.hang()
    monkeypatch.setattr(handle, "LOST", 0.2)
    monkeypatch.setattr(container, "REMOVAL", 0.2)
    monkeypatch.setattr(output, "PATIENCE", 0.2)
    other = run(restarted.socket, "echo never")
    other.main.terminate()
    other.main.kill()
    assert other.end() == (None, None)
    other.main.close()
    os.kill(restarted.pid, signal.SIGCONT)
    monkeypatch.undo()
    assert it.end() == (2, None)
    assert it.printed["o"] == b"one\ntwo\n"


def test_a_run_that_is_canceled_while_its_engine_hangs(restarted, run, monkeypatch):
    monkeypatch.setattr(handle, "LOST", 1.0)
    monkeypatch.setattr(output, "PATIENCE", 0.2)
    it = run(restarted.socket, "echo one; exec sleep 100")
    it.prints("one")
    restarted.hang()
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
