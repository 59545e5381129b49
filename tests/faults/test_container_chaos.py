"""Runs in containers while the daemon and Podman are killed and connections cut at random moments."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import random
import threading
import time
from typing import Self

import pytest

from tests.support import containers, daemon, enginegate
from tests.support import podman as podman_support

RUNS, AT_ONCE = 9, 4
"""So many runs have to succeed, of which some go on at the same time."""

SCRIPT = 'echo up >&2; tee /dev/stderr < "$IN_PIPE" > "$OUT_PIPE"; echo down >&2'
"""One stream only, because two have no order between them."""

HONEST = (
    "nothing tells whether that has run or runs",
    "cannot create main's container",
    "no container engine answers",
)
"""The ends that a job may have beside its own: a start is not repeated where it may have happened, and who
finds no peace for a minute to make a container, or for half of one to hear of an engine, gives up."""


def is_honest(said: str) -> bool:
    return any(words in said for words in HONEST)


class Trouble:
    """Makes it, in a thread, at moments that a seed decides; `made` counts what was done.

    `pause` are the seconds in which a run has a chance to get somewhere between two of them, at most.
    """

    def __init__(self, host: containers.Host, gate: enginegate.Gate, seed: int, pause: float) -> None:
        self.made = collections.Counter[str]()
        self._host = host
        self._gate = gate
        self._chance = random.Random(seed)
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._make)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _make(self) -> None:
        deck: list[str] = []
        while not self._stop.wait(self._chance.uniform(0.05, self._pause)):
            if not deck:  # so that each comes in its turn, however few there are
                deck = ["all", "all", "all", "streams", "podman", "daemon"]
                self._chance.shuffle(deck)
            what = deck.pop()
            self.made[what] += 1
            match what:
                case "all":
                    self._gate.cut("")
                case "streams":
                    self._gate.cut("/attach$|/logs$")
                case "podman":
                    self._host.podman.kill()
                    self._stop.wait(self._chance.uniform(0, 0.5))
                    self._host.podman.start()
                case "daemon":
                    self._host.daemon.kill()
                    self._stop.wait(self._chance.uniform(0, 0.3))
                    self._host.daemon.start()


def lines(number: int) -> list[str]:
    """What is sent through a run."""
    chance = random.Random(number)
    return [f"{chance.randrange(10**9)} line {line} of {number}" for line in range(3000)]


def executed(host: containers.Host, file: str, number: int) -> tuple[int, bool]:
    """`run exec` until a run was created: its ID, and whether it has succeeded.

    All of its output was right then, else it said why not.
    """
    data = "".join(f"{line}\n" for line in lines(number)).encode()
    for _ in range(100):
        process = host.commands.start("run", "exec", "-f", file)
        out, said = process.communicate(data, timeout=200)
        if b"Run created" in said:
            assert (process.returncode == 0 and out == data) or is_honest(said.decode()), said.decode()
            return int(said.split(b"runId=")[1].split()[0]), process.returncode == 0
        # Nothing was made: nobody was there who could have made it. Who was there is waited for.
        assert process.returncode == 69, said.decode()
    raise AssertionError(f"no run was ever created: {said.decode()}")


def strange(found: list[str], wanted: list[str]) -> str:
    """Where a log begins to differ, and what it has lost, doubled and made up."""
    at = next((at for at, pair in enumerate(zip(found, wanted, strict=False)) if len(set(pair)) > 1), -1)
    doubled = [line for line, count in collections.Counter(found).items() if count > 1]
    lost, made_up = (
        [line for line in these if line not in others]
        for these, others in ((wanted, set(found)), (found, set(wanted)))
    )
    return (
        f"at {at} of {len(found)}: {found[at - 1 : at + 2]}; {len(lost)} lost: {lost[:1]} to {lost[-1:]};"
        f" {len(doubled)} doubled: {doubled[:1]} to {doubled[-1:]}; made up: {made_up}"
    )


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_killed_and_cut(seed):
    with (
        podman_support.service() as podman,
        enginegate.gate(podman.socket) as gate,
        containers.host(podman, gate.path) as host,
    ):
        host.works()
        began = time.monotonic()
        host.works()
        pause = 1.5 * (time.monotonic() - began)
        file = host.run_file(SCRIPT)
        with (
            Trouble(host, gate, seed, pause) as trouble,
            concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            runs: dict[int, tuple[int, bool]] = {}
            numbers = itertools.count()

            def go_on() -> None:
                """Until there was enough of everything: how many runs that takes is the machine's."""
                while not (len(trouble.made) == 4 and sum(well for _, well in list(runs.values())) >= RUNS):
                    number = next(numbers)
                    assert number < 5 * RUNS, (trouble.made, runs)
                    runs[number] = executed(host, file, number)

            for done in [pool.submit(go_on) for _ in range(AT_ONCE)]:
                done.result()
        for number, (run, well) in runs.items():
            last = host.commands.show(run)
            if last["status"] == "Succeeded":
                found, wanted = host.log(run), ["up", *lines(number), "down"]
                assert found == wanted, strange(found, wanted)
            else:
                assert not well
                assert is_honest(str(last["statusReason"])), last
        host.clean(2 * daemon.PATIENCE)
