"""How a job finds its workers: the variables that tell it their addresses, contract compute.md 4.3. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tyger import errors, model


def variables(codespec: model.WorkerCodespec, hosts: Sequence[str]) -> dict[str, str]:
    """What a job has in its environment for workers of these names."""
    found = {"TYGER_WORKER_NODES": json.dumps(hosts)}
    for name, port in (codespec.endpoints or {}).items():
        found[_variable(name)] = json.dumps([f"{host}:{port}" for host in hosts])
    return found


def check(endpoints: Mapping[str, int]) -> None:
    """Refuse those of which a job could not be told.

    Raises:
        Problem: INVALID_INPUT, naming the endpoint.
    """
    told: dict[str, str] = {}
    for name, port in endpoints.items():
        if "=" in name or "\0" in name:
            raise _refused(f"endpoints: {name!r} cannot be part of the name of an environment variable")
        if not 1 <= port <= 65535:
            raise _refused(f"endpoints: the port of '{name}' must be between 1 and 65535, not {port}")
        other = told.setdefault(variable := _variable(name), name)
        if other != name:
            raise _refused(f"endpoints: '{other}' and '{name}' would both be {variable}; rename one")


def _variable(name: str) -> str:
    return f"TYGER_{name.upper()}_WORKER_ENDPOINT_ADDRESSES"


def _refused(message: str) -> errors.Problem:
    return errors.Problem(errors.INVALID_INPUT, message)
