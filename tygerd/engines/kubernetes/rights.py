"""What the engine must be allowed to do in its namespace, and whether it is.

`packaging/kubernetes/base/daemon.yaml` gives exactly these rights; tests hold both together, and the engine
to them.
"""

from __future__ import annotations

from typing import NamedTuple

import trio

from tygerd.engines.kubernetes import api, making, refusals

ADVICE = (
    "apply packaging/kubernetes/base to the cluster, or give its rights to whom the kubeconfig stands for"
)


class Right(NamedTuple):
    """Verbs for one kind of object; `resource` may name a part of it, such as `pods/log`."""

    group: str
    resource: str
    verbs: tuple[str, ...]


REQUIRED = (
    Right("", "pods", ("create", "delete", "get", "list", "patch", "watch")),
    Right("", "pods/log", ("get",)),
    Right("", "pods/portforward", ("create", "get")),
    Right("", "secrets", ("create", "delete", "get", "list", "patch")),
    Right("", "services", ("create", "delete", "get", "list")),
    Right("apps", "statefulsets", ("create", "delete", "get", "list")),
)


async def lacking(cluster: api.Api) -> str | None:
    """What we may not do, in a line that says what to do about it; None: we may do everything.

    Raises:
        Trouble: the cluster cannot be asked.
    """
    namespace = await trio.to_thread.run_sync(lambda: cluster.access.namespace)
    refused: dict[str, list[str]] = {}

    async def ask(right: Right, verb: str) -> None:
        if not await _may(cluster, namespace, right, verb):
            refused.setdefault(right.resource, []).append(verb)

    trouble: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            for right in REQUIRED:
                for verb in right.verbs:
                    nursery.start_soon(ask, right, verb)
    except* refusals.Trouble as group:
        trouble = making.first(group)
    if trouble is not None:
        raise trouble
    if not refused:
        return None
    words = ", ".join(
        f"{' and '.join(sorted(refused[right.resource]))} {right.resource}"
        for right in REQUIRED
        if right.resource in refused
    )
    return f"{cluster.access.where} does not let us {words} in the namespace {namespace}; {ADVICE}"


async def _may(cluster: api.Api, namespace: str, right: Right, verb: str) -> bool:
    resource, _, part = right.resource.partition("/")
    asked = {"namespace": namespace, "group": right.group, "resource": resource, "verb": verb}
    if part:
        asked["subresource"] = part
    answer = await cluster.create(
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
    )
    status = answer.get("status")
    return isinstance(status, dict) and bool(status.get("allowed"))
