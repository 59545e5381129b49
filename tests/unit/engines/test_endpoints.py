"""The variables that tell a job where its workers are."""

from __future__ import annotations

import pytest

from tyger import errors, model
from tygerd.engines import endpoints


def test_a_job_is_told_all_addresses():
    codespec = model.WorkerCodespec(image="i", endpoints={"api": 80, "My-Port": 9})
    assert endpoints.variables(codespec, ["a", "b"]) == {
        "TYGER_WORKER_NODES": '["a", "b"]',
        "TYGER_API_WORKER_ENDPOINT_ADDRESSES": '["a:80", "b:80"]',
        "TYGER_MY-PORT_WORKER_ENDPOINT_ADDRESSES": '["a:9", "b:9"]',
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"a=b": 1}, "cannot be part of the name"),
        ({"a": 0}, "must be between 1 and 65535, not 0"),
        ({"a": 65536}, "not 65536"),
        ({"api": 1, "API": 2}, "'api' and 'API' would both be TYGER_API_WORKER_ENDPOINT_ADDRESSES"),
    ],
)
def test_what_a_job_could_not_be_told_is_refused(wrong, said):
    with pytest.raises(errors.Problem, match=said) as caught:
        endpoints.check(wrong)
    assert caught.value.kind is errors.INVALID_INPUT


def test_good_ones_pass():
    endpoints.check({"a": 1, "b": 65535})
