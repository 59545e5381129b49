"""The files of a run's directory survive a round trip, and others are refused."""

from __future__ import annotations

import pytest

from tygerd.supervisor import spec

SPEC = spec.Spec(
    run=7,
    mains=(
        spec.MainSpec(
            "job-0", process=spec.ProcessSpec(["a", "b"], {"X": "1"}, "/"), pipes="0", label="[job-0]"
        ),
        spec.MainSpec("job-1", container=spec.ContainerSpec("/api", "c", {"Image": "i"}, {"w-0": "worker"})),
    ),
    workers=(spec.MainSpec("worker", container=spec.ContainerSpec("/api", "w", {})),),
    daemon_socket="/s",
    inputs=(spec.Pipe("in", "id1"),),
    outputs=(spec.Pipe("out", "id2", 0o666),),
    sockets=(spec.Socket(80, output="out"),),
    timeout=1.5,
    deadline=1_700_000_000_000_000,
)
OLD = (
    '{"version": 1, "run": 7, "argv": ["a"], "env": {"X": "1"}, "cwd": "/", "daemon_socket": "/s",'
    ' "sandboxed": true, "inputs": [["in", "id1", 384]], "outputs": [], "timeout": 1.5, "cancel_grace": 10.0,'
    ' "block_size": 4194304, "flush_interval": 1.0, "retry_for": null}'
)
STATUS = spec.Status(
    run=7,
    status="Failed",
    reason="x",
    exit_code=1,
    started_at=1,
    finished_at=2,
    inputs={"in": "closed"},
    outputs={},
)


def test_round_trip(tmp_path):
    spec.write_spec(str(tmp_path), SPEC)
    assert spec.read_spec(str(tmp_path)) == SPEC
    assert spec.read_status(str(tmp_path)) is None
    spec.write_status(str(tmp_path), STATUS)
    assert spec.read_status(str(tmp_path)) == STATUS
    assert {path.name for path in tmp_path.iterdir()} == {"spec.json", "status.json"}


def test_a_spec_of_a_daemon_of_version_1(tmp_path):
    (tmp_path / "spec.json").write_text(OLD)
    assert spec.read_spec(str(tmp_path)) == spec.Spec(
        run=7,
        mains=(spec.MainSpec("main", spec.ProcessSpec(["a"], {"X": "1"}, "/", sandboxed=True)),),
        daemon_socket="/s",
        inputs=(spec.Pipe("in", "id1"),),
        timeout=1.5,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 3}',
        '{"version": 1, "x": 1}',
        '{"version": 2, "inputs": [[]]}',
        '{"version": 2, "inputs": [], "outputs": [], "mains": [1]}',
    ],
)
def test_what_is_not_ours_is_a_value_error(tmp_path, text):
    (tmp_path / "spec.json").write_text(text)
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        spec.read_spec(str(tmp_path))
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        spec.read_status(str(tmp_path))
