"""On which nodes a pod may run, contract compute.md 3. Pure."""

from __future__ import annotations

from typing import Any

from tyger import model
from tygerd import enginesettings
from tygerd.engines import site


def of(codespec: model.CodespecBase, pool: str | None, settings: enginesettings.Kubernetes) -> dict[str, Any]:
    """On which nodes, contract compute.md 3; a pool's name is spelled as it is configured."""
    gpu = codespec.resources.gpu if codespec.resources else None
    chosen = site_of(settings).pool(pool, gpu)
    selector = dict(settings.node_selector)
    if chosen:
        selector[settings.node_pool_label] = chosen.name
    tolerations = [_toleration("tyger", "run")]
    if gpu is not None or (chosen and chosen.gpu):
        tolerations.append(_toleration("sku", "gpu"))
    return {"tolerations": tolerations} | ({"nodeSelector": selector} if selector else {})


def site_of(settings: enginesettings.Kubernetes) -> site.Site:
    """Where runs may ask to be."""
    return site.Site(
        (settings.cluster,), tuple(site.Pool(each.name, each.has_gpu) for each in settings.node_pools)
    )


def _toleration(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}
