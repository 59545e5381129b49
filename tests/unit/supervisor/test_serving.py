"""Jobs that listen on ports, under a whole supervisor: how buffers are joined, and how such runs end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tests.support import freeport
from tests.support import podman as podman_support
from tests.unit.supervisor import conftest
from tygerd.supervisor import spec

ECHO = """
import os, socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    print("listening", os.environ.get("IN_PIPE"), flush=True)
    connection, _ = server.accept()
    with connection:
        while data := connection.recv(1 << 20):
            connection.sendall(data)
"""

THEN = "import signal; print('served', flush=True); signal.pause()"

TOLD = "import os, signal; signal.signal(15, lambda *_: (os.write(1, b'told\\n'), os._exit(9)))\n"
"""Ends when it is told to, and says so."""

PATIENT = conftest.changed(conftest.PATIENT)


@pytest.fixture
def port():
    with freeport.freeport() as number:
        yield number


@pytest.fixture
def serve(supervise, port):
    """Start a Python program that listens on a port, with a socket that joins it with `in` and `out`."""

    def start(program: str, *, inputs=("in",), outputs=("out",), sockets=None, **more):
        if sockets is None:
            sockets = (spec.Socket(port, *(names[0] if names else None for names in (inputs, outputs))),)
        argv = [sys.executable, "-c", program, str(port)]
        return supervise(argv, inputs=inputs, outputs=outputs, sockets=sockets, **more)

    return start


def test_bytes_go_through_the_port(serve, daemon):
    daemon.buffers["buffer-in"] = os.urandom(3_000_000)
    status = serve(ECHO).wait()
    assert (status.status, status.reason, status.exit_code) == ("Succeeded", None, 0)
    assert daemon.written["buffer-out"] == daemon.buffers["buffer-in"]
    assert daemon.outcomes["buffer-out"] == ("complete", None)
    assert (status.inputs, status.outputs) == ({"in": "complete"}, {"out": "complete"})


def test_a_server_that_goes_on_is_stopped_once_all_is_served(serve, daemon):
    """And what it ends with then does not count."""
    daemon.buffers["buffer-in"] = b"question"
    run = serve(TOLD + ECHO + THEN)
    status = run.wait()
    assert (status.status, status.reason, status.exit_code) == ("Succeeded", None, None)
    assert daemon.written["buffer-out"] == b"question"
    assert daemon.outcomes["buffer-out"] == ("complete", None)
    assert ("O", "told") in run.log()


def test_a_server_that_takes_no_hint_is_killed(serve, daemon):
    daemon.buffers["buffer-in"] = b"question"
    status = serve("import signal; signal.signal(15, signal.SIG_IGN)" + ECHO + THEN, cancel_grace=0.05).wait()
    assert (status.status, status.exit_code) == ("Succeeded", None)


def test_a_crash_after_the_last_byte_counts(serve, daemon):
    daemon.buffers["buffer-in"] = b"question"
    status = serve(ECHO + "sys.exit(3)", under=PATIENT).wait()
    assert (status.status, status.reason) == ("Failed", "Main exited with code 3")
    assert daemon.outcomes["buffer-out"] == ("failed", "Main exited with code 3")


def test_a_crash_in_the_middle_fails_the_output(serve, daemon):
    daemon.buffers["buffer-in"] = b"question"
    program = ECHO.replace("connection.sendall(data)", "connection.send(data[:2]); os._exit(3)")
    status = serve(program, under=PATIENT).wait()
    assert (status.status, status.reason) == ("Failed", "Main exited with code 3")
    assert daemon.outcomes["buffer-out"] == ("failed", "Main exited with code 3")


def test_a_main_that_never_listens(serve, daemon, port):
    daemon.buffers["buffer-in"] = b"question"
    status = serve("").wait()
    reason = f"socket {port}: main ended, and nobody had listened on port {port}"
    assert (status.status, status.reason) == ("Failed", reason)
    assert daemon.outcomes["buffer-out"] == ("failed", reason)
    assert status.inputs == {"in": "skipped"}


def test_a_port_that_another_program_listens_on(serve, daemon):
    daemon.buffers["buffer-in"] = b"a secret"
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        number = stranger.getsockname()[1]
        status = serve(THEN, sockets=(spec.Socket(number, "in", "out"),)).wait()
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.accept()
    assert status.status == "Failed"
    assert status.reason == f"socket {number}: another program listens on port {number} of this host"


def test_a_cancelled_server(serve, daemon):
    daemon.buffers["buffer-in"] = b"question"
    taken = ECHO.partition("    with connection:")[0] + "    print('taken', flush=True)\n"
    run = serve(taken + "    import signal; signal.pause()")
    events = run.connect()
    conftest.until_log(run, events, "taken")
    run.command(command="cancel")
    status = run.wait()
    assert (status.status, status.reason) == ("Canceled", "Canceled by user")


def test_cancelled_before_it_listens(serve, daemon):
    daemon.buffers["buffer-in"] = b"question"
    run = serve(THEN)
    conftest.until_log(run, run.connect(), "served")
    run.command(command="cancel")
    status = run.wait()
    assert (status.status, status.inputs) == ("Canceled", {"in": "skipped"})
    assert daemon.outcomes["buffer-out"][0] == "failed"


def test_beside_a_pipe_that_main_still_uses(serve, daemon, port, tmp_path):
    """All that a run was to move has to be moved before it counts as served."""
    os.mkfifo(tmp_path / "go")
    daemon.buffers["buffer-in"] = b"question"
    late = f"open({str(tmp_path / 'go')!r}).read(); open(os.environ['MORE_PIPE'], 'w').write('more')\n"
    run = serve(ECHO + late + THEN, outputs=("out", "more"), sockets=(spec.Socket(port, "in", "out"),))
    daemon.wait_for_outcome("buffer-out")
    (tmp_path / "go").write_bytes(b"")
    status = run.wait()
    assert (status.status, status.outputs) == ("Succeeded", {"out": "complete", "more": "complete"})
    assert daemon.written["buffer-more"] == b"more"


TWO = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as one, \\
        socket.create_server(("127.0.0.1", int(sys.argv[2]))) as two:
    source, sink = one.accept()[0], two.accept()[0]
    while data := source.recv(1 << 20):
        sink.sendall(data.upper())
"""


