"""What the programs of a job are called, and the streams of its spec."""

from __future__ import annotations

import pytest

from tyger import model
from tygerd import config
from tygerd.engines import base
from tygerd.engines.supervised import parts
from tygerd.supervisor import spec

BUFFERS = model.BufferParameters(inputs=["in"], outputs=["out"])


def job(*, buffers=None, replicas=1, workers=0, **codespec):
    return base.Job(
        run=7,
        codespec=model.JobCodespec(image="i", buffers=buffers, **codespec),
        buffers={"in": "id1", "out": "id2"},
        created_at=1_000_000,
        timeout_seconds=60,
        replicas=replicas,
        worker=base.Worker(codespec=model.WorkerCodespec(image="w"), replicas=workers) if workers else None,
    )


@pytest.mark.parametrize(
    ("asked", "named", "helpers"),
    [
        ({}, [("main", "", "")], []),
        ({"buffers": BUFFERS}, [("main", "", "")], []),
        ({"replicas": 2}, [("job-0", "0", "[job-0]"), ("job-1", "1", "[job-1]")], []),
        (
            {"replicas": 2, "buffers": BUFFERS},
            [("job-0", "0", "[job-0][main]"), ("job-1", "1", "[job-1][main]")],
            [],
        ),
        ({"workers": 1}, [("main", "", "[job]")], [("worker-0", "", "[worker]")]),
        (
            {"workers": 2, "buffers": BUFFERS},
            [("main", "", "[job][main]")],
            [("worker-0", "", "[worker-0]"), ("worker-1", "", "[worker-1]")],
        ),
    ],
)
def test_names(asked, named, helpers):
    made = job(**asked)
    assert [(part.name, part.pipes, part.label) for part in parts.replicas(made)] == named
    assert [(part.name, part.pipes, part.label) for part in parts.workers(made)] == helpers
    assert [part.number for part in parts.replicas(made)] == list(range(len(named)))


def test_a_frame():
    asked = job(buffers=BUFFERS, sockets=[model.Socket(port=80, input_buffer="in", output_buffer="")])
    assert parts.frame(asked, daemon_socket="/s", store=config.Store(), pipe_mode=0o666) == spec.Spec(
        run=7,
        mains=(),
        daemon_socket="/s",
        inputs=(spec.Pipe("in", "id1", 0o666),),
        outputs=(spec.Pipe("out", "id2", 0o666),),
        sockets=(spec.Socket(80, "in"),),
        timeout=60,
        deadline=61_000_000,
    )
