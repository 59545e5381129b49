"""Many runs at once, and what that costs: for `bench`, with a thousand, and for a test, with few.

measured = manyruns.measure(host, 1000)
measured.late        # seconds from a pod's end to the run's, of each run
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import pathlib
import socket
import threading
import time
from typing import NamedTuple

from tests.support import pods

PATIENCE = 3600
"""Seconds for all."""


class Measured(NamedTuple):
    """What became of the runs, and the daemon's part: `statuses` by how often, `late` in seconds of each run.

    `idle_memory` is before there was one, `memory` the peak (bytes), `cpu` the seconds of processor time from
    the first run's creation to the last one's end, `seconds` how long that was.
    """

    statuses: dict[str, int]
    late: list[float]
    idle_memory: int
    memory: int
    cpu: float
    seconds: float


def measure(host: pods.Host, count: int, script: str = "true") -> Measured:
    """Create so many runs, as fast as the daemon takes them, and wait until all have ended."""
    listener = _Listener(host)
    idle_memory, cpu, start = _memory(host.daemon.pid, "VmRSS"), _cpu(host.daemon.pid), time.monotonic()
    with host.session() as session:
        for _ in range(count):
            made = session.post(f"http://tyger/runs?{pods.V}", json=host.body(script))
            assert made.status_code == 201, made.text
            listener.wanted.add(int(made.json()["id"]))
    listener.wait()
    seconds, cpu = time.monotonic() - start, _cpu(host.daemon.pid) - cpu
    listener.close()
    late = [
        listener.ended[run][0] - host.witness.ended[host.witness.name(run)] for run in sorted(listener.wanted)
    ]
    statuses = collections.Counter(listener.ended[run][1] for run in listener.wanted)
    return Measured(dict(statuses), late, idle_memory, _memory(host.daemon.pid, "VmHWM"), cpu, seconds)


class _Listener:
    """Hears of each change, and asks what it was. `ended`: when it heard of a run's end, and how that was."""

    def __init__(self, host: pods.Host) -> None:
        self.wanted: set[int] = set()
        self.ended: dict[int, tuple[float, str]] = {}
        self._host = host
        self._news = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(host.daemon.socket)
        self._answer = _get(self._socket, "/events")
        assert b"listening" in self._answer.readline()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until all that are wanted have ended."""
        with self._news:
            there = self._news.wait_for(lambda: self.wanted <= self.ended.keys(), PATIENCE)
        assert there, f"{len(self.wanted - self.ended.keys())} of {len(self.wanted)} runs have not ended"

    def close(self) -> None:
        """Hear no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._answer.close()
        self._socket.close()

    def _listen(self) -> None:
        with self._host.session() as session, contextlib.suppress(OSError, http.client.HTTPException):
            for line in self._answer:
                event = json.loads(line)
                now = time.monotonic()
                if event.get("kind") != "run" or int(event["id"]) in self.ended:
                    continue
                run = session.get(f"http://tyger/runs/{event['id']}?{pods.V}").json()
                if run["status"] not in ("Pending", "Running"):
                    with self._news:
                        self.ended[run["id"]] = now, run["status"]
                        self._news.notify_all()


def _get(sock: socket.socket, target: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("tyger")
    connection.sock = sock
    connection.request("GET", target)
    return connection.getresponse()


def _memory(pid: int, what: str) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {what} in /proc")


def _cpu(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