def test_two_ports(supervise, daemon, port):
    daemon.buffers["buffer-in"] = b"question"
    with freeport.freeport() as other:
        ports = (spec.Socket(port, "in", None), spec.Socket(other, None, "out"))
        argv = [sys.executable, "-c", TWO, str(port), str(other)]
        status = supervise(argv, inputs=["in"], outputs=["out"], sockets=ports).wait()
    assert (status.status, status.reason) == ("Succeeded", None)
    assert daemon.written["buffer-out"] == b"QUESTION"


def test_two_ports_of_which_one_is_never_used(supervise, daemon, port):
    """The output of the one that was served is no success of the run."""
    daemon.buffers["buffer-in"] = b"question"
    with freeport.freeport() as other:
        ports = (spec.Socket(port, "in", "out"), spec.Socket(other, None, "more"))
        argv = [sys.executable, "-c", ECHO, str(port)]
        status = supervise(argv, inputs=["in"], outputs=["out", "more"], sockets=ports).wait()
    assert status.reason == f"socket {other}: main ended, and nobody had listened on port {other}"
    assert daemon.outcomes["buffer-more"][0] == "failed"


def test_a_failed_input_reaches_no_end(serve, daemon):
    daemon.buffers["buffer-in"] = b"half"
    daemon.truncated["buffer-in"] = "its writer failed"
    run = serve(ECHO + "print('end', flush=True)")
    status = run.wait()
    assert (status.status, status.reason) == ("Failed", "buffer 'in': its writer failed")
    assert ("O", "end") not in run.log()
    assert daemon.outcomes["buffer-out"] == ("failed", "buffer 'in': its writer failed")


