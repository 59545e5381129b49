"""`kill -9` in the middle of an upgrade of the catalog: the next start does it again, and nothing is lost."""

import os
import sqlite3
import subprocess
import sys

import pytest

from tests.support import daemon, oldstate
from tygerd.catalog import schema

MORE = """
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 300)
    INSERT INTO runs (body, status, created_at, final, owner_uid, owner, epoch)
        SELECT '{}', 'Failed', n, 1, 1, 'o', 1 FROM number;
"""
TAGS = "INSERT INTO run_tags (run_id, key, value) SELECT id, 'n', id FROM runs"
TAGS_OF_0003 = (
    "INSERT INTO run_tags (run_id, key, value, created_at) SELECT id, 'n', id, created_at FROM runs"
)


OLD = [revision for revision in oldstate.REVISIONS if revision < schema.REVISION]


@pytest.mark.parametrize(
    "revision", [OLD[0], *(pytest.param(one, marks=pytest.mark.long) for one in OLD[1:])]
)
def test_an_upgrade_that_is_killed_is_done_again(tmp_path, revision):
    path = tmp_path / "catalog.sqlite3"
    oldstate.catalog(revision, path)
    connection = sqlite3.connect(path)
    connection.executescript(f"{MORE}; {TAGS if revision < '0003' else TAGS_OF_0003};")
    connection.close()
    done = subprocess.run(
        [sys.executable, daemon.ROOT / "tests/support/killedupgrade.py", path],
        env=os.environ | {"PYTHONPATH": str(daemon.ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert sum(line.startswith("killed at statement") for line in said) >= 5
