"""Loss of power: every state that the disk could be in, rebuilt from what a real daemon wrote and synced.

With durability = "power", what was acknowledged is there, byte for byte. With "process", and for what was not
yet acknowledged, there is an exact prefix or a named error, and never a wrong byte.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import pathlib
import random
import re
import socket
import sqlite3
import subprocess
import tempfile
import urllib.parse
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import daemon, powerloss, tracing
from tyger import errors
from tygerd.blocks import boot, chain, container, names, writer

DATA = random.Random(1).randbytes(50_000)
"""Seven blocks of 8 KiB."""

SAID = b"what a producer says before it fails\n"

BLOBS = {
    names.START: container.START_MARKER,
    "00/000": random.Random(2).randbytes(9000),
    "00/001": b"",
    names.END: container.END_MARKERS["complete"],
}

PARTS = {
    "all but the containers": "state/containers/",
    "all but the catalog": "state/catalog",
    "all but journals": "/journal$",
    "all but blocks": "/blocks",
    "all but notes of the boot": "/boot",
}
"""What is lost when the rest was kept."""

FATES: tuple[powerloss.Fate, ...] = ("lost", "kept", "torn", "zeros")


class Story(NamedTuple):
    """What one daemon was asked to do from its first start to its sudden end.

    Of each container: its path in the state directory, and the moment when its end was acknowledged; of the
    blobs that were PUT, the moment of each. `created` is when the first was acknowledged as created.
    """

    recording: tracing.Recording
    synced: bool
    created: int
    whole: tuple[str, int]
    broken: tuple[str, int]
    spooled: tuple[str, int]
    put: tuple[str, dict[str, int]]


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[daemon.Daemon, str]]:
    """Another host: a daemon that is away, and the access URL of a buffer that it has."""
    with daemon.daemon() as it:
        buffer = tyger(it, "buffer", "create").decode().strip()
        url = tyger(it, "buffer", "access", buffer, "-w").decode().strip()
        it.stop()
        yield it, url


@pytest.fixture(scope="module")
def safe(far) -> Story:
    return record("power", far[1])


@pytest.fixture(scope="module")
def fast(far) -> Story:
    return record("process", far[1])


@pytest.fixture(params=["safe", "fast"])
def story(request) -> Story:
    told: Story = request.getfixturevalue(request.param)
    return told


def record(durability: str, far_url: str) -> Story:
    with daemon.directory() as path:
        it = tracing.Traced(path, config(durability))
        try:
            it.start()
            whole, broken, put = (tyger(it, "buffer", "create").decode().strip() for _ in range(3))
            tyger(it, "buffer", "write", whole, "-b", "8K", data=DATA)
            producer = ["--", "sh", "-c", "cat; exit 3"]
            tyger(it, "buffer", "write", broken, *producer, data=SAID, code=errors.BUFFER_FAILED.exit_code)
            tyger(it, "buffer", "write", far_url, "-b", "8K", "--detach", data=DATA)
            for name, data in BLOBS.items():
                assert ask(it, tyger(it, "buffer", "access", put, "-w"), "PUT", name, data)[0] == 201
        finally:
            it.kill()
        (spooled,) = (pathlib.Path(it.state) / "spool").iterdir()
        streams = {whole: DATA, broken: SAID, spooled.name: DATA}
        recording = tracing.Recording(it, streams)
    moment = recording.when_sent(said("spooled"))
    acknowledged = {}
    for name in BLOBS:
        moment = recording.when_sent(re.escape(f"{put}?api-version=".encode()), moment + 1)
        moment = acknowledged[name] = recording.when_sent(b"HTTP/1.1 201", moment + 1)
    return Story(
        recording,
        synced=durability == "power",
        created=recording.when_sent(whole.encode()),
        whole=(f"containers/{whole}", recording.when_sent(said("complete"))),
        broken=(f"containers/{broken}", recording.when_sent(said("failed"))),
        spooled=(f"spool/{spooled.name}", recording.when_sent(said("spooled"))),
        put=(f"containers/{put}", acknowledged),
    )


def said(state: str) -> bytes:
    """What tells a client that its write is so far: an event of its stream, or the answer to its word."""
    return f'"(event|state)":"{state}"'.encode()


def config(durability: str) -> str:
    return f'[store]\ndurability = "{durability}"\n'


def tyger(it: daemon.Daemon, *arguments: str, data: bytes = b"", code: int = 0) -> bytes:
    done = subprocess.run(
        [*daemon.TYGER, "--log-level", "error", *arguments],
        env=it.env, input=data, check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr.decode() + it.log
    return done.stdout


def ask(
    it: daemon.Daemon, url: bytes, method: str, blob: str, data: bytes | None = None
) -> tuple[int, bytes]:
    """One request to the data plane: status and body."""
    target = urllib.parse.urlsplit(url.decode().strip().split(":", 2)[2])
    connection = http.client.HTTPConnection("x")
    connection.sock = socket.socket(socket.AF_UNIX)
    with contextlib.closing(connection):
        connection.sock.connect(it.socket)
        connection.request(method, f"{target.path}/{blob}?{target.query}", data)
        answer = connection.getresponse()
        return answer.status, answer.read()


# --- disks -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place() -> Iterator[pathlib.Path]:
    """Where disks are rebuilt: in memory, because there are thousands."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield pathlib.Path(path, "disk")


