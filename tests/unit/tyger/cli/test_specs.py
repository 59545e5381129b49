"""Codespec and run files as wholes, among them the ones that we ship."""

import pathlib

import pytest

from tests.support import cli
from tyger import errors
from tyger.cli import specs

EVERYTHING = """
kind: job
name: all
version: 7
createdAt: 2026-01-01
image: img
buffers: {inputs: [a], outputs: [b]}
sockets: [{port: 80, inputBuffer: a, outputBuffer: b}]
command: [c]
args: [1, yes]
workingDir: /w
env: {A: 1}
identity: me
resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2}, gpu: 1, shm: 1Gi}
maxReplicas: 3
"""


def test_all_fields_of_a_codespec(tmp_path):
    (tmp_path / "f").write_text(EVERYTHING)
    assert specs.read_codespec(str(tmp_path / "f")) == {
        "kind": "job",
        "name": "all",
        "image": "img",
        "buffers": {"inputs": ["a"], "outputs": ["b"]},
        "sockets": [{"port": 80, "inputBuffer": "a", "outputBuffer": "b"}],
        "command": ["c"],
        "args": ["1", "true"],
        "workingDir": "/w",
        "env": {"A": "1"},
        "identity": "me",
        "resources": {
            "requests": {"cpu": "1", "memory": "1Gi"},
            "limits": {"cpu": "2"},
            "gpu": "1",
            "shm": "1Gi",
        },
        "maxReplicas": 3,
    }


RUN = """
job:
  codespec: {image: x, args: [1], env: {A: yes}}
  buffers: {a: b}
  tags: {t: 1}
  bufferTtl: 1.00:00
  nodePool: p
  replicas: 2
worker: {codespec: w, replicas: 3}
cluster: c
timeoutSeconds: 60
tags: {x: 1.10}
bufferAccessTtl: 0.00:10
kind: user
id: 5
status: Failed
"""


def test_all_fields_of_a_run(tmp_path):
    (tmp_path / "f").write_text(RUN)
    assert specs.read_run(str(tmp_path / "f")) == {
        "job": {
            "codespec": {"kind": "job", "image": "x", "args": ["1"], "env": {"A": "true"}},
            "buffers": {"a": "b"},
            "tags": {"t": "1"},
            "bufferTtl": "1.00:00",
            "nodePool": "p",
            "replicas": 2,
        },
        "worker": {"codespec": "w", "replicas": 3},
        "cluster": "c",
        "timeoutSeconds": 60,
        "tags": {"x": "1.1"},
        "bufferAccessTtl": "0.00:10",
        "kind": "user",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "job:\n  codespec:\n    imagee: x",
            'line 3: job.codespec: unknown field "imagee" (did you mean image?)',
        ),
        (
            "job:\n  codespec: {image: x}\n  replicas: two",
            "line 3: job.replicas: expected a whole number, found text",
        ),
        ("job: negate", "line 1: job: expected a mapping, found 'negate'"),
        ("kind: system", "line 1: kind: expected user, found 'system'"),
        ("timeoutSeconds: '60'", "line 1: timeoutSeconds: expected a whole number, found text in quotes"),
        ("worker: {buffers: {}}", 'line 1: worker: unknown field "buffers"'),
    ],
)
def test_mistakes_are_told_with_field_and_line(tmp_path, text, said):
    (tmp_path / "r.yml").write_text(text)
    with pytest.raises(errors.Problem) as caught:
        specs.read_run(str(tmp_path / "r.yml"))
    assert str(caught.value) == f"failed to parse file {tmp_path}/r.yml: {said}"


@pytest.mark.parametrize(
    "path", sorted(pathlib.Path(cli.ROOT, "examples").glob("*.yml")), ids=lambda path: path.name
)
def test_our_examples_are_run_files(path):
    run = specs.read_run(str(path))
    assert run["job"]["codespec"]["kind"] == "job"
