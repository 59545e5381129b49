"""`tyger codespec create|show|list`."""

import pytest

from tyger.cli import codespec, listing


@pytest.fixture
def codespecs(daemon):
    """The fake answers each PUT with version 3."""
    for name in ("negate", "from-file"):
        path = f"/codespecs/{name}"
        daemon.answers["PUT", path] = (201, {}, {"Location": f"{path}/3"})
    return daemon


def sent(daemon):
    return daemon.requests[-1].body


def test_create_from_flags(tyger, codespecs):
    done = tyger(
        "codespec", "create", "negate", "--image", "ffmpeg", "-i", "a,b", "-i", "c", "-o", "d", "-e", "X=1",
        "--cpu-limit", "2", "--memory-request", "1Gi", "--gpu", "1", "--shm", "2Gi", "-r", "4",
        "--identity", "me", "--", "-i", "$(A_PIPE)",
    )  # fmt: skip
    assert (done.code, done.out, done.err) == (0, "3\n", "")
    assert sent(codespecs) == {
        "name": "negate",
        "kind": "job",
        "image": "ffmpeg",
        "maxReplicas": 4,
        "buffers": {"inputs": ["a", "b", "c"], "outputs": ["d"]},
        "env": {"X": "1"},
        "identity": "me",
        "resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": "2"}, "gpu": "1", "shm": "2Gi"},
        "args": ["-i", "$(A_PIPE)"],
    }


FILE = """
name: from-file
image: ffmpeg
args: [1, yes]
command: [c]
buffers: {inputs: [a], outputs: [b]}
env: {A: 1}
resources: {limits: {cpu: 1, memory: 1Gi}}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "codespec.yml"
    path.write_text(FILE)
    return path


def test_create_from_a_file(tyger, codespecs, file):
    assert tyger("codespec", "create", "-f", file).out == "3\n"
    assert codespecs.requests[-1].path == "/codespecs/from-file"
    assert sent(codespecs)["args"] == ["1", "true"]
    assert sent(codespecs)["command"] == ["c"]


def test_flags_over_the_file(tyger, codespecs, file):
    tyger(
        "codespec",
        "create",
        "negate",
        "-f",
        file,
        "-o",
        "z",
        "--env",
        "B=2",
        "--cpu-limit",
        "3",
        "--command",
        "--",
        "x",
        "y",
    )
    assert sent(codespecs) | {"args": None} == {
        "name": "negate",
        "kind": "job",
        "image": "ffmpeg",
        "args": None,
        "command": ["x", "y"],
        "buffers": {"inputs": ["a"], "outputs": ["z"]},
        "env": {"B": "2"},
        "resources": {"limits": {"cpu": "3", "memory": "1Gi"}},
    }


def test_bare_dashes_clear_the_arguments(tyger, codespecs, file):
    tyger("codespec", "create", "-f", file, "--")
    assert sent(codespecs)["args"] == []


def test_workers(tyger, codespecs):
    assert (
        tyger("codespec", "create", "negate", "-k", "Worker", "--image", "x", "--endpoint", "a=1,b=2").code
        == 0
    )
    assert sent(codespecs)["endpoints"] == {"a": 1, "b": 2}
    assert sent(codespecs)["kind"] == "worker"


def test_a_missing_image_is_for_the_daemon_to_refuse(tyger, codespecs):
    tyger("codespec", "create", "negate")
    assert sent(codespecs)["image"] == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 64, "if -f|--file is not provided, a name for the codespec is required"),
        (["a", "b"], 64, "unexpected positional args [b]. Container arguments must be preceded by --"),
        (["a", "b", "--", "c"], 64, "unexpected positional args before container args: [b]"),
        (["A"], 65, codespec.NAME_RULE),
        (["a", "-k", "cat"], 65, "codespec kind must be either 'job', worker' or empty (defaults to 'job')"),
        (["a", "--endpoint", "x=1"], 65, "job codespecs cannot have endpoints"),
        (["a", "-k", "worker", "-i", "x"], 65, "worker codespecs cannot have use buffers"),
        (["a", "-r", "many"], 65, "max-replicas must be an integer, got many"),
        (["a", "--cpu-request", "many"], 64, "cpu request value is invalid: many is not a quantity"),
        (["a", "--memory-limit", "1KiB"], 64, "memory limit value is invalid: 1KiB is not a quantity"),
        (["a", "--gpu", "1 "], 64, "gpu value is invalid: 1  is not a quantity"),
        (["a", "--shm", "."], 64, "shm value is invalid: . is not a quantity"),
        (
            ["a", "-f", "/nonexistent.yml"],
            66,
            "failed to read file /nonexistent.yml: No such file or directory",
        ),
    ],
)
def test_what_is_refused(tyger, codespecs, arguments, code, said):
    done = tyger("codespec", "create", *arguments)
    assert done.code == code
    assert done.err.startswith(f"Error: {said}")
    assert not codespecs.requests


def test_a_file_without_a_name(tyger, codespecs, tmp_path):
    (tmp_path / "f").write_text("image: x")
    done = tyger("codespec", "create", "-f", tmp_path / "f")
    assert (done.code, done.err.splitlines()[0]) == (64, "Error: a name for the codespec must be required")


def test_an_answer_without_a_version(tyger, daemon):
    daemon.answers["PUT", "/codespecs/a"] = (201, {})
    done = tyger("codespec", "create", "a", "--image", "x")
    assert done.code == 76
    assert done.err.startswith("Error: unable to get codespec version")


def test_show(tyger, daemon):
    daemon.codespecs["negate"] = {"image": "x", "kind": "job", "version": 3}
    out = '{\n    "kind": "job",\n    "version": 3,\n    "image": "x"\n  }\n'
    assert tyger("codespec", "show", "negate").out == out
    assert tyger("codespec", "get", "negate", "--version", "2").out == out
    assert [request.path for request in daemon.requests] == [
        "/codespecs/negate",
        "/codespecs/negate/versions/2",
    ]


def test_list(tyger, daemon):
    daemon.answers["GET", "/codespecs"] = (200, {"items": []})
    assert tyger("codespecs", "list", "-p", "neg").out == "[]\n"
    assert daemon.requests[0].query == [("limit", str(listing.PART)), ("prefix", "neg")]