def rebooted(files: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """The same files, with the machine's boot an earlier one."""
    this, earlier = boot.current().encode(), str(uuid.UUID(int=7)).encode()
    return {name: data and data.replace(this, earlier) for name, data in files.items()}


def disk(
    story: Story, path: str, moment: int, fates: tuple[powerloss.Fate, ...], place: pathlib.Path
) -> bool:
    """Rebuild what is below `path`; whether it is there."""
    files = story.recording.crash(moment, f"state/{path}").files(fates)
    return powerloss.build(rebooted(files), f"state/{path}", place)


class Read(NamedTuple):
    """What a careful reader gets: bytes, then how the stream has ended or what is wrong."""

    data: bytes
    end: str | None
    error: str | None = None


def read(source: container.Container) -> Read:
    data, value = b"", chain.INITIAL
    end: str | None = None
    for number in itertools.count():
        try:
            end = source.end()
            block = source.block(number)
            if block is None or block.length == 0:
                missing = block is None and end == "complete"
                return Read(data, end, f"block {number} is missing" if missing else None)
            with open(block.path or "", "rb") as file:
                piece = chain.file_md5(file.fileno(), block.length), file.read(block.length)
        except (errors.Problem, OSError, EOFError) as error:
            return Read(data, end, str(error))
        value = chain.following(value, block.md5)
        if piece[0] != block.md5 or block.chain != value:
            return Read(data, end, f"block {number} is damaged")
        data += piece[1]
    raise AssertionError


def recover(target: container.Container, *, sync: bool) -> None:
    """What a daemon does with a write that its predecessor left: nobody comes back for it."""
    with contextlib.suppress(errors.Problem):  # named
        if not target.started():
            writer.Writer.create(target, 8192, sync=sync).finish("failed", "its writer is gone")
        elif target.end() is None:
            writer.Writer.recover(target, sync=sync).finish("failed", "its writer is gone")


def read_recovered(place: pathlib.Path) -> Read:
    target = container.Container(str(place))
    try:
        recover(target, sync=False)
        return read(target)
    finally:
        target.close()


def each_disk(
    story: Story, path: str, first: int, place: pathlib.Path, limit: int
) -> Iterator[tuple[int, tuple[powerloss.Fate, ...], bool]]:
    """Rebuild the disk for every moment, with every combination of fates, or the extremes of too many."""
    for moment in story.recording.moments(f"state/{path}", first):
        for fates in story.recording.crash(moment, f"state/{path}").all_fates(limit):
            yield moment, fates, disk(story, path, moment, fates, place)


# --- what is promised ------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["whole", "spooled"])
def test_a_stream_that_was_acknowledged_is_there(safe, place, which):
    path, acknowledged = getattr(safe, which)
    for moment, fates, there in each_disk(safe, path, acknowledged, place, limit=256):
        assert there, (moment, fates)
        assert read(container.Container(str(place))) == Read(DATA, "complete"), (moment, fates)


def test_a_failure_that_was_acknowledged_is_there_with_its_reason(safe, place):
    path, acknowledged = safe.broken
    for moment, fates, there in each_disk(safe, path, acknowledged, place, limit=256):
        assert there, (moment, fates)
        target = container.Container(str(place))
        assert read(target) == Read(SAID, "failed"), (moment, fates)
        assert "3" in (target.failure() or "")


def test_a_blob_that_was_acknowledged_is_there_and_any_is_whole(safe, place):
    path, acknowledged = safe.put
    for moment, fates, there in each_disk(safe, path, safe.created, place, limit=64):
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
        it = tracing.Traced(path, config("process"))
        try:
            it.start()
            buffer = tyger(it, "buffer", "create").decode().strip()
            command = [*daemon.TYGER, "--log-level", "error", "buffer", "write", buffer, "-b", "8K"]
            with subprocess.Popen(command, env=it.env, stdin=subprocess.PIPE) as writing:
                assert writing.stdin is not None
                writing.stdin.write(DATA[:20_000])
                writing.stdin.flush()
                wait_for_blocks(it, buffer, 2)
                it.kill()
                pathlib.Path(it.config).write_text(config("power"))
                it.start()
                writing.stdin.write(DATA[20_000:])
                writing.stdin.close()
                assert writing.wait(60) == 0
        finally:
            it.kill()
        recording = tracing.Recording(it, {buffer: DATA})
    below = f"state/containers/{buffer}"
    for moment in recording.moments(below, recording.when_sent(said("complete"))):
        crash = recording.crash(moment, below)
        for fates in crash.all_fates(limit=256):
            assert powerloss.build(crash.files(fates), below, place), (moment, fates)
            assert read(container.Container(str(place))) == Read(DATA, "complete"), (moment, fates)


def wait_for_blocks(it: daemon.Daemon, buffer: str, count: int) -> None:
    """Wait until a buffer that is being written has so many blocks."""
    command = [*daemon.TYGER, "buffer", "read", buffer]
    with subprocess.Popen(command, env=it.env, stdout=subprocess.PIPE) as reading:
        assert reading.stdout is not None
        reading.stdout.read(count * 8192)
        reading.kill()


@pytest.mark.parametrize("which", ["whole", "broken", "spooled"])
def test_nothing_else_is_ever_read(story, place, which):
    """Whatever the disk is like: an exact prefix, and an end that is true or a name for what is wrong."""
    path, _ = getattr(story, which)
    for moment, fates, there in each_disk(story, path, 0, place, limit=16):
        if there:
            check_prefix(story, read_recovered(place), which, (moment, fates))


def check_prefix(story: Story, got: Read, which: str, case: object) -> None:
    data = SAID if which == "broken" else DATA
    assert data.startswith(got.data), case
    assert got.end is not None or got.error is not None, case
    if got.end == "complete" and (story.synced or got.error is None):
        assert got == Read(data, "complete"), case


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_became_of_each_write(story, place, data):
    """Some of what was not synced is on the disk, in whole, in part, or as zeros."""
    which = data.draw(st.sampled_from(["whole", "broken", "spooled"]))
    path, _ = getattr(story, which)
    moment = data.draw(st.sampled_from(story.recording.moments(f"state/{path}", 0)))
    count = story.recording.crash(moment, f"state/{path}").open
    fates = tuple(data.draw(st.lists(st.sampled_from(FATES), min_size=count, max_size=count)))
    if disk(story, path, moment, fates, place):
        check_prefix(story, read_recovered(place), which, (moment, fates))


# --- the catalog, and a real daemon on such a disk ---------------------------------------------------------


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
    story: Story, moment: int, fates: tuple[powerloss.Fate, ...], durability: str
) -> Iterator[daemon.Daemon]:
    """A daemon that starts on the whole disk as it then is."""
    impatient = config(durability) + "[transfer]\nreattach_grace = 0\n"
    with daemon.daemon(config=impatient, start=False) as it:
        powerloss.build(rebooted(story.recording.crash(moment).files(fates)), "state", pathlib.Path(it.state))
        it.start()
        yield it


