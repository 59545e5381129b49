"""The kernel's count of what it killed, in files as both versions of control groups have them."""

from __future__ import annotations

import subprocess

import pytest

from tygerd.supervisor import memory

CONTAINER = "4f" * 32


@pytest.fixture
def count(tmp_path, monkeypatch):
    """`count(lines of /proc/PID/cgroup, the file with the count)`: what is seen, and that file."""
    made = []

    def look(lines: str, file: str) -> tuple[memory.Memory, object]:
        path = tmp_path / file
        path.parent.mkdir(parents=True)
        path.write_text("low 0\noom 0\noom_kill 0\n")
        (tmp_path / "cgroup").write_text(lines)
        monkeypatch.setattr(memory, "PROC", str(tmp_path / "cgroup"))
        made.append(memory.Memory(1, CONTAINER, root=str(tmp_path)))
        return made[-1], path

    yield look
    for one in made:
        one.close()
        one.close()


@pytest.mark.parametrize(
    ("lines", "file"),
    [
        ("3:cpu:/x\n2:memory:/libpod/libpod-{}\n0::/\n", "memory/libpod/libpod-{}/memory.oom_control"),
        ("0::/machine.slice/libpod-{}.scope\n", "machine.slice/libpod-{}.scope/memory.events"),
        ("0::/machine.slice/libpod-{}.scope/container\n", "machine.slice/libpod-{}.scope/memory.events"),
        ("0::/system.slice/docker-{}.scope\n", "system.slice/docker-{}.scope/memory.events"),
    ],
)
def test_a_death_is_counted_and_stays_known(count, lines, file):
    it, path = count(lines.format(CONTAINER), file.format(CONTAINER))
    assert not it.killed()
    path.write_text("low 0\noom 7\noom_kill 2\n")
    assert it.killed()
    path.write_text("")
    assert it.killed()


def test_a_stranger_with_the_same_number_is_not_looked_at(count):
    it, path = count("0::/system.slice/ssh.service\n", "system.slice/ssh.service/memory.events")
    path.write_text("oom_kill 2\n")
    assert not it.killed()


def test_a_process_that_has_ended_has_no_count():
    child = subprocess.Popen(["true"])
    child.wait()
    it = memory.Memory(child.pid, CONTAINER)
    assert not it.killed()
    it.close()
