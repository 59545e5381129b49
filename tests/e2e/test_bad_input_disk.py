"""State that is read-only or full: it is said, nothing is lost, and it goes on once there is room."""

import contextlib
import os
import pathlib
import select
import subprocess
import threading
import time

import pytest

from tests.support import commands as support
from tests.support import daemon, disks
from tests.support.commands import complaint, run_file, run_of
from tyger import client

SIZE = ("-o", "size=12m")
"""Room for the catalog, the reserve, and some MiB of streams."""

PATIENCE = 60


@pytest.fixture
def place():
    """A daemon, not started, whose state is on a small disk of its own."""
    with daemon.daemon(start=False, config=support.HOST) as it:
        it.disk = it.path / "disk"
        it.state = str(it.disk / "state")
        with disks.mounted(it.disk, *SIZE):
            try:
                yield it
            finally:
                it.kill()


@pytest.fixture
def commands(place):
    place.start()
    with support.commands(place) as made:
        yield made


@contextlib.contextmanager
def full(place):
    disks.fill(place.disk / "filler")
    try:
        yield
    finally:
        (place.disk / "filler").unlink()


def remount(place, how):
    done = subprocess.run(["mount", "-o", f"remount,{how}", place.disk], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


# --- before it starts ------------------------------------------------------------------------------------


def refused_start(place, code, words):
    """By hand, and by a command that wants to start it."""
    serve = place.command()
    done = subprocess.run(serve, env=place.env, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == code
    assert f"cannot use the state directory {place.state}: {words}" in complaint(done)
    home = pathlib.Path(place.state).parent
    environment = place.env | {"TYGER_AUTOSTART": "1", "XDG_STATE_HOME": str(home)}
    status = [*daemon.TYGER, "status"]
    done = subprocess.run(status, env=environment, capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (code, b"")
    assert f"cannot use the state directory {home}/tyger: {words}" in complaint(done)
    assert not os.path.exists(place.socket)


def test_read_only_from_the_start(place):
    remount(place, "ro")
    refused_start(place, 78, "Read-only file system")


def test_full_from_the_start(place):
    for name in ("state", "tyger"):
        (place.disk / name).mkdir(mode=0o700)
    with full(place):
        refused_start(place, 74, "No space left on device")
    place.start()


# --- while it runs ---------------------------------------------------------------------------------------


def waiting(commands, process):
    """Wait until a transfer says that it waits for room."""
    support.until(process, b'reason="the disk is full"')


def test_a_write_waits_for_room_and_is_exact(place, commands):
    data = os.urandom(3_000_000)
    buffer = commands.buffer()
    with full(place):
        writing = commands.start("buffer", "write", buffer, "-b", "256K")
        feeding = threading.Thread(target=lambda: (writing.stdin.write(data), writing.stdin.close()))
        feeding.start()
        waiting(commands, writing)
    feeding.join(PATIENCE)
    assert writing.wait(PATIENCE) == 0
    assert commands.run("buffer", "read", buffer).stdout == data


def test_a_writer_that_gives_up_on_a_full_disk(place, commands):
    buffer = commands.buffer()
    with full(place):
        writing = commands.start("buffer", "write", buffer)
        writing.stdin.write(b"some")
        writing.stdin.flush()
        waiting(commands, writing)
        writing.terminate()
        assert writing.wait(PATIENCE) == 128 + 15
        assert commands.run("buffer", "read", buffer).returncode == 74
    assert commands.buffer(b"afterwards")


def test_the_catalog_is_written_on_a_full_disk(place, commands):
    """It has the reserve; when that is used up, too, it is one clear line, and room cures it."""
    with full(place):
        kept = commands.buffer()
        done = exhaust(place, commands)
        assert done.returncode == 74
        assert complaint(done).startswith("Error: InsufficientStorage: cannot write the catalog: ")
    (place.disk / "more").unlink()
    assert commands.run("buffer", "write", kept, data=b"later").returncode == 0
    assert commands.run("buffer", "read", kept).stdout == b"later"


def test_a_run_with_more_output_than_there_is_room(place, commands, tmp_path):
    """It waits; somebody can still cancel it, and then its output is failed and can be deleted."""
    file = run_file(tmp_path, "head -c 30000000 /dev/zero > $OUT_PIPE", ())
    executing = commands.start("run", "exec", "-f", file, stdout=subprocess.DEVNULL)
    run = run_of(executing)
    until_full(place)
    done = commands.run("run", "cancel", run)
    assert done.stdout == f"Job {run} has been canceled\n".encode()
    assert executing.wait(PATIENCE) == 1
    assert "Canceled by user" in complaint(executing.stderr.read())
    buffer = commands.show(run)["job"]["buffers"]["out"]
    assert commands.run("buffer", "read", buffer).returncode == 74
    assert commands.run("buffer", "delete", buffer).returncode == 0
    purged = commands.run("buffer", "purge", buffer, "--force")
    assert purged.returncode == 0, purged.stderr
    assert commands.buffer(b"room again")


def test_a_job_that_fills_the_disk_with_its_log(place, commands, tmp_path):
    """It is held up while the catalog still has room, and so it can be cancelled."""
    run = int(commands.run("run", "create", "-f", run_file(tmp_path, "yes", (), ())).stdout)
    log = pathlib.Path(place.state, "runs", str(run), "log")
    deadline = time.monotonic() + PATIENCE
    before, size = 0, 0
    while size < 4_000_000 or size > before:
        assert time.monotonic() < deadline, size
        time.sleep(0.2)  # nothing tells that a log grows no more
        before, size = size, log.stat().st_size if log.exists() else 0
    assert pathlib.Path(place.state, "reserve").stat().st_size
    assert commands.run("run", "cancel", run).returncode == 0
    assert commands.ended(run)["status"] == "Canceled"


def test_a_run_is_cancelled_where_not_even_the_catalog_has_room(place, commands, tmp_path):
    """Its job ends; that it was cancelled is shown when there is room."""
    seconds = f"600.{os.getpid()}"
    run = int(commands.run("run", "create", "-f", run_file(tmp_path, f"exec sleep {seconds}", (), ())).stdout)
    deadline = time.monotonic() + PATIENCE
    while not (found := executing(seconds)):
        assert time.monotonic() < deadline
    ended = os.pidfd_open(found[0])
    with full(place):
        exhaust(place, commands)
        done = commands.run("run", "cancel", run)
        assert done.stdout == f"Job {run} has been canceled\n".encode(), done.stderr
        assert select.select([ended], [], [], PATIENCE)[0]
        os.close(ended)
    (place.disk / "more").unlink()
    last = commands.ended(run)
    assert (last["status"], last["statusReason"]) == ("Canceled", "Canceled by user")


def executing(word):
    """The processes that have this word on their command line; a job's /tmp and numbers are its own."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def exhaust(place, commands):
    """Leave no room on a full disk, not even that of the reserve; how the last command was refused."""
    disks.fill(place.disk / "more")
    for _ in range(100):
        done = commands.run("codespec", "create", "x" * 90, "--image", os.urandom(20_000).hex())
        if done.returncode:
            disks.fill(place.disk / "more")
            return done
    raise AssertionError("there is room without end")


def until_full(place):
    """Ask until a transfer of the daemon waits for room."""
    ask = client.Client(place.socket)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        items = ask.request("GET", "/transfers").json()["items"]
        if any(item.get("waiting") == "the disk is full" for item in items):
            return
    raise AssertionError(items)
