"""What an engine does not declare is refused by name, before there is a run; `/metadata` tells the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tyger import client as client_module
from tyger import errors
from tygerd.conformance.daemons import site as suite

CAPABILITIES = {
    "DistributedRuns": "workers",
    "EphemeralBuffers": "ephemeral_buffers",
    "Gpu": "gpu",
    "NodePools": "node_pools",
    "Docker": "docker",
    "Kubernetes": "kubernetes",
}
"""The words of `GET /metadata` (contract rest-api.md 3.1), and the traits that they stand for."""


@suite.check
def metadata_tells_the_truth(site: suite.Site) -> None:
    """Each word is there exactly if its trait is declared."""
    told = suite.asked(client_module.Client(site.socket), "GET", "/metadata").get("capabilities", [])
    traits = site.traits._asdict()
    suite.expect(
        {word: word in told for word in CAPABILITIES}, {w: traits[t] for w, t in CAPABILITIES.items()}
    )


@suite.check
def what_is_not_declared_is_refused_by_name(site: suite.Site) -> None:
    """And leaves nothing behind: no run, no buffer."""
    client = client_module.Client(site.socket)
    worker = {"codespec": {"kind": "worker", "image": site.image, "command": ["true"]}, "replicas": 1}
    wishes: Mapping[str, tuple[str, dict[str, Any]]] = {
        "workers": ("worker", _run(site, worker=worker)),
        "replicas": ("replicas", _run(site, job={"replicas": 2})),
        "sockets": ("sockets", _run(site, codespec={"sockets": [{"port": 1234, "outputBuffer": "out"}]})),
        "gpu": ("gpu", _run(site, codespec={"resources": {"gpu": 1}})),
        "limits": ("limits", _run(site, codespec={"resources": {"limits": {"memory": "1Gi"}}})),
        "ephemeral_buffers": ("ephemeral", _run(site, job={"buffers": {"out": "_"}})),
    }
    before = _everything(client)
    for trait, (word, body) in wishes.items():
        if not getattr(site.traits, trait):
            problem = suite.refused(lambda body=body: client.request("POST", "/runs", body=body))  # type: ignore[misc] # a default that binds
            suite.expect((trait, problem.kind), (trait, errors.INVALID_INPUT))
            suite.expect((trait, word in problem.message.lower()), (trait, True))
    suite.expect(_everything(client), before)


@suite.check
def an_image_that_is_not_there_is_refused(site: suite.Site) -> None:
    """By its name, and with what to do; there is no run of it."""
    client = client_module.Client(site.socket)
    before = _everything(client)
    body = _run(site, codespec={"image": site.unknown_image})
    problem = suite.refused(lambda: client.request("POST", "/runs", body=body))
    suite.expect((problem.kind, site.unknown_image in problem.message), (errors.INVALID_INPUT, True))
    suite.expect(_everything(client), before)


def _run(
    site: suite.Site,
    *,
    codespec: Mapping[str, object] | None = None,
    job: Mapping[str, object] | None = None,
    **more: object,
) -> dict[str, Any]:
    spec = suite.codespec(site, "true", outputs=["out"]) | dict(codespec or {})
    return {"job": {"codespec": spec, **(job or {})}, **more}


def _everything(client: client_module.Client) -> tuple[list[int], list[str]]:
    """The newest runs and buffers."""
    runs: Any = suite.asked(client, "GET", "/runs")
    buffers: Any = suite.asked(client, "GET", "/buffers")
    return [run["id"] for run in runs["items"]], [buffer["id"] for buffer in buffers["items"]]
