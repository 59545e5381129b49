"""Run files and codespec files that are wrong: the file, the field and the line, and nothing is made."""

import os
import subprocess
import threading

import pytest

from tests.support import daemon
from tests.support.commands import complaint

HEAD = "job:\n  codespec:\n    image: host\n    command: ['true']\n"


def refused(commands, arguments, code, said):
    done = commands.run(*arguments)
    assert (done.returncode, done.stdout) == (code, b"")
    assert said in complaint(done)
    assert commands.run("run", "list").stdout == b"[]\n"


@pytest.mark.parametrize("verb", ["create", "exec"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("job: [1, 2\n", "line 2: did not find expected ',' or ']'"),
        ("job:\n\tcodespec: x", "line 2: found character that cannot start any token"),
        (HEAD + "  codespec: twice\n", "line 5: job.codespec: duplicate key, first on line 2"),
        (HEAD + "    imagee: x\n", 'line 5: job.codespec: unknown field "imagee" (did you mean image?)'),
        (HEAD + "jobb: {}\n", 'line 5: unknown field "jobb" (did you mean job?)'),
        (HEAD + "    args: one\n", "line 5: job.codespec.args: expected a list, found 'one'"),
        (HEAD + "    env: [a]\n", "line 5: job.codespec.env: expected a mapping, found a list"),
        (
            HEAD + "    buffers:\n      inputs: {a: b}\n",
            "line 6: job.codespec.buffers.inputs: expected a list",
        ),
        (HEAD + "timeoutSeconds: soon\n", "line 5: timeoutSeconds: expected a whole number, found text"),
        (HEAD + "  replicas: '1'\n", "line 5: job.replicas: expected a whole number, found text in quotes"),
        ("[" * 200_000, "line 1: nested too deep"),
        ("job: &a {codespec: *a}", 'line 1: job.codespec: unknown field "codespec"'),
        ("job: x\n---\njob: y", "line 2: but found another document"),
        ("just text", "line 1: expected a mapping, found 'just text'"),
        ("job:\n  codespec: a\0b", "line 2: control characters are not allowed"),
        ("", "a codespec for the job must be specified"),
        ("job: {}", "a codespec for the job must be specified"),
    ],
)
def test_a_run_file(commands, tmp_path, verb, text, said):
    path = tmp_path / "run.yml"
    path.write_text(text)
    refused(commands, ["run", verb, "-f", path], 65, said)


def test_places_that_hold_no_file(commands, tmp_path):
    (tmp_path / "binary").write_bytes(b"\x7fELF\x02\xff\xfe")
    for path, code, said in (
        (tmp_path / "missing.yml", 66, "missing.yml: No such file or directory"),
        (tmp_path, 74, "Is a directory"),
        (tmp_path / "binary", 65, "line 1: it is not UTF-8 text"),
        ("/dev/zero", 65, "it is longer than 4 MiB"),
    ):
        for arguments in (["run", "create"], ["run", "exec"], ["codespec", "create", "x"]):
            refused(commands, [*arguments, "-f", path], code, said)


def test_files_that_are_no_plain_files(commands, tmp_path):
    """A named pipe, as of `<(…)`, and standard input are read like any other file."""
    os.mkfifo(tmp_path / "fifo")
    feeding = threading.Thread(target=(tmp_path / "fifo").write_text, args=("job: {codespec: nope}",))
    feeding.start()
    refused(commands, ["run", "create", "-f", tmp_path / "fifo"], 65, "The codespec 'nope' was not found")
    feeding.join()
    done = commands.run("run", "create", "-f", "/dev/stdin", data=b"job: {codespec: nope}")
    assert (done.returncode, "The codespec 'nope' was not found" in complaint(done)) == (65, True)


def test_a_codespec_file(commands, tmp_path):
    path = tmp_path / "codespec.yml"
    for text, said in (
        ("image: [a]", "line 1: image: expected text, found a list"),
        ("imagee: a", 'line 1: unknown field "imagee" (did you mean image?)'),
        (
            "image: a\nresources:\n  requests:\n    cpu: yes\n",
            "line 4: resources.requests.cpu: expected a quant",
        ),
        ("image: a\nresources:\n  requests:\n    cpu: lots\n", "'lots' is not a quantity"),
        ("kind: job\n", "The image field is required"),
    ):
        path.write_text(text)
        refused(commands, ["codespec", "create", "name", "-f", path], 65, said)
    assert commands.run("codespec", "list", "--prefix", "name").stdout == b"[]\n"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("env: {'a=b': c}", "env: 'a=b' cannot be the name of an environment variable"),
        ('args: ["a\\0b"]', "args: it has a null byte"),
        ("buffers: {inputs: [a, a]}", "'a' is duplicated"),
        ("buffers: {inputs: [a/b]}", "The name of buffer 'a/b' is invalid"),
        ("resources: {gpu: 1}", "gives no GPU to a job"),
    ],
)
def test_a_codespec_that_cannot_run(commands, tmp_path, fields, said):
    path = tmp_path / "run.yml"
    path.write_text(HEAD + f"    {fields}\n")
    refused(commands, ["run", "create", "-f", path], 65, said)


def test_codespecs_and_versions_that_are_not_there(commands):
    commands.run("codespec", "create", "known", "--image", "host", "--", "true")
    for arguments, create, exec_ in (
        (["-c", "nope"], (65, "The codespec 'nope' was not found"), (66, "codespec 'nope' was not found")),
        (
            ["-c", "known", "--version", "7"],
            (65, "The version '7' of codespec 'known' was not found. The latest version is '1'."),
            (66, "The version '7' of codespec 'known' was not found"),
        ),
        (["-c", "known", "--version", "x"], (65, "'known/versions/x' is invalid"), (66, "version 'x' of")),
        (["-c", "a/b"], (65, "The codespec reference 'a/b' is invalid"), (65, "invalid codespec name 'a/b'")),
        (["-c", ""], (65, "a codespec for the job must be"), (65, "a codespec for the job must be")),
    ):
        refused(commands, ["run", "create", *arguments], *create)
        refused(commands, ["run", "exec", *arguments], *exec_)
    for name in ("nope", "known --version 7"):
        refused(commands, ["codespec", "show", *name.split()], 66, "NotFound")
    commands.run("codespec", "create", "two", "--image", "host", "--input", "a", "--input", "b", "--", "true")
    refused(commands, ["run", "exec", "-c", "two"], 65, "multiple unmapped input buffers: a, b")


def test_a_wrong_file_starts_no_daemon(tmp_path):
    """What is wrong with the file is said first, whether a daemon runs or not."""
    (tmp_path / "run.yml").write_text("jobb: {}")
    with daemon.daemon(start=False) as it:
        done = subprocess.run(
            [*daemon.TYGER, "run", "create", "-f", tmp_path / "run.yml"],
            env=it.env, capture_output=True, timeout=daemon.PATIENCE, check=False,
        )  # fmt: skip
    assert done.returncode == 65
    assert 'unknown field "jobb"' in complaint(done)
