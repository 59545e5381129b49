"""Starting supervisors: from standby, without one, and when they can't start."""

from __future__ import annotations

import os
import sys

import pytest
import trio

from tyger import errors
from tygerd.engines.supervised import spawn


def supervisor(code: str, log):
    """A little program in a supervisor's place, which notes what it was started with and then runs `code`."""
    text = f"import os, sys\nargument = sys.argv[1]\nopen({str(log)!r}, 'a').write(argument + '\\n')\n{code}"
    return lambda argument: [sys.executable, "-S", "-c", text, argument]


STANDBY = """
directory = argument
if argument == "--standby":
    directory = sys.stdin.readline().rstrip()
if directory:
    open(directory, "w").close()
    print("ready", flush=True)
"""


WAIT = "argument == '--standby' and sys.stdin.readline()\n"


@pytest.fixture
async def running():
    """Runs `Supervisors.run` beside the test."""
    async with trio.open_nursery() as nursery:

        async def start(command):
            supervisors = spawn.Supervisors(command)
            await nursery.start(supervisors.run)
            return supervisors

        yield start
        nursery.cancel_scope.cancel()


async def standby_made(supervisors, log, count):
    """Until so many supervisors have been started and one stands by: it is made in the background."""
    with trio.fail_after(60):
        while supervisors._standby is None:  # noqa: ASYNC110 - rings no bell
            await trio.sleep(0.005)
        while not log.exists() or len(log.read_text().split()) < count:  # noqa: ASYNC110 - as above
            await trio.sleep(0.005)


async def test_a_standby_takes_the_run(running, tmp_path):
    supervisors = await running(supervisor(STANDBY, tmp_path / "log"))
    await standby_made(supervisors, tmp_path / "log", 1)
    await supervisors.start(str(tmp_path / "run"))
    assert (tmp_path / "run").exists()
    assert (tmp_path / "log").read_text().split() == ["--standby"]
    supervisors.replenish()
    await standby_made(supervisors, tmp_path / "log", 2)
    await supervisors.start(str(tmp_path / "second"))
    assert (tmp_path / "log").read_text().split() == ["--standby", "--standby"]


async def test_two_engines_share_one_standby(tmp_path):
    supervisors = spawn.Supervisors(supervisor(STANDBY, tmp_path / "log"))
    for _ in range(2):  # and again, when both have ended
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisors.run)
            await nursery.start(supervisors.run)
            await standby_made(supervisors, tmp_path / "log", 1)
            nursery.cancel_scope.cancel()
        assert supervisors._standby is None
    assert (tmp_path / "log").read_text().split() == ["--standby", "--standby"]


async def test_without_a_standby_one_is_started(running, tmp_path):
    supervisors = await running(supervisor(STANDBY, tmp_path / "log"))
    await standby_made(supervisors, tmp_path / "log", 1)
    for name in ("one", "two", "three"):
        await supervisors.start(str(tmp_path / name))
        assert (tmp_path / name).exists()


async def test_a_standby_that_died_is_replaced(running, tmp_path):
    code = "if argument == '--standby': sys.exit()\n" + STANDBY
    supervisors = await running(supervisor(code, tmp_path / "log"))
    await standby_made(supervisors, tmp_path / "log", 1)
    await trio.to_thread.run_sync(supervisors._standby.wait)
    await supervisors.start(str(tmp_path / "run"))
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print('error: no room', flush=True)", "no room"),
        ("sys.exit(3)", "it says nothing"),
        ("print('gibberish'); sys.stdout.flush()", "gibberish"),
    ],
)
async def test_a_supervisor_that_does_not_start(running, tmp_path, code, reason):
    supervisors = await running(supervisor(WAIT + code, tmp_path / "log"))
    with pytest.raises(errors.Problem) as caught:
        await supervisors.start(str(tmp_path / "run"))
    assert caught.value.message == f"cannot start the run's supervisor: {reason}"


async def test_a_run_that_another_supervisor_has_is_started(running, tmp_path):
    supervisors = await running(supervisor(WAIT + "print('taken')", tmp_path / "log"))
    await supervisors.start(str(tmp_path / "run"))


async def test_a_program_that_is_not_there(running):
    supervisors = await running(lambda argument: ["/no/such/program", argument])
    with pytest.raises(errors.Problem, match="No such file or directory"):
        await supervisors.start("/x")


async def test_one_is_collected_where_there_is_no_descriptor_for_that(running, tmp_path, monkeypatch):
    """Too many are open, or a filter of system calls is older than pidfd_open."""
    monkeypatch.setattr(os, "pidfd_open", lambda _: os.open("/nonexistent", 0))
    supervisors = await running(supervisor(STANDBY, tmp_path / "log"))
    await standby_made(supervisors, tmp_path / "log", 1)
    process = supervisors._standby
    await supervisors.start(str(tmp_path / "run"))
    with trio.fail_after(60):
        while process.returncode is None:  # noqa: ASYNC110 - rings no bell
            await trio.sleep(0.005)
    assert process.returncode == 0
