"""The order of fields, and what is left out."""

import pytest

from tyger.cli import fields


def test_a_buffer():
    value = {
        "unknown": 1,
        "isSoftDeleted": True,
        "expiresAt": "2024-02-25T18:20:49+00:00",
        "tags": {"b": "2", "a": "1"},
        "eTag": "7",
        "createdAt": "2024-01-25T18:20:49.951262+00:00",
        "location": "local",
        "id": "x",
    }
    assert list(fields.BUFFER(value).items()) == [
        ("id", "x"),
        ("createdAt", "2024-01-25T18:20:49.951262Z"),
        ("location", "local"),
        ("tags", {"a": "1", "b": "2"}),
        ("eTag", "7"),
        ("expiresAt", "2024-02-25T18:20:49Z"),
    ]
    assert list(fields.BUFFER(value)["tags"]) == ["a", "b"]


def test_empty_fields_are_left_out_unless_they_are_always_there():
    assert fields.BUFFER({"id": "x", "createdAt": None, "tags": {}, "location": ""}) == {
        "id": "x",
        "createdAt": None,
    }


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2024-01-25T18:20:49.951262+00:00", "2024-01-25T18:20:49.951262Z"),
        ("2024-01-25T18:20:49.9500000+00:00", "2024-01-25T18:20:49.95Z"),
        ("2024-01-25T18:20:49.000+00:00", "2024-01-25T18:20:49Z"),
        ("2024-01-25T18:20:50-00:00", "2024-01-25T18:20:50Z"),
        ("2024-01-25T18:20:50Z", "2024-01-25T18:20:50Z"),
        ("2024-01-25T18:20:49.10+02:00", "2024-01-25T18:20:49.1+02:00"),
        ("2024-01-25T18:20:40+02:00", "2024-01-25T18:20:40+02:00"),
        ("now", "now"),
        (None, None),
    ],
)
def test_times(sent, shown):
    assert fields.time(sent) == shown


def test_a_run_with_its_inline_codespec():
    job = {
        "replicas": 1,
        "tags": {},
        "buffers": {"o": "2", "i": "1"},
        "codespec": {
            "image": "x",
            "args": [],
            "env": {"B": "", "A": "1"},
            "sockets": [{"outputBuffer": "o", "port": 80, "extra": 1}],
            "resources": {"limits": {"memory": "1Gi", "cpu": "2"}, "gpu": "0"},
            "buffers": {"outputs": ["o"], "inputs": ["i"]},
            "kind": "job",
        },
    }
    run = fields.RUN({"job": job, "id": 3, "status": "Pending", "createdAt": "now", "kind": "user"})
    assert list(run) == ["id", "status", "createdAt", "kind", "job"]
    assert list(run["job"]) == ["codespec", "buffers", "replicas"]
    codespec = run["job"]["codespec"]
    assert list(codespec) == ["kind", "buffers", "sockets", "image", "env", "resources"]
    assert codespec["sockets"] == [{"port": 80, "outputBuffer": "o"}]
    assert list(codespec["resources"]["limits"]) == ["cpu", "memory"]
    assert list(codespec["env"].items()) == [("A", "1"), ("B", "")]


def test_a_codespec_reference_stays_text():
    assert fields.RUN({"job": {"codespec": "negate"}, "createdAt": "x"})["job"] == {"codespec": "negate"}


def test_watch_never_shows_tags():
    assert "tags" not in fields.RUN_METADATA(
        {"id": 1, "status": "Running", "createdAt": "x", "tags": {"a": "b"}}
    )
