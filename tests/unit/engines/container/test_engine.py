"""What the container engine refuses, and what it leaves behind; what it does is in tests/conformance."""

import contextlib
import os
import pathlib
import secrets
import signal
import sys

import pytest
import trio
import trio.testing

from tests.support import podman as podman_support
from tests.support import registry as registry_support
from tyger import errors, model, paths
from tygerd import clock, config
from tygerd.engines import base
from tygerd.engines.container import engine as container
from tygerd.engines.container import find, link, probe
from tygerd.engines.supervised import spawn

GPU = {"resources": model.Resources(gpu=1)}


@pytest.fixture(autouse=True)
def known(monkeypatch, request, podman):
    """No test here is about what an engine can do: each would find it out anew, for a second."""
    facts = find.Facts("Podman", "4", "amd64", rootless=False, limits=True, gpu=False, cpus=2)

    async def ask(engine):
        return facts

    async def pipes(engine, place, directory):
        return probe.Answer(init=True, reason=None)

    monkeypatch.setattr(find, "ask", ask)
    monkeypatch.setattr(probe, "pipes", pipes)


@pytest.fixture
def installation():
    return secrets.token_hex(16)


@pytest.fixture
def make(podman, tmp_path, installation):
    def make(text="", socket=None):
        places = paths.Paths(system=False, socket=str(tmp_path / "s"), state=str(tmp_path), config="/c")
        settings = config.parse(
            f'[engine.container]\nsocket = "{socket or podman.socket}"\ncancel_grace = 0.1\n{text}'
        )
        supervisors = spawn.Supervisors(lambda word: [sys.executable, "-m", "tygerd.supervisor", word])
        return container.ContainerEngine(
            places, settings, installation=installation, environ={}, supervisors=supervisors
        )

    return make


@contextlib.asynccontextmanager
async def running(made):
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


def codespec(image=podman_support.BUSYBOX, **fields):
    return model.JobCodespec(**{"image": image, "command": ["true"]} | fields)


def job(run=1, **fields):
    return base.Job(
        run=run,
        codespec=codespec(**fields),
        buffers={},
        created_at=int(clock.now().timestamp() * 1e6),
        timeout_seconds=100,
    )


def ours(podman, installation):
    return podman.cli(
        "ps", "--all", "--format={{.Names}}", f"--filter=label=tyger-installation={installation}"
    )


async def until(condition):
    """Wait for what nothing tells."""
    with trio.fail_after(120):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.05)


async def quiet(_):
    """Take an observation, or a line of progress."""


async def refusal(made, *arguments, **more):
    with pytest.raises(errors.Problem) as caught:
        await made.check(*arguments, **more)
    return caught.value


async def test_what_it_can_do_once_it_is_known(make):
    async with running(make()) as made:
        assert made.traits.gpu
        assert await made.unavailable() is None
        assert not made.traits.gpu
        assert made.traits.limits


async def test_there_is_no_engine(make, tmp_path):
    made = make(socket=tmp_path / "missing")
    assert "No such file or directory" in await made.unavailable()
    assert (await refusal(made, codespec())).kind is errors.UNAVAILABLE


async def test_refusals(make):
    async with running(make()) as made:
        await made.check(codespec())
        problem = await refusal(made, codespec("localhost/missing:1"))
        assert problem.kind is errors.INVALID_INPUT
        assert "The image 'localhost/missing:1' was not found on the system" in problem.message
        await made.check(codespec("localhost/missing:1"), pull=True)
        worker = model.WorkerCodespec(image="localhost/missing:2")
        assert "missing:2" in (await refusal(made, codespec(), worker)).message
        problem = await refusal(made, codespec(**GPU))
        assert problem.message.startswith("The Podman engine does not have the NVIDIA runtime installed")
        assert "args: it has a null byte" in (await refusal(made, codespec(args=["\0"]))).message


async def test_an_image_is_pulled_where_that_is_asked_for_or_configured(make, podman, tmp_path):
    lines = []

    async def take(line):
        lines.append(line)

    with registry_support.serve(tmp_path) as place:
        own = podman.image("localhost/prepared:1", "ENV PREPARED=1")
        name = f"{place}/prepared:1"
        podman.cli("push", "--quiet", own, name)
        podman.cli("rmi", own)
        async with running(make()) as made:
            with pytest.raises(errors.Problem, match="was not found on the system"):
                await made.prepare(name, take)
            await made.prepare(name, take, pull=True)
            assert lines[0] == f"pulling {name}"
            lines.clear()
            await made.prepare(name, take)
            assert lines == []
        podman.cli("rmi", name)
        for policy, pulls in (
            ("missing", [f"pulling {name}"]),
            ("missing", []),
            ("always", [f"pulling {name}"]),
        ):
            lines.clear()
            async with running(make(f'pull = "{policy}"')) as made:
                await made.check(codespec(name))
                await made.prepare(name, take)
            assert lines[:1] == pulls


async def test_a_run_and_nothing_is_left(make, podman, installation, tmp_path):
    async with running(make()) as made:
        await made.start(job(args=["x"]))
        assert made.has(1)
        assert await made.knows(1)
        with trio.fail_after(120):
            end = await made.follow(1, quiet)
        assert end.status == "Succeeded", end
        assert end.image_digest.startswith("sha256:")
        await made.remove(1)
        assert not made.has(1)
    assert ours(podman, installation) == ""
    assert os.listdir(tmp_path / "container-runs") == []


