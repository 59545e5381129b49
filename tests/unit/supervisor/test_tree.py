"""Nothing of a job outlives its run."""

from __future__ import annotations

import os
import select
import sys
import textwrap

import pytest

from tests.unit.supervisor import conftest


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("how", ["fork", "double fork and setsid"])
def test_children_that_outlive_main_are_killed(supervise, daemon, how):
    script = """
        import os, sys, time
        out = open(os.environ["OUT_PIPE"], "w")
        r, w = os.pipe()
        if os.fork() == 0:
            if "setsid" in sys.argv[1]:
                os.setsid()
                if os.fork():
                    os._exit(0)
            os.write(w, b"%d" % os.getpid())
            time.sleep(600)
        print(os.read(r, 100).decode(), flush=True)
    """
    run = supervise([sys.executable, "-S", "-c", textwrap.dedent(script), how], outputs=["out"])
    status = run.wait()
    assert (status.status, status.outputs) == ("Succeeded", {"out": "complete"})
    ((_, pid),) = run.log()
    assert not alive(int(pid))


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_killed_supervisor_takes_main_with_it(supervise, replicas):
    run = supervise("echo $$; exec sleep 60", replicas=replicas)
    events = run.connect()
    while len(run.log()) < replicas:
        next(events)
    mains = [os.pidfd_open(int(text.split()[-1])) for _, text in run.log()]
    run.process.kill()
    run.process.wait()
    for main in mains:
        assert select.select([main], [], [], 60)[0]
        os.close(main)


def test_what_has_left_its_tree_is_told_to_end_as_well(supervise):
    """Its parent is gone, so it is nobody's descendant but the supervisor's."""
    stray = "trap 'echo bye; echo > done; exit' TERM; echo up; sleep 600 & wait"
    run = supervise(
        f'mkfifo done; trap "read x < done; exit 0" TERM; (setsid sh -c "{stray}" &); sleep 600 & wait; wait'
    )
    events = run.connect()
    conftest.until_log(run, events, "up")
    run.command(command="cancel", reason="enough")
    status = run.wait()
    assert (status.status, status.exit_code) == ("Canceled", 0)
    assert [text for _, text in run.log()] == ["up", "bye"]
