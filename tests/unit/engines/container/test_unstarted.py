"""The words of an init that could not start its program, in the log of a run."""

import pytest

from tygerd.engines.container import unstarted
from tygerd.supervisor import spec

CATATONIT = b"ERROR (catatonit:6): failed to exec pid1: No such file or directory"
TINI = b"[FATAL tini (7)] exec /no/such failed: No such file or directory"


@pytest.fixture
def directory(tmp_path):
    container = spec.ContainerSpec("/s", "name", {"Entrypoint": ["/no/such"], "Cmd": []})
    worker = spec.ContainerSpec("/s", "worker", {"Entrypoint": ["/none"], "Cmd": []})
    setup = spec.Spec(
        run=1,
        mains=(spec.MainSpec("main", container=container),),
        workers=(spec.MainSpec("worker-0", container=worker),),
        daemon_socket="/d",
    )
    spec.write_spec(str(tmp_path), setup)
    return tmp_path


@pytest.mark.parametrize("words", [CATATONIT, TINI])
@pytest.mark.parametrize("before", [b"", b"[job-0][main] "])
def test_an_init_that_could_not_start_its_program(directory, words, before):
    (directory / "log").write_bytes(b"2026-01-01T00:00:00.000000001Z E " + before + words + b"\n")
    told = "Main exited with code 1"
    assert unstarted.reason(str(directory), told) == "cannot start '/no/such': No such file or directory"


def test_a_worker_that_could_not_be_started(directory):
    (directory / "log").write_bytes(b"2026-01-01T00:00:00.000000001Z E [worker] " + CATATONIT + b"\n")
    found = unstarted.reason(str(directory), "Worker exited with code 1")
    assert found == "cannot start the worker's '/none': No such file or directory"


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ("Main exited with code 2", CATATONIT),
        ("Main exited with code 1", b"grep: x: No such file or directory"),
        ("Main exited with code 1", b"it said: " + CATATONIT),
        (None, CATATONIT),
    ],
)
def test_other_ends_keep_their_words(directory, told, text):
    (directory / "log").write_bytes(b"2026-01-01T00:00:00.000000001Z E " + text + b"\n")
    assert unstarted.reason(str(directory), told) is None


def test_a_run_without_a_log(tmp_path):
    assert unstarted.reason(str(tmp_path), "Main exited with code 1") is None
