"""On which nodes a pod may run, contract compute.md 3. Pure."""

from __future__ import annotations

from typing import Any

from tyger import errors, model
from tygerd import enginesettings, quantity


def of(codespec: model.CodespecBase, pool: str | None, settings: enginesettings.Kubernetes) -> dict[str, Any]:
    """On which nodes, contract compute.md 3; a pool's name is spelled as it is configured."""
    known = {each.name.lower(): each for each in settings.node_pools}
    chosen = known.get(pool.lower()) if pool else None
    if pool and chosen is None:
        raise _unknown(pool, settings)
    selector = dict(settings.node_selector)
    if chosen:
        selector[settings.node_pool_label] = chosen.name
    gpu = codespec.resources.gpu if codespec.resources else None
    tolerations = [_toleration("tyger", "run")]
    if gpu is not None or (chosen and chosen.has_gpu):
        tolerations.append(_toleration("sku", "gpu"))
    if chosen and not chosen.has_gpu and gpu is not None and quantity.parse(gpu).nanos:
        raise _refused(f"Nodepool '{pool}' does not have GPUs and cannot satisfy GPU request '{gpu}'")
    return {"tolerations": tolerations} | ({"nodeSelector": selector} if selector else {})


def _unknown(pool: str, settings: enginesettings.Kubernetes) -> errors.Problem:
    """The run asks for nodes that nobody has configured; contract compute.md 3."""
    names = ", ".join(f"'{each.name}'" for each in settings.node_pools)
    return _refused(f"Unknown nodepool '{pool}'. Valid options are: {names}.")


def _toleration(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}


def _refused(message: str) -> errors.Problem:
    return errors.Problem(errors.INVALID_INPUT, message)
