"""`tyger run exec`: which buffers are joined to the standard streams, and what is refused early."""

import os

import pytest

from tests.support import cli


def codespec(daemon, inputs=(), outputs=(), name="c"):
    daemon.codespecs[name] = {
        "kind": "job",
        "image": "x",
        "buffers": {"inputs": list(inputs), "outputs": list(outputs)},
    }


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        (["a", "b"], [], "multiple unmapped input buffers: a, b; map all but one with --buffer"),
        ([], ["a", "b"], "multiple unmapped output buffers: a, b; map all but one with --buffer"),
    ],
)
def test_several_could_be_meant(tyger, daemon, inputs, outputs, said):
    codespec(daemon, inputs, outputs)
    done = tyger("run", "exec", "-c", "c")
    assert (done.code, done.err) == (65, f"Error: exec cannot be called if the job has {said}\n")
    assert not daemon.runs


def test_mapped_parameters_are_not_joined(daemon):
    codespec(daemon, ["a", "b"], ["o", "p"])
    daemon.buffer("x", b"from x")
    daemon.buffer("y")
    done = cli.run(daemon.path, "run", "exec", "-c", "c", "-b", "a=x", "-b", "o=y", data=b" and stdin")
    assert (done.code, done.out) == (0, b"from x and stdin")
    assert bytes(daemon.buffers["y"].data) == b"from x and stdin"


def test_an_ephemeral_buffer_is_joined_too(daemon):
    codespec(daemon, ["a"], ["o"])
    done = cli.run(daemon.path, "run", "exec", "-c", "c", "-b", "a=_", data=b"1")
    assert (done.code, done.out) == (0, b"1")


def test_standard_input_is_not_touched_when_nothing_is_joined_to_it(daemon):
    codespec(daemon, ["a"], ["o"])
    daemon.buffer("x", b"mapped")
    with cli.start(daemon.path, "run", "exec", "-c", "c", "-b", "a=x") as process:
        out, _ = process.stdout.read(), process.wait(60)
        assert (process.returncode, out) == (0, b"mapped")


def test_an_inline_codespec_is_not_asked_for(daemon, tmp_path):
    (tmp_path / "r.yml").write_text("job: {codespec: {image: x, buffers: {inputs: [i], outputs: [o]}}}")
    done = cli.run(daemon.path, "run", "exec", "-f", str(tmp_path / "r.yml"), data=b"abc")
    assert (done.code, done.out) == (0, b"abc")
    assert not [request for request in daemon.requests if request.path.startswith("/codespecs")]


def test_a_version(daemon):
    codespec(daemon)
    assert cli.run(daemon.path, "run", "exec", "-c", "c", "--version", "3").code == 0
    assert daemon.requests[0].path == "/codespecs/c/versions/3"


def test_a_named_file_as_input(daemon, tmp_path):
    codespec(daemon, ["a"], ["o"])
    (tmp_path / "f").write_bytes(b"x" * 100_000)
    done = cli.run(
        daemon.path,
        "run",
        "exec",
        "-c",
        "c",
        "--input",
        str(tmp_path / "f"),
        "--block-size",
        "1M",
        "--flush-interval",
        "5ms",
    )
    assert (done.code, done.out) == (0, b"x" * 100_000)
    body = daemon.asked("POST", "/transfers")[0].body
    assert (body["blockSize"], body["flushInterval"], body["run"]) == (1024 * 1024, 0.005, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-c", "nope"], 66, "NotFound: The codespec 'nope' was not found"),
        (["-c", "no", "--version", "3"], 66, "NotFound: The version '3' of codespec 'no' was not found"),
        (["-c", "a/b"], 65, "invalid codespec name 'a/b'"),
        (["-c", "c", "--version", "a/b"], 65, "invalid codespec version 'a/b'"),
        (["-c", "none", "--input", "x"], 64, "--input is given, but the job has no unmapped input buffer"),
        (
            ["-c", "c", "--input", "/nonexistent"],
            66,
            "cannot open input file /nonexistent: No such file or directory",
        ),
        (["-f", "/nonexistent.yml"], 66, "failed to read file /nonexistent.yml: No such file or directory"),
    ],
)
def test_refused_before_a_run_exists(tyger, daemon, arguments, code, said):
    codespec(daemon, ["a"], ["o"])
    codespec(daemon, name="none")
    done = tyger("run", "exec", *arguments)
    assert (done.code, done.err) == (code, f"Error: {said}\n")
    assert not daemon.runs


def test_the_daemon_refuses_the_run(tyger, daemon):
    codespec(daemon)
    daemon.answers["POST", "/runs"] = (
        400,
        {"error": {"code": "InvalidInput", "message": "The buffer 'x' was not found"}},
    )
    done = tyger("run", "exec", "-c", "c")
    assert (done.code, done.err) == (65, "Error: InvalidInput: The buffer 'x' was not found\n")


def test_a_daemon_that_goes_away_once_it_has_made_the_run(daemon):
    """It was met: so its streams wait for it from the beginning, as they do later."""
    codespec(daemon, ["a"], ["o"])

    def make_and_go(request):
        del daemon.answers["POST", "/runs"]
        answer = daemon._answer(request)
        os.rename(daemon.path, f"{daemon.path}.away")
        return answer

    daemon.answers["POST", "/runs"] = make_and_go
    with cli.start(daemon.path, "run", "exec", "-c", "c") as process:
        while b"away" not in (line := process.stderr.readline()):
            assert line
        os.rename(f"{daemon.path}.away", daemon.path)
        out, err = process.communicate(b"data", timeout=120)
    assert (process.returncode, out) == (0, b"data"), err.decode()


def test_a_run_file_from_standard_input(daemon):
    file = b'{"job": {"codespec": {"image": "x", "buffers": {"inputs": ["i"], "outputs": ["o"]}}}}'
    done = cli.run(daemon.path, "run", "exec", "-f", "-", "--", "echo", "hello", data=file)
    assert (done.code, done.out) == (0, b"hello\n"), done.err
    assert cli.run(daemon.path, "run", "create", "-f", "-", data=file).out == b"2\n"
    done = cli.run(daemon.path, "run", "exec", "-f", "-", data=file)
    assert done.code == 64
    assert "standard input cannot be the run file and the run's input at once" in done.err
    done = cli.run(daemon.path, "codespec", "create", "c", "-f", "-", data=b"image: [")
    assert done.code == 65
    assert "failed to parse file -: line 2" in done.err
