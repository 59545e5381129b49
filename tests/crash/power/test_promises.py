"""Loss of power: every state that the disk could be in, rebuilt from what a real daemon wrote and synced.

With durability = "power", what was acknowledged is there, byte for byte. With "process", and for what was not
yet acknowledged, there is an exact prefix or a named error, and never a wrong byte.
"""

from __future__ import annotations

import pathlib
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import daemon, ending, powerloss, powerstory, tracing
from tests.support import rebuiltdisks as disks
from tygerd.blocks import container

DATA = powerstory.DATA
SAID = powerstory.SAID
BLOBS = powerstory.BLOBS
FATES = disks.FATES


@pytest.mark.parametrize("which", ["whole", "spooled"])
def test_a_stream_that_was_acknowledged_is_there(safe, place, which):
    path, acknowledged = getattr(safe, which)
    for moment, fates, there in disks.each_disk(safe, path, acknowledged, place, limit=256):
        assert there, (moment, fates)
        assert disks.read(container.Container(str(place))) == disks.Read(DATA, "complete"), (moment, fates)


def test_a_failure_that_was_acknowledged_is_there_with_its_reason(safe, place):
    path, acknowledged = safe.broken
    for moment, fates, there in disks.each_disk(safe, path, acknowledged, place, limit=256):
        assert there, (moment, fates)
        target = container.Container(str(place))
        assert disks.read(target) == disks.Read(SAID, "failed"), (moment, fates)
        assert "3" in (target.failure() or "")


def test_a_blob_that_was_acknowledged_is_there_and_any_is_whole(safe, place):
    path, acknowledged = safe.put
    for moment, fates, there in disks.each_disk(safe, path, safe.created, place, limit=64):
        target = container.Container(str(place))
        for name, data in BLOBS.items():
            blob = target.blob(name) if there else None
            if blob is not None:
                assert pathlib.Path(blob.path or "").read_bytes() == data, (moment, fates, name)
            else:
                assert moment <= acknowledged[name], (moment, fates, name)


def test_a_daemon_with_power_vouches_for_what_one_without_it_began(place):
    """The setting is changed in the middle of a write: what is acknowledged then is there, all of it."""
    with daemon.directory() as path:
        it = tracing.Traced(path, powerstory.config("process"))
        try:
            it.start()
            buffer = powerstory.tyger(it, "buffer", "create").decode().strip()
            command = [*daemon.TYGER, "--log-level", "error", "buffer", "write", buffer, "-b", "8K"]
            with ending.Popen(command, env=it.env, stdin=subprocess.PIPE) as writing:
                assert writing.stdin is not None
                writing.stdin.write(DATA[:20_000])
                writing.stdin.flush()
                wait_for_blocks(it, buffer, 2)
                it.kill()
                pathlib.Path(it.config).write_text(powerstory.config("power"))
                it.start()
                writing.stdin.write(DATA[20_000:])
                writing.stdin.close()
                assert writing.wait(60) == 0
        finally:
            it.kill()
        recording = tracing.Recording(it, {buffer: DATA})
    below = f"state/containers/{buffer}"
    for moment in recording.moments(below, recording.when_sent(powerstory.said("complete"))):
        crash = recording.crash(moment, below)
        for fates in crash.all_fates(limit=256):
            assert powerloss.build(crash.files(fates), below, place), (moment, fates)
            assert disks.read(container.Container(str(place))) == disks.Read(DATA, "complete"), (
                moment,
                fates,
            )


def wait_for_blocks(it: daemon.Daemon, buffer: str, count: int) -> None:
    """Wait until a buffer that is being written has so many blocks."""
    command = [*daemon.TYGER, "buffer", "read", buffer]
    with ending.Popen(command, env=it.env, stdout=subprocess.PIPE) as reading:
        assert reading.stdout is not None
        reading.stdout.read(count * 8192)
        reading.kill()


@pytest.mark.parametrize("which", ["whole", "broken", "spooled"])
def test_nothing_else_is_ever_read(story, place, which):
    """Whatever the disk is like: an exact prefix, and an end that is true or a name for what is wrong."""
    path, _ = getattr(story, which)
    for moment, fates, there in disks.each_disk(story, path, 0, place, limit=16):
        if there:
            check_prefix(story, disks.read_recovered(place), which, (moment, fates))


def check_prefix(story: powerstory.Story, got: disks.Read, which: str, case: object) -> None:
    data = SAID if which == "broken" else DATA
    assert data.startswith(got.data), case
    assert got.end is not None or got.error is not None, case
    if got.end == "complete" and (story.synced or got.error is None):
        assert got == disks.Read(data, "complete"), case


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_became_of_each_write(story, place, data):
    """Some of what was not synced is on the disk, in whole, in part, or as zeros."""
    which = data.draw(st.sampled_from(["whole", "broken", "spooled"]))
    path, _ = getattr(story, which)
    moment = data.draw(st.sampled_from(story.recording.moments(f"state/{path}", 0)))
    count = story.recording.crash(moment, f"state/{path}").open
    fates = tuple(data.draw(st.lists(st.sampled_from(FATES), min_size=count, max_size=count)))
    if disks.disk(story, path, moment, fates, place):
        check_prefix(story, disks.read_recovered(place), which, (moment, fates))
