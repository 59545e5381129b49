"""Completion scripts, and what they call."""

import pathlib
import shutil
import subprocess

import pytest

from tests.support import cli
from tyger.cli import completion

PACKAGED = pathlib.Path(cli.ROOT, "packaging/completions")
FILES = {"bash": "tyger.bash", "zsh": "_tyger", "fish": "tyger.fish"}


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_script_is_printed(tyger, shell):
    out = tyger("completion", shell).out
    assert f"_TYGER_COMPLETE={shell}_complete" in out
    assert out == completion.script(shell)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_packaged_scripts_are_these(shell):
    assert (PACKAGED / FILES[shell]).read_text() == completion.script(shell)


def complete(*words):
    done = cli.run(
        "/nonexistent",
        environment={
            "_TYGER_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["tyger", *words]),
            "COMP_CWORD": str(len(words)),
        },
    )
    assert (done.code, done.err) == (0, "")
    return {line.partition(",")[2] for line in done.out.decode().splitlines()}


def test_commands_and_flags_are_completed():
    assert {"buffer", "codespec", "run", "status"} <= complete("")
    assert complete("buffer", "re") == {"read", "restore"}
    assert complete("run", "exec", "--on-") == {"--on-exit"}
    assert complete("run", "exec", "--on-exit", "") == {"cancel", "detach"}


def test_bash_accepts_the_script():
    bash = shutil.which("bash")
    done = subprocess.run(
        [bash, "-n"], input=completion.script("bash"), text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (
            ["run", "c"],
            "cancel\tCancel a run: its program",
        ),
        (["run", "exec", "--on-exit", ""], "cancel\ndetach\n:4\n"),
        (["buffer", "storage"], "storage-account\t"),
        (["codespec", "create", "--file", ""], ":0\n"),
        (["run", "list", "--sta"], "--status\t"),
        ([], "buffer\t"),
        (["nonsense", "x"], ":"),
    ],
)
def test_what_the_original_s_scripts_ask(tyger, words, out):
    done = tyger("__complete", *words)
    assert done.code == 0
    assert out.rstrip("\n").split("\n")[0] in done.out
    *_, last = done.out.splitlines()
    directive = {":0": "ShellCompDirectiveDefault", ":4": "ShellCompDirectiveNoFileComp"}[last]
    assert done.err == f"Completion ended with directive: {directive}\n"


def test_nothing_is_described_where_nothing_is_asked_to_be(tyger):
    assert tyger("completion", "bash", "--no-descriptions").out == tyger("completion", "bash").out
