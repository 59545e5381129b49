"""The files of a run's directory survive a round trip, and others are refused."""

from __future__ import annotations

import pytest

from tygerd.supervisor import spec

SPEC = spec.Spec(
    run=7,
    argv=["a", "b"],
    env={"X": "1"},
    cwd="/",
    daemon_socket="/s",
    inputs=(spec.Pipe("in", "id1"),),
    outputs=(spec.Pipe("out", "id2", 0o666),),
    timeout=1.5,
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


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "x": 1}', '{"version": 1, "inputs": [[]]}']
)
def test_what_is_not_ours_is_a_value_error(tmp_path, text):
    (tmp_path / "spec.json").write_text(text)
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        spec.read_spec(str(tmp_path))
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        spec.read_status(str(tmp_path))
