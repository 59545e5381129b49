"""Makes the state directory of a checkout: what a daemon of that revision leaves behind after some work.

    git archive COMMIT | tar x -C /tmp/old
    python tests/support/states/make.py /tmp/old

writes `REVISION.sql` (the catalog) and `REVISION.tar.gz` (the rest) beside this file. Whoever adds a revision
to the catalog runs it on the commit before; `tests/e2e/test_upgrades.py` says what has to be found in it.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CONFIG = '[[engine.process.images]]\nimage = "here"\nroot = "/"\n'

CODESPECS = [
    {"kind": "job", "image": "here", "command": ["true"]},
    {"kind": "job", "image": "here", "command": ["false"]},
]
JOB = {
    "kind": "job",
    "image": "here",
    "command": ["sh", "-c", "echo made; cat <$INPUT_PIPE >$OUTPUT_PIPE"],
    "buffers": {"inputs": ["input"], "outputs": ["output"]},
}

# What only a daemon that was killed leaves: a run and a transfer that have not ended.
UNFINISHED = """
INSERT INTO runs (id, body, status, created_at, started_at, final, owner_uid, owner, epoch)
    SELECT 3, body, 'Running', created_at + 1, created_at + 2, 0, owner_uid, owner, epoch
    FROM runs WHERE id = 2;
INSERT INTO transfers (id, buffer, state, block_size, flush_interval, bytes, blocks, created_at, owner_uid,
    owner, epoch) SELECT '00112233445566778899aabbccddeeff', id, 'running', 4194304, 1.0, 0, 0, b.created_at,
    owner_uid, owner, epoch
    FROM buffers AS b JOIN buffer_tags ON buffer_id = id WHERE key = 'name' AND value = 'cut';
"""


def main(checkout: str) -> None:
    """Work with a daemon of `checkout`, and keep what it leaves."""
    with tempfile.TemporaryDirectory(prefix="tyger-") as directory:
        path = pathlib.Path(directory)
        (path / "tygerd.toml").write_text(CONFIG)
        environ = {**os.environ, "PYTHONPATH": checkout, "TYGER_SOCKET": str(path / "s"), "HOME": directory}
        places = [
            "--socket",
            str(path / "s"),
            "--state",
            str(path / "state"),
            "--config",
            str(path / "tygerd.toml"),
        ]
        daemon = subprocess.Popen(
            [sys.executable, "-m", "tygerd", "serve", *places],
            env=environ,
            cwd=checkout,
            stderr=subprocess.DEVNULL,
        )
        try:
            work(path, environ, checkout)
        finally:
            daemon.terminate()
            daemon.wait()
        keep(path / "state")


def work(path: pathlib.Path, environ: dict[str, str], checkout: str) -> None:
    """Make one of everything."""

    def tyger(*arguments: str, stdin: bytes = b"") -> str:
        command = [sys.executable, "-m", "tyger", *arguments]
        done = subprocess.run(
            command, env=environ, cwd=checkout, input=stdin, check=True, stdout=subprocess.PIPE
        )
        return done.stdout.decode().strip()

    while not (path / "s").exists():
        time.sleep(0.1)
    for codespec in CODESPECS:
        ask(path / "s", "PUT", "/codespecs/tested", codespec)
    written = tyger("buffer", "create", "--tag", "name=written", "--tag", "site=north")
    tyger("buffer", "write", written, stdin=b"".join(b"%d\n" % number for number in range(1000)))
    tyger("buffer", "create", "--tag", "name=empty", "--tag", "site=south", "--ttl", "30000")
    deleted = tyger("buffer", "create", "--tag", "name=deleted", "--tag", "site=north")
    tyger("buffer", "create", "--tag", "name=cut")
    tyger("buffer", "delete", deleted)
    ask(path / "s", "DELETE", f"/buffers/{deleted}?softDeleted=true&ttl=30000.00:00:00", None)
    run = {
        "job": {"codespec": JOB, "buffers": {"input": written}, "tags": {"name": "made"}},
        "tags": {"kind": "key"},
    }
    ask(path / "s", "POST", "/runs", run, key="the key")
    tyger("run", "watch", "1")
    ask(path / "s", "POST", "/runs", {"job": {"codespec": "tested"}, "tags": {"kind": "failed"}})
    tyger("run", "watch", "2")


def ask(path: pathlib.Path, method: str, target: str, body: object, key: str = "") -> None:
    """One request; its failure ends the script."""
    data = b"" if body is None else json.dumps(body).encode()
    target += ("&" if "?" in target else "?") + "api-version=1.0"
    extra = f"Idempotency-Key: {key}\r\n" if key else ""
    fields = f"Host: x\r\nConnection: close\r\n{extra}Content-Length: {len(data)}\r\n"
    head = f"{method} {target} HTTP/1.1\r\n{fields}\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(head.encode() + data)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if not answer.startswith(b"HTTP/1.1 2"):
        sys.exit(answer.decode())


def keep(state: pathlib.Path) -> None:
    """Write the catalog as SQL, and the rest as an archive without keys."""
    connection = sqlite3.connect(state / "catalog.sqlite3")
    connection.executescript(UNFINISHED)
    (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    (HERE / f"{revision}.sql").write_text("\n".join(connection.iterdump()) + "\n")
    connection.close()
    for name in ("keys", "trash", "spool", "runs"):
        shutil.rmtree(state / name, ignore_errors=True)
    with tarfile.open(HERE / f"{revision}.tar.gz", "w:gz") as archive:
        for name in ("version", "containers", "logs"):
            archive.add(state / name, arcname=name, filter=nobody)


def nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same entry, of no user."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main(sys.argv[1])
