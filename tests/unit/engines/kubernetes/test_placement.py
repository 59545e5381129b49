"""Node selectors and tolerations."""

from __future__ import annotations

import pytest

from tyger import errors, model
from tygerd import enginesettings
from tygerd.engines.kubernetes import placement

POOLS = [
    enginesettings.NodePool(name="cpunp", vm_size="Standard_D4"),
    enginesettings.NodePool(name="gpunp", vm_size="Standard_NC6"),
]
RUN = {"key": "tyger", "operator": "Equal", "value": "run", "effect": "NoSchedule"}
GPU = {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}


def of(pool=None, gpu=None, **settings):
    codespec = model.JobCodespec(image="i", resources=model.Resources(gpu=gpu))
    return placement.of(codespec, pool, enginesettings.Kubernetes(**{"node_pools": POOLS} | settings))


def test_any_node_for_runs():
    assert of() == {"nodeSelector": {"tyger": "run"}, "tolerations": [RUN]}
    assert of(node_selector={}) == {"tolerations": [RUN]}


def test_a_pool_is_spelled_as_it_is_configured():
    assert of("CpuNP")["nodeSelector"] == {"tyger": "run", "agentpool": "cpunp"}
    assert of("cpunp", node_pool_label="pool")["nodeSelector"] == {"tyger": "run", "pool": "cpunp"}


@pytest.mark.parametrize(("pool", "gpu"), [("gpunp", None), ("gpunp", "1"), (None, "1"), (None, "0")])
def test_gpus_are_tolerated(pool, gpu):
    assert of(pool, gpu)["tolerations"] == [RUN, GPU]


def test_what_is_not_there():
    with pytest.raises(errors.Problem, match=r"Unknown nodepool 'x'. Valid options are: 'cpunp', 'gpunp'\."):
        of("x")
    message = "Nodepool 'cpunp' does not have GPUs and cannot satisfy GPU request '2'"
    with pytest.raises(errors.Problem, match=message):
        of("cpunp", "2")
    assert of("cpunp", "0")["tolerations"] == [RUN, GPU]
