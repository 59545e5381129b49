"""`./just` on machines that lack something, and two at once; a small fake stands in for Python."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
from concurrent import futures

import pytest

from tests.house import sources

# Knows the four ways in which the starter calls Python. A file beside it makes the answer a failure.
PYTHON = """\
#!/bin/sh
here=$(dirname "$0")
case "$*" in
*version_info*) ! [ -e "$here/old" ] ;;
*ensurepip*) ! [ -e "$here/no-venv" ] ;;
"-m venv --clear "*)
    rm -rf "$4"
    mkdir -p "$4/bin"
    cp "$here/python3" "$4/bin/python"
    echo made >>"$here/venvs"
    if [ -e "$here/offline" ]; then : >"$4/bin/offline"; fi
    ;;
"-m pip install "*)
    ! [ -e "$here/offline" ] || exit 1
    printf '#!/bin/sh\\necho "$@"\\n' >"$here/just"
    chmod +x "$here/just"
    ;;
esac
"""

TOOLS = ("sh", "dirname", "mkdir", "cp", "chmod", "flock", "rm")


class Machine:
    """A checkout and a PATH on which nothing but TOOLS and the fake Python are."""

    def __init__(self, path: pathlib.Path) -> None:
        self.checkout = path / "checkout"
        self.bin = path / "bin"
        self.checkout.mkdir()
        self.bin.mkdir()
        shutil.copy(sources.ROOT / "just", self.checkout / "just")
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)
        (self.bin / "python3").write_text(PYTHON)
        (self.bin / "python3").chmod(0o755)

    def lacks(self, what: str) -> None:
        (self.bin / what).touch()

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.checkout / "just", *arguments],
            env={"PATH": str(self.bin)},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def venvs_made(self) -> int:
        return len((self.bin / "venvs").read_text().splitlines())


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("old", "no Python 3.11 or newer on PATH; on Debian: apt-get install python3 python3-venv"),
        ("no-venv", "has no venv module; on Debian: apt-get install python3-venv"),
        ("offline", "cannot install rust-just from PyPI (is there a network?)"),
    ],
)
def test_what_is_missing_is_one_line_with_what_to_do(machine: Machine, lacking: str, words: str) -> None:
    machine.lacks(lacking)
    done = machine.start("test")
    assert done.returncode == 69
    assert done.stdout == ""
    assert done.stderr.startswith("just: ")
    assert words in done.stderr.splitlines()[-1]


def test_a_failed_start_can_be_repeated(machine: Machine) -> None:
    machine.lacks("offline")
    assert machine.start().returncode == 69
    (machine.bin / "offline").unlink()
    assert machine.start("--list").returncode == 0


def test_arguments_pass_through_and_the_second_start_makes_nothing(machine: Machine) -> None:
    for _ in range(2):
        done = machine.start("test", "-k", "two words")
        assert done.stdout == f"--justfile {machine.checkout}/Justfile test -k two words\n"
    assert machine.venvs_made() == 1


def test_two_at_once_make_one_environment(machine: Machine) -> None:
    with futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: machine.start("x"), range(4)))
    assert [each.returncode for each in done] == [0] * 4
    assert machine.venvs_made() == 1


def test_an_environment_whose_python_is_gone_is_made_again(machine: Machine) -> None:
    machine.start()
    (machine.checkout / ".venv/bin/python").unlink()
    assert machine.start().returncode == 0
    assert machine.venvs_made() == 2