# --- in a container --------------------------------------------------------------------------------------


@pytest.fixture
def contain(supervise, podman, tmp_path):
    """Start a shell text in a container of Podman, with port 8080 joined with `in` and `out`."""

    def start(script: str, *, publish: bool = False, under=()):
        host: dict[str, object] = {"NetworkMode": "bridge", "Init": True}
        if publish:
            host["PortBindings"] = {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
        body = {
            "Image": podman_support.BUSYBOX,
            "Cmd": ["sh", "-c", script],
            "ExposedPorts": {"8080/tcp": {}},
            "HostConfig": host,
        }
        container = spec.ContainerSpec(podman.socket, f"tyger-{os.getpid()}-{tmp_path.name}", body)
        return supervise(
            container,
            inputs=["in"],
            outputs=["out"],
            sockets=(spec.Socket(8080, "in", "out"),),
            under=under,
        )

    return start


@pytest.mark.parametrize("publish", [False, True])
def test_a_server_in_a_container(contain, daemon, publish):
    """At its own address, or where the engine publishes the port."""
    daemon.buffers["buffer-in"] = os.urandom(3_000_000)
    script = "trap 'echo told; exit 9' TERM; sleep 0.2; nc -l -p 8080 -e cat; sleep 600 & wait"
    run = contain(script, publish=publish)
    status = run.wait()
    assert (status.status, status.reason, status.exit_code) == ("Succeeded", None, None)
    assert daemon.written["buffer-out"] == daemon.buffers["buffer-in"]
    assert daemon.outcomes["buffer-out"] == ("complete", None)
    assert ("O", "told") in run.log()


def test_a_server_in_a_container_that_crashes(contain, daemon):
    daemon.buffers["buffer-in"] = b"question"
    status = contain("nc -l -p 8080 -e head -c 2; exit 3", under=PATIENT).wait()
    assert (status.status, status.reason) == ("Failed", "Main exited with code 3")
    assert daemon.outcomes["buffer-out"] == ("failed", "Main exited with code 3")


def test_a_crash_that_the_engine_tells_late(supervise, daemon, tmp_path):
    """Nothing is taken for whole while it isn't known how main has ended: until the engine is back."""
    daemon.buffers["buffer-in"] = b"question"
    os.mkdir(tmp_path / "gate")
    os.mkfifo(tmp_path / "gate/go")
    with podman_support.service() as engine:
        body = {
            "Image": podman_support.BUSYBOX,
            # The connection is that of the container's first process: it ends when that does.
            "Cmd": ["sh", "-c", "cat /gate/go; exec nc -l -p 8080 -e sh -c 'cat; exit 3'"],
            "HostConfig": {"NetworkMode": "bridge", "Binds": [f"{tmp_path}/gate:/gate"]},
        }
        container = spec.ContainerSpec(engine.socket, "served", body)
        run = supervise(container, inputs=["in"], outputs=["out"], sockets=(spec.Socket(8080, "in", "out"),))
        # Its address is known then.
        assert any(event["event"] == "started" or event.get("startedAt") for event in run.connect())
        engine.kill()
        (tmp_path / "gate/go").write_bytes(b"")
        daemon.wait_for_end("buffer-out")
        with pytest.raises(subprocess.TimeoutExpired):
            run.process.wait(1.5)  # more than the second for which every other main's end is waited
        assert "buffer-out" not in daemon.outcomes
        engine.start()
        status = run.wait()
    assert (status.status, status.reason) == ("Failed", "Main exited with code 3")
    assert daemon.outcomes["buffer-out"] == ("failed", "Main exited with code 3")


def test_a_container_that_never_listens(contain, daemon):
    daemon.buffers["buffer-in"] = b"question"
    reason = "socket 8080: main ended, and nobody had listened on port 8080"
    assert contain("sleep 0.1").wait().reason == reason
    assert daemon.outcomes["buffer-out"] == ("failed", reason)
