"""Nothing of a job outlives its run."""

from __future__ import annotations

import os
import select
import sys
import textwrap

import pytest


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


def test_a_killed_supervisor_takes_main_with_it(supervise):
    run = supervise("echo $$; exec sleep 60")
    events = run.connect()
    while not run.log():
        next(events)
    run.process.kill()
    run.process.wait()
    pid = int(run.log()[0][1])
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([fd], [], [], 5)[0]
    os.close(fd)