CONFINEMENT = """
id -u; id -g
touch /etc/x 2>/dev/null && echo image
echo a > $HOME/a && echo b > /tmp/b && echo own
grep -h -E '^(CapBnd|NoNewPrivs):' /proc/self/status
tail -n +3 /proc/net/dev | cut -d: -f1
"""


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ("", "0 0 image own CapBnd: 0000000000000000 NoNewPrivs: 1 lo"),
        (
            'user = "1234:5678"\nroot = "read-only"\nnetwork = "bridge"\ncapabilities = ["CHOWN"]',
            "1234 5678 own CapBnd: 0000000000000001 NoNewPrivs: 1 eth0 lo",
        ),
    ],
)
async def test_a_program_is_confined(make, settings, lines):
    async with running(make(settings)) as made:
        await made.start(job(command=["sh", "-c", CONFINEMENT]))
        with trio.fail_after(120):
            end = await made.follow(1, quiet)
        assert end.status == "Succeeded", end
        records = pathlib.Path(made.log_path(1)).read_text().splitlines()
        words = " ".join(record.split(" ", 2)[2] for record in records).split()
        # The kernel says these in no order of its own.
        assert sorted(words) == sorted(lines.split())
        await made.remove(1)


async def test_a_program_that_does_not_exist(make):
    async with running(make()) as made:
        await made.start(job(command=["/no/such"]))
        with trio.fail_after(120):
            end = await made.follow(1, quiet)
        assert end.status == "Failed"
        assert end.reason.startswith("cannot start '/no/such': ")
        assert end.reason.lower().endswith("no such file or directory")


async def test_an_image_that_is_gone_when_the_run_starts(make, tmp_path):
    async with running(make()) as made:
        with pytest.raises(errors.Problem, match="was not found on the system"):
            await made.start(job(image="localhost/gone:1"))
        assert not made.has(1)


async def test_an_engine_that_comes_back_while_a_run_starts(tmp_path, make):
    with podman_support.service() as podman:
        async with running(make(socket=podman.socket)) as made:
            await made.check(codespec())
            podman.kill()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(made.start, job())
                await until(lambda: made._link._trouble is not None)
                podman.start()
            with trio.fail_after(120):
                assert (await made.follow(1, quiet)).status == "Succeeded"
            await made.remove(1)


async def test_an_engine_that_stays_away(make, tmp_path, monkeypatch):
    monkeypatch.setattr(container, "START_SECONDS", 0.1)
    async with running(make(socket=tmp_path / "missing")) as made:
        with pytest.raises(errors.Problem, match="no container engine answers"):
            await made.start(job())


def supervisor_of(directory):
    """The process that has the run in this directory."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(entry / "cwd") == str(directory):
                return int(entry.name)
            for fd in (entry / "fd").iterdir():
                if os.path.samefile(fd, f"{directory}/lock"):
                    return int(entry.name)
    raise AssertionError(f"nobody has {directory}")


async def started(made, run=1):
    """A run that sleeps, once it runs."""
    await made.start(job(run, command=["sleep", "1000"]))
    runs = trio.Event()

    async def report(seen):
        if seen.status == "Running":
            runs.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.follow, run, report)
        with trio.fail_after(120):
            await runs.wait()
        nursery.cancel_scope.cancel()


async def test_the_container_of_a_killed_supervisor_goes_before_its_end_is_told(
    make, podman, installation, tmp_path
):
    async with running(make()) as made:
        await started(made)
        assert ours(podman, installation)
        os.kill(supervisor_of(tmp_path / "container-runs/1"), signal.SIGKILL)
        with trio.fail_after(120):
            end = await made.follow(1, quiet)
        assert (end.status, end.reason) == (
            "Failed",
            "the supervisor of the run was killed, and its job with it",
        )
        assert ours(podman, installation) == ""
        await made.remove(1)


async def test_a_new_daemon_sweeps(make, podman, installation, tmp_path, monkeypatch):
    monkeypatch.setattr(container, "SWEEP_SECONDS", 0.05)
    async with running(make()) as made:
        await started(made, 1)
        await started(made, 2)
    os.kill(supervisor_of(tmp_path / "container-runs/1"), signal.SIGKILL)
    async with running(make()) as made:
        await until(lambda: "run-1-" not in ours(podman, installation))
        assert "run-2-" in ours(podman, installation)
        await made.cancel(2, "enough")
        with trio.fail_after(120):
            assert (await made.follow(2, quiet)).status == "Canceled"
        for run in (1, 2):
            await made.remove(run)


async def test_a_network_is_there_while_a_run_needs_it(make, podman, installation, monkeypatch):
    monkeypatch.setattr(container, "SWEEP_SECONDS", 0.05)
    filters = f"--filter=label=tyger-installation={installation}"
    async with running(make('network = "bridge"')) as made:
        await started(made)
        assert podman.cli("network", "ls", "--quiet", filters) == f"tyger-{installation[:8]}"
        await made.cancel(1, "enough")
        with trio.fail_after(120):
            await made.follow(1, quiet)
        await made.remove(1)
        await until(lambda: not podman.cli("network", "ls", "--quiet", filters))


async def test_a_daemon_that_never_had_an_engine_asks_none(make, monkeypatch):
    async def look(self):
        raise AssertionError("it asked")

    monkeypatch.setattr(link.Link, "_look", look)
    async with running(make()):
        await trio.testing.wait_all_tasks_blocked()
