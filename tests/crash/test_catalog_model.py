"""Eight processes change a catalog while its daemon is killed: it agrees with their models, nobody waits."""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
import subprocess
import sys

import pytest

from tests.support import daemon
from tyger import client

CLIENTS = 8


class InstantDaemon(daemon.Daemon):
    """The daemon with an engine whose jobs cost nothing."""

    def command(self, *arguments):
        command = super().command(*arguments)
        at = command.index("tygerd")
        return [*command[:at], "tests.support.instantdaemon", *command[at + 1 :]]


@pytest.mark.parametrize(
    ("operations", "kills", "seed"),
    [(1500, 4, 1), pytest.param(10_000, 30, 2, marks=pytest.mark.long)],
)
def test_the_catalog_agrees_with_its_model(tmp_path, operations, kills, seed):
    with daemon.directory() as path:
        it = InstantDaemon(path, "[limits]\nconnections_per_uid = 100\n", ())
        try:
            it.start()
            share(it)
            play(it, tmp_path, operations, kills, seed)
            check(it, tmp_path)
            assert it.stop() == 0
            check_rows(f"{it.state}/catalog.sqlite3")
            assert "defect" not in it.log
            assert "Traceback" not in it.log
        finally:
            it.kill()


def share(it):
    """Make what all clients share."""
    control = client.Client(it.socket)
    control.request("POST", "/buffers", body={"tags": {"shared": "counter", "n": "0"}})
    body = {"kind": "job", "image": "image0", "command": ["x"]}
    control.request("PUT", "/codespecs/shared", body=body)


def play(it, results, operations, kills, seed):
    """Let the clients work, and kill the daemon at that many of their operations."""
    moments = set(random.Random(seed).sample(range(operations // 20, operations), kills))
    numbers = [str(number) for number in (CLIENTS, operations, seed)]
    with (
        open(results / "said", "wb") as said,
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.catalogclients", it.socket, *numbers, str(results)],
            env=os.environ | {"PYTHONPATH": str(daemon.ROOT)},
            stdout=subprocess.PIPE,
            stderr=said,
            bufsize=0,
        ) as clients,
    ):
        done = 0
        while clients.stdout.read(1):
            done += 1
            if done in moments:
                it.restart()
    assert clients.returncode == 0, (results / "said").read_text()[-5000:]
    assert done == operations // CLIENTS * CLIENTS


def check(it, results):
    """What all clients share, and the sum of what each has."""
    control = client.Client(it.socket)
    known = [json.loads(file.read_text()) for file in results.glob("*.json")]
    assert len(known) == CLIENTS
    (counter,) = control.request("GET", "/buffers", query=[("tag[shared]", "counter")]).json()["items"]
    made, lost = (sum(each["counted"][which] for each in known) for which in (0, 1))
    assert made <= int(counter["tags"]["n"]) <= made + lost
    # Each has looked at all that there was at its own end, in whatever order these were.
    versions = max((each["versions"] for each in known), key=len)
    for each in known:
        assert each["versions"].keys() == {str(number) for number in range(1, len(each["versions"]) + 1)}
        assert each["versions"].items() <= versions.items()
    images = [versions[str(number)] for number in range(1, len(versions) + 1)]
    assert all(one != next_ for one, next_ in itertools.pairwise(images))
    assert sum(control.request("GET", "/runs/counts").json().values()) == sum(each["runs"] for each in known)


def check_rows(path):
    """What must hold in the database itself."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    for tags, column, owners in (("buffer_tags", "buffer_id", "buffers"), ("run_tags", "run_id", "runs")):
        wrong = f"SELECT count(*) FROM {tags} AS t JOIN {owners} AS o ON o.id = {column}"
        assert connection.execute(f"{wrong} WHERE t.created_at != o.created_at").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM runs WHERE final AND status = 'Running'").fetchone() == (
        0,
    )
    keys, runs = (
        connection.execute(f"SELECT count(*) FROM {name}").fetchone() for name in ("idempotency_keys", "runs")
    )
    assert keys == runs
    connection.close()
