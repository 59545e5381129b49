"""Requests whose connection breaks, and what an engine that was killed has left. See also test_container."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time

import pytest

from tests.support import enginegate, fakedocker
from tests.support import podman as podman_support
from tygerd.supervisor import dockerapi, handle, spec

BODY = {
    "Image": podman_support.BUSYBOX,
    "Cmd": ["sh", "-c", "exec sleep 100"],
    "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "json-file"}},
}


@pytest.fixture
def docker():
    with fakedocker.docker() as engine:
        yield engine


@pytest.fixture
def handled():
    """`handled(socket)`: a handle of a container."""
    made: list[handle.Handle] = []

    def of(socket: str) -> handle.Handle:
        made.append(
            handle.Handle(spec.ContainerSpec(socket, f"x-{os.urandom(4).hex()}", {}), "main's container")
        )
        return made[-1]

    yield of
    for it in made:
        it.finish()
        it.close()


def made(it: handle.Handle) -> handle.Handle:
    answer = it.make(BODY)
    assert answer is not None
    answer.close()
    return it


def test_a_container_that_was_half_made_is_made_again(docker, handled):
    """Podman, killed while it prepared one, then knows only that there is one."""
    docker.refuse("POST /attach", 409, "container with given ID already exists: OCI runtime error")
    it = made(handled(docker.socket))
    assert docker.made == 2
    it.start()


def test_one_that_disappears_before_it_is_attached_to_is_made_again(docker, handled):
    docker.refuse("POST /attach", 404, "no such container")
    made(handled(docker.socket))
    assert docker.requests == ["POST /create", "POST /attach", "DELETE /", "POST /create", "POST /attach"]


@pytest.mark.parametrize(
    "said",
    [
        'Conflict. The container name "/x" is already in use by container "0".',
        'container create: name "x" is in use: container already exists',
    ],
)
def test_a_name_that_is_taken_is_made_free(docker, handled, said):
    it = handled(docker.socket)
    docker.faults["POST /create"] = (500, said)
    answer = it.make(BODY)
    assert answer is not None
    answer.close()
    assert docker.requests == ["POST /create", "DELETE /", "POST /create", "POST /attach"]


def test_an_image_that_is_gone_is_named(docker, handled):
    it = handled(docker.socket)
    docker.faults["POST /create"] = (404, "no such image: sha256:1: image not known")
    with pytest.raises(handle.NeverError, match="the image 'i:1' was removed after the run was created"):
        it.make(BODY | {"Labels": {"tyger-image": "i:1"}})


def test_a_name_that_stays_taken_is_told(docker, handled):
    it = handled(docker.socket)

    class Always(dict):
        def pop(self, what, default=None):
            return (409, "that name is already in use") if what == "POST /create" else default

    docker.faults = Always()
    with pytest.raises(
        handle.NeverError, match="cannot create main's container: that name is already in use"
    ):
        it.make(BODY)
    assert docker.requests.count("POST /create") == handle.TRIES


@pytest.mark.parametrize("waiting", [True, False])
def test_a_start_that_broke_is_repeated_only_where_nothing_ran(docker, handled, tmp_path, waiting):
    """Podman says `created` in both cases."""
    it = made(handled(docker.socket))
    program = tmp_path / ("runc:[2:INIT]" if waiting else "program")
    program.symlink_to("/bin/sleep")
    first = subprocess.Popen([program, "100"])
    try:
        docker.drop("POST /start")
        docker.containers[it.name].state["Pid"] = first.pid
        with (
            contextlib.nullcontext()
            if waiting
            else pytest.raises(handle.NeverError, match="create the run again")
        ):
            it.start()
        assert docker.requests.count("POST /start") == 1 + waiting
    finally:
        first.kill()
        first.wait()


def test_a_first_process_that_is_gone_has_run(docker, handled):
    it = made(handled(docker.socket))
    ended = subprocess.Popen(["true"])
    ended.wait()
    docker.containers[it.name].state["Pid"] = ended.pid
    docker.drop("POST /start")
    with pytest.raises(handle.NeverError, match="create the run again"):
        it.start()


def test_a_refusal_to_start_is_the_engines_own(docker, handled):
    it = made(handled(docker.socket))
    docker.refuse("POST /start", 500, "no room")
    with pytest.raises(dockerapi.Refused, match="no room"):
        it.start()


def test_what_is_to_end_is_not_made_and_not_started(docker, handled):
    it = made(handled(docker.socket))
    it.stopping = True
    with pytest.raises(handle.NeverError):
        it.start()
    with pytest.raises(handle.NeverError):
        it.make(BODY)
    assert docker.requests == ["POST /create", "POST /attach"]


@contextlib.contextmanager
def being_made(it: handle.Handle):
    """A thread that makes it, and may not."""
    raised: list[BaseException] = []

    def make() -> None:
        try:
            it.make(BODY)
        except handle.NeverError as error:
            raised.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    yield
    thread.join()
    assert len(raised) == 1


@pytest.mark.parametrize("request_", ["/containers/create", "/attach"])
def test_an_engine_that_hangs_is_left_when_it_is_to_be_killed(docker, handled, request_):
    with enginegate.gate(docker.socket) as gate, gate.held("POST", request_) as hold:
        it = handled(gate.path)
        with being_made(it):
            hold.arrived()
            it.killed()


def test_what_cannot_be_removed_at_first_is_removed_then(docker, handled):
    """Podman refuses while it notices that a container has just ended."""
    it = made(handled(docker.socket))
    docker.refuse("DELETE /", 500, "container state improper: stopped")
    it.remove(60)
    assert not docker.containers
    assert docker.requests.count("DELETE /") == 2


def test_what_can_never_be_removed_is_left_to_the_daemon(docker, handled, monkeypatch):
    monkeypatch.setattr(dockerapi, "REMOVABLE", -1.0)
    it = made(handled(docker.socket))
    docker.refuse("DELETE /", 500, "device busy")
    it.remove(60)
    assert docker.requests.count("DELETE /") == 1


def test_what_is_created_after_all_is_removed(docker, handled, monkeypatch):
    """An engine that hung obeys both requests at once when it goes on, the one to remove it perhaps first."""
    monkeypatch.setattr(handle, "CREATION", 60.0)
    with enginegate.gate(docker.socket) as gate, gate.held("POST", "/create") as hold:
        it = handled(gate.path)
        with pytest.raises(dockerapi.Refused):  # after which it knows the engine's version
            it.api.call("GET", "/containers/none/json")
        with being_made(it):
            hold.arrived()
            it.killed()
        removing = threading.Thread(target=it.remove, args=(60,))
        removing.start()
        docker.wait("DELETE /")
        hold.release()
        with docker.asked:
            assert docker.asked.wait_for(lambda: docker.made, 60)
        docker.wait("DELETE /", docker.requests.count("DELETE /") + 2)
        assert not docker.containers
        it._pending = False  # or it would go on for a minute
        removing.join()


def test_killed_is_new_once(docker, handled):
    it = handled(docker.socket)
    assert it.killed()
    assert not it.killed()


def test_a_signal_is_sent_when_the_engine_is_back(docker, handled):
    it = made(handled(docker.socket))
    it.start()
    docker.drop("POST /kill")
    it.signal("SIGTERM")
    assert docker.requests.count("POST /kill") == 2


def test_podman_prepares_a_container_that_is_attached_to(handled):
    """And knows it when it was killed since."""
    with podman_support.service() as podman:
        it = made(handled(podman.socket))
        pid = int(it.look()["State"]["Pid"])
        assert handle._is_waiting(pid)
        podman.kill()
        podman.start()
        it.start()
        assert it.look()["State"]["Running"]
        while handle._is_waiting(pid):  # until it has become the program, of which nothing tells
            time.sleep(0.01)
        it.remove(60)
