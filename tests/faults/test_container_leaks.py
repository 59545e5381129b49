"""Hundreds of containers, and daemons killed between any two words to the engine: nothing is left."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import pathlib
import time
from typing import NamedTuple

import pytest

from tests.support import containers, daemon, enginegate

KEPT = 20
"""Connections to the engine that are kept at most (httpx), as many as were used at once."""


class Descriptors(NamedTuple):
    """How many a process has open, without those of the catalog: each thread of its pool has its own."""

    sockets: int
    others: list[str]


def descriptors(pid: int) -> Descriptors:
    found: list[str] = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(entry))
    others = [each for each in found if not each.startswith("socket:")]
    return Descriptors(
        len(found) - len(others), sorted(each for each in others if "catalog.sqlite3" not in each)
    )


def podmans(directory: pathlib.Path) -> int:
    """The processes that belong to a Podman: its service, and what watches containers."""
    found = 0
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            found += str(directory).encode() in (entry / "cmdline").read_bytes()
        except OSError:
            continue
    return found


def many(host: containers.Host, count: int, at_once: int) -> None:
    """So many runs of `true`, some at a time; each has succeeded."""
    file = host.run_file("true", inputs=())

    def one(_: int) -> str:
        done = host.commands.run("run", "exec", "-f", file, "--log-level", "error")
        return done.stderr.decode() if done.returncode else ""

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        assert not {said for said in pool.map(one, range(count)) if said}


def settled(host: containers.Host, podman, before: Descriptors | None = None) -> Descriptors:
    """The daemon's descriptors once no process is left but Podman's service and the supervisor on standby.

    And once there are no more than there were before, of those that belong to single runs.
    """
    host.clean()
    deadline = time.monotonic() + daemon.PATIENCE
    while True:
        # The container of a run is gone before its supervisor, which waits for that and then ends.
        processes = (podmans(podman.directory), len(host.supervisors()))
        found = descriptors(host.daemon.pid)
        if processes == (1, 1) and (before is None or len(found.others) <= len(before.others)):
            return found
        assert time.monotonic() < deadline, f"{processes}: {found}, before {before}"
        time.sleep(0.05)  # nothing tells when a process of another is gone


def leaves_nothing(host: containers.Host, podman, count: int, at_once: int) -> None:
    """What was there before the runs is there behind them, and no more."""
    many(host, at_once, at_once)  # what is made once is made, and connections to the engine are kept
    before = settled(host, podman)
    volumes = podman.cli("volume", "ls", "--quiet")
    many(host, count, at_once)
    assert settled(host, podman, before).sockets <= before.sockets + KEPT
    assert podman.cli("volume", "ls", "--quiet") == volumes


def test_a_few_runs_leave_nothing(podman):
    with containers.host(podman) as host:
        leaves_nothing(host, podman, 6, 6)


@pytest.mark.long
def test_two_hundred_runs_leave_nothing(podman):
    """20 at a time."""
    with containers.host(podman) as host:
        leaves_nothing(host, podman, 200, 20)


# --- the daemon, or a supervisor, is killed between two requests -------------------------------------------


SCRIPT = 'echo ran; cat "$IN_PIPE" > "$OUT_PIPE"'


def requests_of_a_run(podman) -> int:
    """How many requests the engine gets from a run's creation to its last trace."""
    with enginegate.gate(podman.socket) as gate, containers.host(podman, gate.path) as host:
        run_to_its_end(host)
        before = len(gate.requests)
        run_to_its_end(host)
        return len(gate.requests) - before


def run_to_its_end(host: containers.Host) -> None:
    """One run, of which nothing is left."""
    run = host.create(SCRIPT, job={"buffers": {"in": host.commands.buffer(b"x")}})
    assert host.commands.ended(run)["status"] == "Succeeded"
    host.clean()


def killed_after(podman, requests: int) -> str:
    """Kill the daemon when so many requests of a run have passed; what was asked for then."""
    with enginegate.gate(podman.socket) as gate, containers.host(podman, gate.path) as host:
        run_to_its_end(host)
        source = host.commands.buffer(b"x")
        file = host.run_file(SCRIPT, job={"buffers": {"in": source}})
        before = len(gate.requests)
        gate.close_after(requests)
        creating = host.commands.start("run", "create", "-f", file)
        asked = stopped(gate, host, before)
        host.daemon.kill()
        gate.reopen()
        host.daemon.start()
        creating.wait(daemon.PATIENCE)
        shown = host.commands.run("run", "list").stdout
        runs = [one for one in json.loads(shown) if one["id"] == 2]
        assert creating.returncode == 0 or not runs or len(runs) == 1
        if runs:
            last = host.commands.ended(2)
            assert last["status"] == "Succeeded", (asked, last)
            assert host.log(2) == ["ran"], asked
        host.clean()
        return asked


def stopped(gate: enginegate.Gate, host: containers.Host, before: int) -> str:
    """What was asked for when the gate closed, or last: a run may have fewer requests than the one before.

    `before` is how many there were when the run was created; the last thing is that its container is removed.
    """
    deadline = time.monotonic() + daemon.PATIENCE
    while not gate.closed.wait(0.1):
        removed = any(asked.startswith("DELETE /containers/") for asked in gate.requests[before:])
        if (removed and not host.containers() + host.left()) or time.monotonic() > deadline:
            gate.reopen()
            break
    return gate.requests[-1]


@pytest.mark.long
def test_a_daemon_killed_between_any_two_requests(podman):
    """There is one container, or none, and in the end none; and the run happened once."""
    count = requests_of_a_run(podman)
    assert count >= 5
    asked = {killed_after(podman, number) for number in range(count)}
    assert len(asked) >= 4, asked


@pytest.mark.long
@pytest.mark.parametrize("path", ["/containers/create$", "/attach$", "/start$"])
def test_a_supervisor_killed_with_its_daemon(podman, path):
    """The run has failed, or runs from the start: never twice, and its container does not stay."""
    with enginegate.gate(podman.socket) as gate, containers.host(podman, gate.path) as host:
        host.works()  # so that no later request is one of the probe's
        with gate.held("POST", path) as held:
            run = host.create("echo ran; exec sleep 600", inputs=(), outputs=())
            held.arrived()
            host.daemon.kill()
            host.kill_supervisors()
        host.daemon.start()
        last = host.commands.ended(run)
        assert last["status"] == "Failed"
        assert "supervisor" in last["statusReason"]
        host.clean(2 * daemon.PATIENCE)  # what was asked for may be there only after the daemon has looked


def test_a_supervisor_killed_while_its_job_runs(podman):
    """The daemon notices at once, and removes the container."""
    with containers.host(podman) as host:
        run = host.create("echo up; exec sleep 600", inputs=(), outputs=())
        host.logged(run, "up")
        assert len(host.containers()) == 1
        host.kill_supervisors()
        last = host.commands.ended(run)
        assert (last["status"], "supervisor" in last["statusReason"]) == ("Failed", True)
        host.clean()


def test_an_orphan_of_a_killed_daemon_and_supervisor(podman):
    """A daemon that starts removes the container of a run that nobody looks after."""
    with containers.host(podman) as host:
        run = host.create("echo up; exec sleep 600", inputs=(), outputs=())
        host.logged(run, "up")
        host.daemon.kill()
        host.kill_supervisors()
        assert len(host.containers()) == 1
        host.daemon.start()
        host.clean()
        assert host.commands.ended(run)["status"] == "Failed"
