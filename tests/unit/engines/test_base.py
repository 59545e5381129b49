"""A job's parameters by direction."""

from __future__ import annotations

import pytest

from tyger import model
from tygerd.engines import base


@pytest.mark.parametrize(
    ("buffers", "expected"),
    [
        (None, ([], [])),
        (model.BufferParameters(), ([], [])),
        (model.BufferParameters(inputs=["a"], outputs=["b", "c"]), (["a"], ["b", "c"])),
    ],
)
def test_parameters(buffers, expected):
    codespec = model.JobCodespec(image="x", buffers=buffers)
    job = base.Job(run=1, codespec=codespec, buffers={}, created_at=5, timeout_seconds=1)
    assert (job.inputs, job.outputs) == expected
    assert job.deadline == 1_000_005


def test_each_trait_has_a_meaning():
    assert ("name", *base.MEANINGS, "site") == base.Traits._fields