@pytest.mark.parametrize("fate", ["lost", "kept"])
def test_a_daemon_goes_on_with_all_that_was_acknowledged(safe, far, fate):
    """The streams are whole, the failure has its reason, and what was spooled is shipped after all."""
    moment = safe.recording.length
    fates = (fate,) * safe.recording.crash(moment).open
    with daemon_on(safe, moment, fates, "power") as it:
        assert tyger(it, "buffer", "read", buffer_of(safe.whole)) == DATA
        failed = errors.BUFFER_FAILED.exit_code
        assert tyger(it, "buffer", "read", buffer_of(safe.broken), code=failed) == SAID
        url = tyger(it, "buffer", "access", buffer_of(safe.put))
        for name, data in BLOBS.items():
            assert ask(it, url, "GET", name) == (200, data)
        host, far_url = far
        host.start()
        try:
            far_name = far_url.partition("/containers/")[2].partition("?")[0]
            assert tyger(host, "buffer", "read", far_name) == DATA
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
            [*daemon.TYGER, "buffer", "read", buffer_of(fast.whole)],
            env=it.env, check=False, capture_output=True, timeout=20,
        )  # fmt: skip
        assert DATA.startswith(done.stdout)
        if done.returncode == 0:
            assert done.stdout == DATA
        else:
            named = {errors.NOT_FOUND.exit_code, errors.BUFFER_FAILED.exit_code, errors.CORRUPT.exit_code}
            assert done.returncode in named, done.stderr
        if (when, fate) == ("midway", "kept"):
            assert b"the machine went down while the stream was being written" in done.stderr


def buffer_of(kept: tuple[str, object]) -> str:
    return kept[0].rpartition("/")[2]
