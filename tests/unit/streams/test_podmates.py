"""Main, as a pod's processes show it; the processes are files."""

import subprocess
import sys

import pytest

from tygerd.streams import podmates


@pytest.fixture
def proc(tmp_path):
    """A pod: its sandbox, us, and whoever a test adds by number, state, parent and container."""

    def add(number, state, parent, container):
        place = tmp_path / str(number)
        place.mkdir()
        (place / "stat").write_text(f"{number} (a ) name) {state} {parent} 1 1 0")
        (place / "cgroup").write_text(f"0::/../{container}\n")
        return place

    add(1, "S", 0, "sandbox")
    add(7, "R", 0, "pumps")
    (tmp_path / "self").symlink_to(add(8, "R", 7, "pumps"))
    (tmp_path / "meminfo").write_text("")
    add.path = str(tmp_path)
    return add


def test_main_is_the_first_process_of_another_container(proc):
    assert podmates.main_lives(proc.path) is False
    proc(13, "S", 0, "main")
    assert podmates.main_lives(proc.path) is True


def test_what_main_leaves_behind_is_not_main(proc):
    proc(13, "Z", 0, "main")
    proc(21, "S", 1, "main")
    assert podmates.main_lives(proc.path) is False


def test_who_goes_while_one_looks(proc, tmp_path):
    (proc(13, "S", 0, "main") / "cgroup").unlink()
    (tmp_path / "99").mkdir()
    (proc(14, "S", 0, "main") / "stat").write_text("")
    assert podmates.main_lives(proc.path) is False


@pytest.mark.parametrize("name", ["self", "1"])
def test_a_pod_that_shows_nothing(proc, tmp_path, name):
    (tmp_path / name / "cgroup").unlink()
    assert podmates.main_lives(proc.path) is None


def test_a_namespace_of_our_own(proc, tmp_path):
    (tmp_path / "1/cgroup").write_text((tmp_path / "self/cgroup").read_text())
    proc(13, "S", 0, "main")
    assert podmates.main_lives(proc.path) is None


def test_a_real_kernel_is_read(tmp_path):
    """A namespace whose first process is one of ours."""
    script = "from tygerd.streams import podmates; print(podmates._read('/proc', 'self').parent > 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
