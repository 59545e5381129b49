"""The state directory: its lock, its version, its reserve, and the disks that it refuses."""

import concurrent.futures
import contextlib
import os
import shutil
import stat
import subprocess
import sys

import pytest

from tests.support import daemon, disks, ending
from tyger import errors
from tygerd.osutil import statedir


def refusal(path):
    with pytest.raises(errors.Problem) as caught:
        statedir.StateDirectory.open(str(path))
    assert "\n" not in caught.value.message
    return caught.value


def test_syncing_leaves_everything_as_it_is(tmp_path):
    """Which syncs these are is tested in tests/crash/power/."""
    state = statedir.StateDirectory.open(str(tmp_path))
    (tmp_path / "keys").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    state.sync()
    assert sorted(os.listdir(tmp_path)) == ["dangling", "keys", "lock", "pipe", "version"]
    state.close()


def test_it_is_made_private_with_its_version(tmp_path):
    state = statedir.StateDirectory.open(str(tmp_path / "a/b"))
    assert stat.S_IMODE(os.stat(tmp_path / "a/b").st_mode) == 0o700
    assert (tmp_path / "a/b/version").read_text() == "1\n"
    assert sorted(os.listdir(tmp_path / "a/b")) == ["lock", "version"]
    state.close()
    statedir.StateDirectory.open(str(tmp_path / "a/b")).close()


def test_two_daemons_do_not_share_it(tmp_path):
    state = statedir.StateDirectory.open(str(tmp_path))
    problem = refusal(tmp_path)
    assert problem.kind is errors.CONFIG
    assert problem.message == f"another daemon (process {os.getpid()}) uses the state directory {tmp_path}"
    state.close()
    statedir.StateDirectory.open(str(tmp_path)).close()


OPEN = """
import os, sys
from tygerd.osutil import statedir
state = statedir.StateDirectory.open(sys.argv[1])
"""
LEAVE = "state.leave()"
FORK = """
if os.fork():
    os._exit(0)
"""
HOLD = """
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("going", [LEAVE, FORK], ids=["is leaving", "was killed and leaves a child"])
def test_a_daemon_that_goes_is_waited_for(tmp_path, going):
    """A child has the lock, too, until it is another program: a daemon may be killed just then."""
    with ending.Popen(
        [sys.executable, "-c", f"{OPEN}{going}{HOLD}", tmp_path],
        env={"PYTHONPATH": str(daemon.ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as held:
        assert held.stdout.readline() == b"held\n"
        if going == FORK:
            assert held.wait() == 0
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            opening = pool.submit(statedir.StateDirectory.open, str(tmp_path))
            with pytest.raises(TimeoutError):
                opening.result(0.05)
            held.stdin.close()
            opening.result(statedir.PATIENCE).close()


def test_a_lock_that_nobody_names_is_refused_in_time(tmp_path, monkeypatch):
    """As one of a daemon in another pid namespace: its number says nothing here."""
    monkeypatch.setattr(statedir, "PATIENCE", 0.05)
    state = statedir.StateDirectory.open(str(tmp_path))
    (tmp_path / "lock").write_text("")
    assert "(process unknown)" in refusal(tmp_path).message
    state.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [("2\n", "is of version 2 and this tygerd knows 1"), ("", "no version"), ("x", "no version")],
)
def test_a_version_we_do_not_know_is_refused(tmp_path, text, message):
    (tmp_path / "version").write_text(text)
    problem = refusal(tmp_path)
    assert (problem.kind, message in problem.message) == (errors.CONFIG, True)
    # And the lock was let go.
    (tmp_path / "version").write_text("1\n")
    statedir.StateDirectory.open(str(tmp_path)).close()


def test_what_is_no_directory_is_refused(tmp_path):
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file").kind is errors.CONFIG
    assert "Not a directory" in refusal(tmp_path / "file/below").message


# --- disks that are full or read-only: small file systems of our own ---------------------------------------


@pytest.fixture
def disk(tmp_path):
    """Mounts a tmpfs with the given options."""
    with contextlib.ExitStack() as stack:
        yield lambda *options: stack.enter_context(disks.mounted(tmp_path / "disk", *options))


def test_a_read_only_disk_is_refused(disk):
    problem = refusal(disk("-o", "ro") / "state")
    assert problem.kind is errors.CONFIG
    assert problem.message.endswith("Read-only file system")


def test_a_full_disk_is_refused(disk):
    path = disk("-o", "size=64k")
    (path / "filler").write_bytes(bytes(64 * 1024))
    problem = refusal(path)
    assert problem.kind is errors.STORAGE_FULL
    assert problem.message.endswith("No space left on device")


def test_the_reserve_is_given_up_when_the_disk_is_full_and_taken_back(disk):
    path = disk("-o", "size=6m")
    state = statedir.StateDirectory.open(str(path))
    state.tend_reserve()
    assert (path / "reserve").stat().st_blocks * 512 == statedir.RESERVE
    disks.fill(path / "filler")
    state.tend_reserve()
    assert (path / "reserve").stat().st_size == 0
    (path / "row").write_bytes(bytes(statedir.RESERVE // 2))
    (path / "filler").unlink()
    state.tend_reserve()
    assert (path / "reserve").stat().st_size == statedir.RESERVE
    state.close()


def test_the_reserve_is_given_up_at_once_when_a_write_needs_it(tmp_path):
    state = statedir.StateDirectory.open(str(tmp_path))
    assert not state.make_room()  # there is none yet
    assert state.tend_reserve()
    assert state.make_room()
    assert (tmp_path / "reserve").stat().st_size == 0
    assert not state.make_room()
    state.close()


@pytest.mark.parametrize("remade", [False, True])
def test_one_that_was_removed_is_noticed(tmp_path, remade):
    """Also where there is another in its place, which another daemon may hold."""
    path = tmp_path / "state"
    state = statedir.StateDirectory.open(str(path))
    assert state.tend_reserve()
    shutil.rmtree(path)
    if remade:
        statedir.StateDirectory.open(str(path)).close()
    with pytest.raises(errors.Problem, match=f"the state directory {path} was removed") as caught:
        state.tend_reserve()
    assert caught.value.kind is errors.CONFIG
    state.close()


def test_one_that_was_moved_away_is_noticed(tmp_path):
    state = statedir.StateDirectory.open(str(tmp_path / "state"))
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    with pytest.raises(errors.Problem, match="was removed"):
        state.tend_reserve()
    state.close()


def test_without_room_there_is_no_reserve(disk):
    path = disk("-o", "size=1m")
    state = statedir.StateDirectory.open(str(path))
    assert not state.tend_reserve()
    assert not (path / "reserve").exists()
    state.close()


def test_the_kernel_says_which_file_system_it_is(disk):
    path = disk()
    assert statedir.filesystem_of(str(path)) == "tmpfs"
    assert statedir.filesystem_of("/proc") == "proc"
    statedir.refuse_network(str(path))
