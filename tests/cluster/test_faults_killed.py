"""The daemon is killed between any two calls of a run's life: each run has its pods once, ends, leaves
nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from tests.support import cluster as cluster_support
from tests.support import pods

PATIENCE = 180
"""Seconds for one life."""

CALLS = "/(pods|secrets|services|statefulsets)"
"""Of a life. That the cluster is there, and what we may do in it, is found out before there is a run."""

LIVES = {
    "ends": "echo out",
    "fails": "echo out; exit 3",
    "is-cancelled": "echo out; exec sleep 600",
    "has-workers": "echo out",
}
WORKERS = {"has-workers": 2}


@pytest.fixture(scope="module")
def host(
    cluster: cluster_support.Cluster,
    namespace: str,
    pump_image: str,
) -> Iterator[pods.Host]:
    with pods.host(cluster, namespace) as made:
        yield made


def begin(host: pods.Host, life: str) -> int:
    """A run that lives so, whatever becomes of the daemon."""
    worker = {"kind": "worker", "image": host.cluster.busybox, "command": ["sleep", "600"]}
    more = {"worker": {"codespec": worker, "replicas": WORKERS[life]}} if life in WORKERS else {}
    run = host.create(LIVES[life], **more)
    if life == "is-cancelled":
        while host.show(run)["status"] == "Pending" and not host.gate.closed.is_set():
            time.sleep(0.02)  # what becomes of it may be nothing, when the gate is closed
        host.cancel(run)
    return run


def check(host: pods.Host, run: int, life: str) -> None:
    """It has ended as it should, and nothing is left."""
    if life == "is-cancelled":
        host.ends(run, "Canceled", "Canceled by user")
    elif life == "fails":
        host.ends(run, "Failed", "Main exited with code 3")
    else:
        host.ends(run)
    log = host.log(run)
    assert [line.removeprefix("[job] ") for line in log] == ["out"] or (life == "is-cancelled" and not log), (
        host.daemon.log
    )
    had = host.witness.pods(run)
    assert len(had) == 1 + WORKERS.get(life, 0) or (life == "is-cancelled" and not had), had


def kill_after(host: pods.Host, calls: int, life: str, *, arrives: bool) -> bool:
    """Kill the daemon when it has made so many calls for a run; False: it makes no more than that.

    With `arrives` the last call is carried out, but nobody hears of it.
    """
    host.gate.close_after(calls, arrives=arrives, pattern=CALLS)
    run = begin(host, life)
    deadline = time.monotonic() + PATIENCE
    while not (came := host.gate.closed.wait(0.05)):
        assert time.monotonic() < deadline, host.daemon.log
        if host.show(run)["status"] not in ("Pending", "Running") and f"cluster/{run}" not in host.left():
            break
    host.daemon.kill()
    host.gate.forget()
    host.daemon.start()
    check(host, run, life)
    host.clean()
    return came


@pytest.mark.long
@pytest.mark.parametrize("arrives", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("life", LIVES)
def test_between_each_two_calls(host: pods.Host, life: str, *, arrives: bool) -> None:
    """Before the call arrives, and when it was carried out and the answer is not heard."""
    calls = 0
    while kill_after(host, calls, life, arrives=arrives):
        calls += 1
    assert calls > 5


def test_at_random_moments(host: pods.Host) -> None:
    """Several runs are at different points of their lives each time."""
    chance = random.Random(1)
    runs = {begin(host, life): life for life in [*LIVES] * 2}
    for _ in range(6):
        host.gate.close_after(chance.randrange(12), arrives=chance.random() < 0.5, pattern=CALLS)
        host.gate.closed.wait(1)
        host.daemon.kill()
        host.gate.forget()
        host.daemon.start()
        life = chance.choice([*LIVES])
        runs[begin(host, life)] = life
    for run, life in runs.items():
        check(host, run, life)
    host.clean()


def test_a_log_is_followed_over_kills(host: pods.Host) -> None:
    """By a client that asks again for what comes behind its last line: many at one instant, and long ones."""
    script = """
        for round in 1 2 3 4 5 6; do
            seq ${round}000 ${round}400; head -c 20000 /dev/zero | tr '\\0' x; echo; sleep 1
        done
        printf end
    """
    run = host.create(script)
    with host.following(run) as follower:
        assert follower.stdout is not None
        found: list[bytes] = []
        for line in follower.stdout:
            found.append(line)
            if line in (b"1007\n", b"2400\n", b"3001\n", b"4399\n"):
                host.daemon.kill()
                host.daemon.start()
    host.ends(run)
    wanted = [
        line
        for number in range(1, 7)
        for line in (*(f"{number}{rest:03}" for rest in range(401)), "x" * 20000)
    ]
    assert b"".join(found).decode().splitlines() == [*wanted, "end"]
    host.clean()
