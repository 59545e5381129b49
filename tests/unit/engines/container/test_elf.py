"""The probe's program, run for real where this machine has its architecture."""

import os
import platform

import pytest

from tests.support import ending
from tygerd.engines.container import elf


@pytest.mark.skipif(platform.machine() != "x86_64", reason="executes x86-64")
@pytest.mark.parametrize("text", [b"hello", b"x" * 64])
def test_it_carries_bytes_from_one_pipe_to_the_other(tmp_path, text):
    # Other names of the same length: those of the image are this host's root directory.
    program = elf.program("amd64").replace(b"/pipes/in", b"./pipe.in").replace(b"/pipes/out", b"./pipe.out")
    (tmp_path / "program").write_bytes(program)
    (tmp_path / "program").chmod(0o700)
    os.mkfifo(tmp_path / "pipe.in")
    os.mkfifo(tmp_path / "pipe.out")
    with ending.Popen(["./program"], cwd=tmp_path) as process:
        (tmp_path / "pipe.in").write_bytes(text)
        assert (tmp_path / "pipe.out").read_bytes() == text
    assert process.returncode == 0


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("aarch64", 183), ("arm64", 183)])
def test_it_is_a_small_executable(architecture, machine):
    program = elf.program(architecture)
    assert program[:4] == b"\x7fELF"
    assert int.from_bytes(program[18:20], "little") == machine
    assert len(program) < 300
    assert program.endswith(b"/pipes/in\0/pipes/out\0")


def test_other_architectures_have_none():
    assert elf.program("riscv64") is None
