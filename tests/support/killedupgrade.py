"""Upgrades a catalog again and again, dying in the middle each time: at every statement, and at any moment.

    python killedupgrade.py CATALOG

CATALOG is left as it is; work goes on in copies beside it. After each death the catalog is opened once more
and compared with one whose upgrade nobody has disturbed. Forks, so it is a process of its own. Prints a line
for each death.
"""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable

import sqlalchemy as sa

from tygerd.catalog import db, migrate

MOMENTS = 4
READS = ("SELECT", "PRAGMA")


def main(original: pathlib.Path) -> None:
    """Die everywhere."""
    whole = copied(original)
    started = time.monotonic()
    db.Catalog.open(str(whole)).close()
    took = time.monotonic() - started
    wanted = content(whole)
    before = content(original)
    number = 1
    while dies(original, (before, wanted), functools.partial(die_at, number), f"at statement {number}"):
        number += 1
    if number < 10:
        raise AssertionError("the upgrade has hardly any statement")
    chance = random.Random(1)
    for _ in range(MOMENTS):
        after = chance.uniform(0, took)
        dies(original, (before, wanted), functools.partial(die_after, after), f"after {after:.3f} s")


def dies(
    original: pathlib.Path,
    contents: tuple[list[object], list[object]],
    prepare: Callable[[], None],
    when: str,
) -> bool:
    """Upgrade a copy in a process that dies, then again in this one; whether it has died."""
    before, wanted = contents
    path = copied(original)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        prepare()
        db.Catalog.open(str(path)).close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    db.Catalog.open(str(path)).close()
    assert content(path) == wanted, f"killed {when}"
    (kept,) = path.parent.glob(f"{path.name}.0*")
    assert content(kept) == before, f"killed {when}: the copy"
    sys.stdout.write(f"{'killed' if killed else 'lived'} {when}\n")
    shutil.rmtree(path.parent)
    return killed


def die_at(number: int) -> None:
    """From now on die at the statement of this number that may change something, or at a commit."""
    numbers = itertools.count(1)

    def strike() -> None:
        if next(numbers) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def execute(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.lstrip().startswith(READS):
            strike()

    sa.event.listen(sa.Engine, "before_cursor_execute", execute)
    sa.event.listen(sa.Engine, "commit", lambda _: strike())


def die_after(seconds: float) -> None:
    """Die at that moment, whatever is being done."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # its default ends the process as SIGKILL does
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))


def copied(original: pathlib.Path) -> pathlib.Path:
    """A copy in a directory of its own."""
    directory = original.parent / f"copy-{next(_numbers)}"
    directory.mkdir()
    return pathlib.Path(shutil.copy(original, directory / "catalog.sqlite3"))


def content(path: pathlib.Path) -> list[object]:
    """Everything that a catalog holds, after SQLite has checked it."""
    connection = sqlite3.connect(path)
    found: list[object] = connection.execute("PRAGMA integrity_check").fetchall()
    assert found == [("ok",)], found
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in sorted(names):
        found += [name, *sorted(connection.execute(f"SELECT * FROM {name}"), key=repr)]
    connection.close()
    return found


_numbers = itertools.count()

if __name__ == "__main__":
    assert len(migrate.REVISIONS) > 1  # and all of Alembic is loaded, once
    main(pathlib.Path(sys.argv[1]))
