"""Images and containers that are taken away under a run, and disks that are full."""

from __future__ import annotations

import contextlib
import pathlib
import time

import pytest

from tests.support import containers, daemon, disks, enginegate
from tests.support import podman as podman_support


@pytest.fixture(scope="module")
def gate(podman: podman_support.Podman):
    with enginegate.gate(podman.socket) as made:
        yield made


@pytest.fixture(scope="module")
def host(podman: podman_support.Podman, gate: enginegate.Gate):
    with containers.host(podman, gate.path) as made:
        made.works()  # so that no later request is one of the probe's
        yield made


def test_an_image_is_removed_before_its_container_is_made(host, podman, gate):
    """The run was accepted; it fails by the image's name."""
    image = podman.image("localhost/soon-gone:1")
    with gate.held("POST", "/containers/create$") as held:
        run = host.create("true", image=image, inputs=(), outputs=())
        held.arrived()
        podman.cli("rmi", image)
    last = host.commands.ended(run)
    assert last["status"] == "Failed"
    assert image in last["statusReason"]
    host.clean()


def test_an_image_and_its_container_are_removed_before_the_start(host, podman, gate):
    """By somebody who forces it: the run ends, and says what is missing."""
    image = podman.image("localhost/soon-gone:2")
    with gate.held("POST", "/start$") as held:
        run = host.create("true", image=image, inputs=())
        held.arrived()
        podman.cli("rmi", "--force", image)
    last = host.commands.ended(run)
    assert last["status"] == "Failed"
    assert last["statusReason"]
    assert host.output(run).returncode == 74
    host.clean()


def test_a_container_is_removed_while_it_runs(host, podman):
    """By somebody else: the run has failed, and says why."""
    run = host.create('echo up; cat "$IN_PIPE"; sleep 600', outputs=())
    host.logged(run, "up")
    podman.cli("rm", "--force", "--time=0", *host.containers())
    last = host.commands.ended(run)
    assert last["status"] == "Failed"
    assert last["statusReason"]
    host.clean()


def test_a_container_is_stopped_by_somebody_else(host, podman):
    """The run has failed with the signal's code."""
    run = host.create("echo up; exec sleep 600", inputs=(), outputs=())
    host.logged(run, "up")
    podman.cli("kill", *host.containers())
    last = host.commands.ended(run)
    assert (last["status"], last["statusReason"]) == ("Failed", "Main exited with code 137 (SIGKILL)")
    host.clean()


def test_a_foreign_container_is_left_alone(host, podman):
    """Whatever its name and labels: only what bears this installation's label is ours to remove."""
    podman.cli("run", "--detach", "--name=tyger-run-999999-main", "--label=tyger-run=999999",
               "--label=tyger-installation=other", podman_support.BUSYBOX, "sleep", "600")  # fmt: skip
    try:
        host.daemon.restart()
        run = host.create("true", inputs=(), outputs=())
        assert host.commands.ended(run)["status"] == "Succeeded"
        assert "tyger-run-999999-main" in containers.names(podman.containers(tyger_run="999999"))
    finally:
        podman.cli("rm", "--force", "--time=0", "tyger-run-999999-main")


def test_the_engines_disk_is_full():
    """The run fails in the engine's own words; with room again the next one runs."""
    with podman_support.service() as engine:
        engine.kill()
        with disks.mounted(engine.directory / "small", "-o", "size=24m") as small:
            engine.command[engine.command.index("--root") + 1] = str(small)
            engine.image(podman_support.BUSYBOX)
            engine.start()
            with containers.host(engine) as host:
                host.works()
                disks.fill(pathlib.Path(small, "filler"))
                run = host.create("true", inputs=(), outputs=())
                last = host.commands.ended(run)
                assert last["status"] == "Failed"
                assert "no space left on device" in last["statusReason"].lower()
                pathlib.Path(small, "filler").unlink()
                host.works()
            engine.kill()


def test_our_own_disk_is_full(podman):
    """A log that there is no room for holds its container up; with room again not a line is missing."""
    with daemon.daemon(start=False, config=containers.CONFIG.format(socket=podman.socket)) as it:
        disk = it.path / "disk"
        it.state = str(disk / "state")
        with disks.mounted(disk, "-o", "size=24m"), contextlib.closing(containers.Host(it, podman)) as host:
            it.start()
            script = 'echo up; read -r go < "$IN_PIPE"; exec seq 60000'
            run = host.create(script, job={"buffers": {"in": "_"}}, outputs=())
            host.logged(run, "up")
            # An ephemeral buffer, because another one would wait for room itself.
            process = host.commands.start("buffer", "write", host.commands.show(run)["job"]["buffers"]["in"])
            disks.fill(disk / "filler")
            process.communicate(b"go\n")
            (container,) = host.containers()
            deadline = time.monotonic() + daemon.PATIENCE
            while podman.cli("logs", "--tail=1", container) == "up":
                assert time.monotonic() < deadline
            assert host.commands.show(run)["status"] == "Running"
            (disk / "filler").unlink()
            last = host.commands.ended(run)
            assert last["status"] == "Succeeded", last
            assert host.log(run) == ["up", *map(str, range(1, 60001))]
            host.clean()
            it.kill()
