"""The places of an engine that has several: clusters, and pools of nodes; contract compute.md 3. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tyger import errors
from tygerd import quantity


class Pool(NamedTuple):
    """Nodes of one kind."""

    name: str
    gpu: bool


class Site(NamedTuple):
    """The names that runs may ask for, in any letter case; the first cluster is the one that is meant."""

    clusters: tuple[str, ...]
    pools: tuple[Pool, ...] = ()

    def cluster(self, wanted: str | None) -> str:
        """The cluster of a run, spelled as it is configured.

        Raises:
            Problem: INVALID_INPUT, there is none of that name.
        """
        if not wanted:
            return self.clusters[0]
        found = next((name for name in self.clusters if name.lower() == wanted.lower()), None)
        if found is None:
            raise _unknown("cluster", wanted, self.clusters)
        return found

    def pool(self, wanted: str | None, gpu: str | float | None = None) -> Pool | None:
        """The pool that a target asks for; None where it asks for none. `gpu` is what its codespec needs.

        Raises:
            Problem: INVALID_INPUT, there is none of that name, or it lacks GPUs that are needed.
        """
        if not wanted:
            return None
        found = next((pool for pool in self.pools if pool.name.lower() == wanted.lower()), None)
        if found is None:
            raise _unknown("nodepool", wanted, (pool.name for pool in self.pools))
        if not found.gpu and gpu is not None and quantity.parse(gpu).nanos:
            raise _refused(f"Nodepool '{wanted}' does not have GPUs and cannot satisfy GPU request '{gpu}'")
        return found


def _unknown(what: str, wanted: str, known: Iterable[str]) -> errors.Problem:
    names = ", ".join(f"'{name}'" for name in known)
    if not names:
        return _refused(f"Unknown {what} '{wanted}'. None is configured; leave it out.")
    return _refused(f"Unknown {what} '{wanted}'. Valid options are: {names}.")


def _refused(message: str) -> errors.Problem:
    return errors.Problem(errors.INVALID_INPUT, message)
