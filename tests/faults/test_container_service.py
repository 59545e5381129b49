"""The container engine's service restarted, and its socket cut, in the middle of all that a run does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support import containers, daemon, enginegate
from tests.support import podman as podman_support


@pytest.fixture(scope="module")
def engine() -> Iterator[podman_support.Podman]:
    """One whose service is ours to stop."""
    with podman_support.service() as made:
        yield made


@pytest.fixture(scope="module")
def gate(engine: podman_support.Podman) -> Iterator[enginegate.Gate]:
    with enginegate.gate(engine.socket) as made:
        yield made


@pytest.fixture(scope="module")
def host(engine: podman_support.Podman, gate: enginegate.Gate) -> Iterator[containers.Host]:
    with containers.host(engine, gate.path) as made:
        made.works()  # what the daemon tries once with an engine is not what a test holds or cuts
        yield made


SPEAKS = 'echo up; tee /dev/stderr < "$IN_PIPE" | wc -l > "$OUT_PIPE"'
"""Logs every line of its input, and says at its end how many there were."""


def speaking(host: containers.Host) -> tuple[int, str]:
    """A run that has begun to speak, and its input."""
    source = host.commands.buffer()
    run = host.create(SPEAKS, job={"buffers": {"in": source}})
    host.logged(run, "up")
    return run, source


def ends_well(host: containers.Host, run: int, lines: list[str]) -> None:
    """The run has succeeded, its log has every line once and in order, and nothing is left of it."""
    last = host.commands.ended(run)
    assert last["status"] == "Succeeded", last
    assert host.log(run) == ["up", *lines]
    assert host.output(run).stdout == b"%d\n" % len(lines)
    host.clean()


LINES = [f"line {number}" for number in range(2000)]


def feed(host: containers.Host, run: int, source: str, *disturb: Callable[[], object]) -> None:
    """Write the lines in parts; between two, when the first is in the log, something is disturbed."""
    process = host.commands.start("buffer", "write", source, "--flush-interval", "10ms")
    assert process.stdin is not None
    part = len(LINES) // (len(disturb) + 1)
    for number, disturbance in enumerate(disturb, 1):
        process.stdin.write(
            "".join(f"{line}\n" for line in LINES[(number - 1) * part : number * part]).encode()
        )
        process.stdin.flush()
        host.logged(run, LINES[number * part - 1])
        disturbance()
    process.stdin.write("".join(f"{line}\n" for line in LINES[len(disturb) * part :]).encode())
    process.stdin.close()
    assert process.wait(daemon.PATIENCE) == 0


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_service_is_restarted_while_a_job_speaks(host, engine, how):
    """The job goes on without it, and not a line of its log is lost or doubled."""
    run, source = speaking(host)

    def restart() -> None:
        getattr(engine, how)()
        engine.start()

    feed(host, run, source, restart)
    ends_well(host, run, LINES)


def test_the_service_is_away_when_the_job_ends(host, engine):
    """Its exit code and the rest of its log are there when it is back."""
    gate = host.commands.buffer()
    script = 'echo up; read -r go < "$IN_PIPE"; echo down; exit 23'
    run = host.create(script, job={"buffers": {"in": gate}}, outputs=())
    host.logged(run, "up")
    engine.kill()
    assert host.commands.run("buffer", "write", gate, data=b"go\n").returncode == 0
    engine.start()
    last = host.commands.ended(run)
    assert (last["status"], last["statusReason"]) == ("Failed", "Main exited with code 23")
    assert host.log(run) == ["up", "down"]
    host.clean()


def test_a_run_that_is_cancelled_while_the_service_is_away(host, engine):
    """It has ended when the service is back, and nothing is left."""
    run = host.create("echo up; exec sleep 600", inputs=(), outputs=())
    host.logged(run, "up")
    engine.kill()
    cancelling = host.commands.start("run", "cancel", run)
    assert cancelling.wait(daemon.PATIENCE) == 0
    engine.start()
    assert host.commands.ended(run)["status"] == "Canceled"
    host.clean()


def test_the_socket_is_cut_while_a_job_speaks(host, gate):
    """First its output as it comes, then the log that is followed in its place, then everything.

    There is no request that waits for the container's end: what a run asks instead is cut below.
    """
    run, source = speaking(host)

    def cut(what: str) -> None:
        assert gate.cut(what)

    feed(
        host,
        run,
        source,
        lambda: cut("/attach$"),
        lambda: cut("/logs$"),
        lambda: cut("/logs$"),
        lambda: cut(""),
    )
    ends_well(host, run, LINES)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/containers/create$"),
        ("POST", "/attach$"),
        ("POST", "/start$"),
        ("GET", "/containers/[^/]*/json$"),
        ("DELETE", "/containers/"),
    ],
)
def test_the_socket_is_cut_in_the_middle_of_a_request(host, gate, method, path):
    """The engine may have done what was asked or not: in the end it was done once."""
    with gate.held(method, path) as held:
        run = host.create(
            'echo ran; cat "$IN_PIPE" > "$OUT_PIPE"', job={"buffers": {"in": host.commands.buffer(b"x")}}
        )
        held.arrived()
        gate.cut(path)
    last = host.commands.ended(run)
    assert last["status"] == "Succeeded", last
    assert host.log(run) == ["ran"]
    host.clean()


def test_a_service_that_is_away_refuses_new_runs(host, engine):
    """At once, in words that say what to do; afterwards all is as before."""
    engine.kill()
    try:
        done = host.commands.run("run", "create", "-f", host.run_file("true"))
    finally:
        engine.start()
    assert done.returncode != 0
    text = done.stderr.decode()
    assert "container engine" in text
    assert "Traceback" not in text
    run = host.create("echo again", inputs=(), outputs=())
    assert host.commands.ended(run)["status"] == "Succeeded"
    host.clean()
