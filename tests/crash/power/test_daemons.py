"""Loss of power: the catalog, and a real daemon on a disk that is left of another's."""

from __future__ import annotations

import contextlib
import pathlib
import re
import sqlite3
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import daemon, powerloss, powerstory
from tests.support import rebuiltdisks as disks
from tyger import errors

DATA = powerstory.DATA
SAID = powerstory.SAID
BLOBS = powerstory.BLOBS
FATES = disks.FATES

PARTS = {
    "all but the containers": "state/containers/",
    "all but the catalog": "state/catalog",
    "all but journals": "/journal$",
    "all but blocks": "/blocks",
    "all but notes of the boot": "/boot",
}
"""What is lost when the rest was kept."""


def test_a_buffer_that_was_acknowledged_is_in_the_catalog_with_its_container_and_its_key(safe, place):
    """Everything that a start and a creation make: nobody could find the blocks without it."""
    name = safe.whole[0].rpartition("/")[2]
    for moment in safe.recording.moments("state", safe.created):
        crash = safe.recording.crash(moment)
        for fates in (("lost",) * crash.open, ("kept",) * crash.open):
            files = crash.files(fates)
            assert f"state/{safe.whole[0]}" in files, (moment, fates)
            assert b"PRIVATE KEY" in (files["state/keys/sas.pem"] or b""), (moment, fates)
            assert powerloss.build({one: files[one] for one in files if "/" not in one[6:]}, "state", place)
            assert ready_buffers(place) >= {name}, (moment, fates)


def ready_buffers(place: pathlib.Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(place / "catalog.sqlite3")) as catalog:
        assert catalog.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {name for (name,) in catalog.execute("SELECT id FROM buffers WHERE is_ready")}


@contextlib.contextmanager
def daemon_on(
    story: powerstory.Story, moment: int, fates: tuple[powerloss.Fate, ...], durability: str
) -> Iterator[daemon.Daemon]:
    """A daemon that starts on the whole disk as it then is."""
    impatient = powerstory.config(durability) + "[transfer]\nreattach_grace = 0\n"
    with daemon.daemon(config=impatient, start=False) as it:
        powerloss.build(
            disks.rebooted(story.recording.crash(moment).files(fates)), "state", pathlib.Path(it.state)
        )
        it.start()
        yield it


@pytest.mark.parametrize("fate", ["lost", "kept"])
def test_a_daemon_goes_on_with_all_that_was_acknowledged(safe, far, fate):
    """The streams are whole, the failure has its reason, and what was spooled is shipped after all."""
    moment = safe.recording.length
    fates = (fate,) * safe.recording.crash(moment).open
    with daemon_on(safe, moment, fates, "power") as it:
        assert powerstory.tyger(it, "buffer", "read", powerstory.buffer_of(safe.whole)) == DATA
        failed = errors.BUFFER_FAILED.exit_code
        assert powerstory.tyger(it, "buffer", "read", powerstory.buffer_of(safe.broken), code=failed) == SAID
        url = powerstory.tyger(it, "buffer", "access", powerstory.buffer_of(safe.put))
        for name, data in BLOBS.items():
            assert powerstory.ask(it, url, "GET", name) == (200, data)
        host, far_url = far
        host.start()
        try:
            far_name = far_url.partition("/containers/")[2].partition("?")[0]
            assert powerstory.tyger(host, "buffer", "read", far_name) == DATA
        finally:
            host.stop()


@pytest.mark.parametrize("fate", [*FATES, *PARTS])
@pytest.mark.parametrize("when", ["midway", "later"])
def test_a_daemon_names_what_was_lost_and_never_hangs(fast, fate, when):
    """Nothing was synced, and readers learn it; the daemon starts on any such disk."""
    begun = fast.recording.when_sent(b'"event":"attached"')
    moment = (begun + fast.whole[1]) // 2 if when == "midway" else fast.recording.length

    def choose(operation: powerloss.Operation) -> powerloss.Fate:
        if fate in FATES:
            return fate
        lost = any(re.search(PARTS[fate], path) for path in fast.recording.touched(operation))
        return "lost" if lost else "kept"

    fates = fast.recording.crash(moment).choose(choose)
    with daemon_on(fast, moment, fates, "process") as it:
        done = subprocess.run(
            [*daemon.TYGER, "buffer", "read", powerstory.buffer_of(fast.whole)],
            env=it.env, check=False, capture_output=True, timeout=120,
        )  # fmt: skip
        assert DATA.startswith(done.stdout)
        if done.returncode == 0:
            assert done.stdout == DATA
        else:
            named = {errors.NOT_FOUND.exit_code, errors.BUFFER_FAILED.exit_code, errors.CORRUPT.exit_code}
            assert done.returncode in named, done.stderr
        if (when, fate) == ("midway", "kept"):
            assert b"the machine went down while the stream was being written" in done.stderr
