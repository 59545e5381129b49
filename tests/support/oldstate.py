"""State directories of older revisions of the catalog, as `states/make.py` has kept them."""

from __future__ import annotations

import pathlib
import sqlite3
import tarfile

STATES = pathlib.Path(__file__).with_name("states")
REVISIONS = sorted(path.stem for path in STATES.glob("*.sql"))

CONTENT = b"".join(b"%d\n" % number for number in range(1000))
"""What its buffer with the tag `name=written` holds."""


def restore(revision: str, state: pathlib.Path) -> None:
    """Make the state directory of a daemon of that revision."""
    state.mkdir(mode=0o700, parents=True)
    with tarfile.open(STATES / f"{revision}.tar.gz") as archive:
        # Ours, so nothing in it needs a filter; newer Pythons want one named, Debian 12's knows none.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # type: ignore[assignment]
        archive.extractall(state)
    catalog(revision, state / "catalog.sqlite3")


def catalog(revision: str, path: pathlib.Path) -> None:
    """Make only its catalog."""
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA journal_mode=WAL;" + (STATES / f"{revision}.sql").read_text())
    connection.close()
