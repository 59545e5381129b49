"""A network namespace with one slow link to this host, for a daemon behind it. Only root may make one.

with netns.slow("1mbit") as link:
    link.address              # this host, as it is seen from there
    link.command(["tygerd", "serve"])
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest


class Link(NamedTuple):
    """A namespace, the address of this host in it, and the device that leads to it from there."""

    name: str
    address: str
    device: str

    def command(self, argv: list[str]) -> list[str]:
        """The argv that runs `argv` there."""
        return ["ip", "netns", "exec", self.name, *argv]

    def unplug(self) -> None:
        """Pull the cable out: packets are lost, and nobody is told."""
        self._set("down")

    def plug(self) -> None:
        """Put it in again."""
        self._set("up")

    def _set(self, state: str) -> None:
        subprocess.run(self.command(["ip", "link", "set", self.device, state]), check=True)


@contextlib.contextmanager
def slow(rate: str) -> Iterator[Link]:
    """A link on which at most `rate` (as tc has it) leaves the namespace; the way back is fast."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None:
        pytest.skip("needs root, ip and tc, to make a slow link")
    number = os.getpid() % 16384  # one a process, so that tests can run side by side
    name, ours, theirs = f"tyger-{number}", f"tyga{number}", f"tygb{number}"
    base = f"10.{200 + number // 4096}.{number // 16 % 256}.{number % 16 * 4}".rsplit(".", 1)
    network, first = base[0], int(base[1])
    link = Link(name, f"{network}.{first + 1}", theirs)
    inside = link.command(["ip"])
    steps = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name],
        ["ip", "addr", "add", f"{link.address}/30", "dev", ours],
        ["ip", "link", "set", ours, "up"],
        [*inside, "addr", "add", f"{network}.{first + 2}/30", "dev", theirs],
        [*inside, "link", "set", theirs, "up"],
        [*inside, "link", "set", "lo", "up"],
        # The token bucket is in every kernel; a queue of 400 ms is a home router's.
        link.command(
            [
                "tc",
                "qdisc",
                "add",
                "dev",
                theirs,
                "root",
                "tbf",
                "rate",
                rate,
                "burst",
                "16kb",
                "latency",
                "400ms",
            ]
        ),
    ]
    _remove(name, ours)  # an earlier process of this number may have been killed
    try:
        for step in steps:
            done = subprocess.run(step, capture_output=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"no slow link here: {' '.join(step)}: {done.stderr.decode().strip()}")
        yield link
    finally:
        _remove(name, ours)


def _remove(name: str, device: str) -> None:
    """Both ends of the link go with either; the kernel may take a moment for the namespace's."""
    for step in (["ip", "link", "del", device], ["ip", "netns", "del", name]):
        subprocess.run(step, capture_output=True, check=False)
