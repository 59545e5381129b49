"""Images: what the engine has, and pulling what it has not."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import quote

import trio

from tyger import errors
from tygerd.engines import base
from tygerd.engines.container import api, auth, find, registry
from tygerd.osutil import nurseries

PROGRESS_SECONDS = 1.0
"""Between two lines of progress: fast enough for a terminal, and no flood in a log."""

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:[/:@][A-Za-z0-9_][A-Za-z0-9._-]*)*")


class Image(NamedTuple):
    """An image that the engine has. `digest` is its manifest's where the engine knows it, else its ID."""

    id: str
    digest: str
    entrypoint: list[str]
    command: list[str]
    checks_health: bool = False
    """It has a program that is to be run now and then in each of its containers."""


async def inspect(engine: api.Api, reference: str) -> Image | None:
    """The image of this name; None where there is none.

    Raises:
        Problem: INVALID_INPUT, it is no name, also in the engine's eyes; UNAVAILABLE.
    """
    check(reference)
    try:
        found = await engine.get(f"/images/{quote(reference, safe='/:@')}/json")
    except api.Refused as refusal:
        if refusal.status == 404:
            return None
        if registry.is_no_name(refusal.message):
            raise _no_name(reference) from refusal
        raise errors.Problem(
            errors.UNAVAILABLE, f"the engine cannot look for the image '{reference}': {refusal.message}"
        ) from refusal
    config = found.get("Config") or {}
    return Image(
        id=str(found["Id"]),
        digest=_digest(reference, found),
        entrypoint=list(config.get("Entrypoint") or []),
        command=list(config.get("Cmd") or []),
        checks_health=bool(config.get("Healthcheck")),
    )


def check(reference: str) -> None:
    """Refuse what can be no image's name, and would be another path in a request.

    Raises:
        Problem: INVALID_INPUT.
    """
    if not _REFERENCE.fullmatch(reference):
        raise _no_name(reference)


def _no_name(reference: str) -> errors.Problem:
    return errors.Problem(
        errors.INVALID_INPUT,
        f"'{reference}' is not the name of an image: write it as REGISTRY/NAME:TAG, in lower case, such as"
        " docker.io/library/busybox:1",
    )


def missing(reference: str, facts: find.Facts) -> errors.Problem:
    """The engine does not have it, and nobody asked for it to be pulled. Contract compute.md 11.1."""
    return errors.Problem(
        errors.INVALID_INPUT,
        f"The image '{reference}' was not found on the system. Run `{facts.command} pull {reference}` and try"
        " again, or have it pulled with --pull.",
    )


async def pull(
    engine: api.Api,
    facts: find.Facts,
    reference: str,
    progress: base.Progress,
    credentials: auth.Credentials | None,
) -> None:
    """Have the engine fetch an image from its registry. Cancelled, the engine may go on or give up.

    Raises:
        Problem: see `registry`; UNAVAILABLE when the engine does not answer.
    """
    check(reference)
    name, tag = _split(reference)
    headers = {} if credentials is None else {"X-Registry-Auth": credentials.header}
    summary = _Summary(reference)
    refused: api.Refused | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tell, summary, progress)
            try:
                await engine.lines(
                    "/images/create", summary.take, params={"fromImage": name, "tag": tag}, headers=headers
                )
            except api.Refused as refusal:
                refused = refusal
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise nurseries.outcome(group) from None
    if refused is not None:
        account = None if credentials is None else credentials.source
        raise registry.problem(reference, refused.message, command=facts.command, account=account)


async def _tell(summary: _Summary, progress: base.Progress) -> None:
    """Report a line now, and another one whenever it has changed."""
    said = ""
    while True:
        if (line := summary.line()) != said:
            said = line
            await progress(line)
        await trio.sleep(PROGRESS_SECONDS)


class _Summary:
    """Makes a line out of the engine's many messages about single layers."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._layers: dict[str, bool] = {}
        self._sizes: dict[str, tuple[int, int]] = {}

    def take(self, message: dict[str, Any]) -> None:
        """One message of the engine's. Those without an id are about no layer."""
        layer, status = message.get("id"), str(message.get("status"))
        if not layer or status.startswith("Pulling from"):
            return
        self._layers[layer] = status in {"Pull complete", "Already exists", "Download complete"}
        detail = message.get("progressDetail") or {}
        if status == "Downloading" and isinstance(total := detail.get("total"), int):
            self._sizes[layer] = (int(detail.get("current") or 0), total)

    def line(self) -> str:
        """How far it is."""
        line = f"pulling {self._reference}"
        if self._layers:
            line += f": {sum(self._layers.values())} of {len(self._layers)} layers"
        if self._sizes:
            come = sum(total if self._layers[layer] else n for layer, (n, total) in self._sizes.items())
            total = sum(total for _, total in self._sizes.values())
            line += f", {come / 2**20:.1f} of {total / 2**20:.1f} MiB"
        return line


def _split(reference: str) -> tuple[str, str]:
    """The name and its tag or digest, which is never left out: that would mean all tags."""
    name, at, digest = reference.partition("@")
    if at:
        return name, digest
    name, colon, tag = reference.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (reference, "latest")


def _digest(reference: str, found: dict[str, Any]) -> str:
    """The digest by which the registry of this name knows it; any other that is known; its ID."""
    known = [str(text).partition("@") for text in found.get("RepoDigests") or []]
    name = _split(reference)[0]
    for repository, _, digest in known:
        if repository == name or repository.endswith(f"/{name}"):
            return digest
    return known[0][2] if known else str(found["Id"])
