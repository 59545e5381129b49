"""What makes a codespec valid and what makes two equal, contract rest-api.md 5.2 and 5.3. Pure.

`canonical` is applied to whatever comes in; everything else expects its result.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

import msgspec

from tyger import errors, model
from tygerd import quantity

_BUFFER_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
# As in a container's arguments: `$$` is a dollar sign, `$(X)` a reference.
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


def canonical(codespec: model.Codespec, path: str = "$") -> model.Codespec:
    """The codespec with its quantities in canonical form, as it is stored and shown.

    `path` says where the codespec stands in the request, for the message.

    Raises:
        Problem: INVALID_INPUT for what is no quantity.
    """
    if codespec.resources is None:
        return codespec
    where = f"{path}.resources"
    resources = codespec.resources
    changed = msgspec.structs.replace(
        resources,
        requests=_canonical_amounts(resources.requests, f"{where}.requests"),
        limits=_canonical_amounts(resources.limits, f"{where}.limits"),
        gpu=_canonical(resources.gpu, f"{where}.gpu"),
        shm=_canonical(resources.shm, f"{where}.shm"),
    )
    return msgspec.structs.replace(codespec, resources=changed)


def check(codespec: model.Codespec) -> None:
    """Raises Problem: INVALID_INPUT with the first rule of the contract that is broken."""
    if not codespec.image.strip():
        _refuse("The image field is required.")
    if isinstance(codespec, model.JobCodespec):
        inputs, outputs = _buffers(codespec)
        _check_buffer_names([*inputs, *outputs])
        _check_sockets(codespec, inputs, outputs)


def equal(one: model.Codespec, other: model.Codespec) -> bool:
    """Whether two codespecs say the same, whatever their names and versions.

    One with sockets equals none, not even itself: the original compares them by identity.
    """
    return _comparable(one) == _comparable(other) and not getattr(one, "sockets", None)


# --- quantities ------------------------------------------------------------------------------------------


def _canonical(value: model.Quantity | None, path: str) -> str | None:
    if value is None:
        return None
    try:
        amount = quantity.parse(value)
    except ValueError as error:
        _refuse(f"Error deserializing input: '{value}' {error}. Path: {path}")
    if amount.nanos < 0:
        _refuse(f"Error deserializing input: '{value}' is negative. Path: {path}")
    return quantity.canonical(amount)


def _canonical_amounts(amounts: model.Overcommittable | None, path: str) -> model.Overcommittable | None:
    if amounts is None:
        return None
    return model.Overcommittable(
        cpu=_canonical(amounts.cpu, f"{path}.cpu"), memory=_canonical(amounts.memory, f"{path}.memory")
    )


# --- rules -----------------------------------------------------------------------------------------------


def _buffers(codespec: model.JobCodespec) -> tuple[list[str], list[str]]:
    buffers = codespec.buffers or model.BufferParameters()
    return buffers.inputs or [], buffers.outputs or []


def _check_buffer_names(names: Sequence[str]) -> None:
    groups = collections.Counter(name.lower() for name in names)
    for name in names:
        if not name.strip():
            _refuse("A buffer name cannot be empty")
        if groups[name.lower()] > 1:
            _refuse(
                "All buffer names must be unique across inputs and outputs."
                f" Buffer names are case-insensitive. '{name}' is duplicated"
            )
        if not _BUFFER_NAME.fullmatch(name):
            _refuse(
                f"The name of buffer '{name}' is invalid. Buffer names must consist of lower case"
                " alphanumeric characters or '-', and must start and end with an alphanumeric character."
            )


def _check_sockets(codespec: model.JobCodespec, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    used: set[tuple[str, str]] = set()
    for socket in codespec.sockets or ():
        if not 1 <= socket.port <= 65535:
            _refuse("Port must be between 1 and 65535")
        ends = (("input", socket.input_buffer, inputs), ("output", socket.output_buffer, outputs))
        for side, name, names in ends:
            if name and name.lower() not in {known.lower() for known in names}:
                _refuse(
                    f"The {side} buffer '{name}' for socket {socket.port} is not among the codespec's {side}"
                    " buffer parameters"
                )
        for side, name, _ in ends:
            if name and (side, name.lower()) in used:
                _refuse(f"The {side} buffer '{name}' is used by multiple sockets")
            if name:
                used.add((side, name.lower()))
        if not socket.input_buffer and not socket.output_buffer:
            _refuse(f"At least one of the input or output buffer must be specified for socket {socket.port}")
    texts = [*(codespec.args or ()), *(codespec.command or ()), *(codespec.env or {}).values()]
    _check_references(texts, {f"{name.upper()}_PIPE" for _, name in used})


def _check_references(texts: Iterable[str], taken: set[str]) -> None:
    """A buffer that a socket serves has no pipe, so nothing may name one."""
    for text in texts:
        for match in _REFERENCE.finditer(text):
            if match[1] in taken:
                _refuse(f"The buffer reference '{match[0]}' is not valid because it is used by a socket")


# --- equality --------------------------------------------------------------------------------------------


def _comparable(codespec: model.Codespec) -> tuple[object, ...]:
    shared = (
        type(codespec),
        codespec.image,
        codespec.command or [],
        codespec.args or [],
        codespec.working_dir,
        codespec.env or {},
        codespec.identity,
        codespec.max_replicas,
        _amounts(codespec.resources or model.Resources()),
    )
    if isinstance(codespec, model.WorkerCodespec):
        return (*shared, codespec.endpoints or {})
    inputs, outputs = _buffers(codespec)
    return (*shared, sorted(inputs), sorted(outputs), codespec.sockets or [])


def _amounts(resources: model.Resources) -> tuple[int | None, ...]:
    requests = resources.requests or model.Overcommittable()
    limits = resources.limits or model.Overcommittable()
    values = (requests.cpu, requests.memory, limits.cpu, limits.memory, resources.gpu, resources.shm)
    return tuple(None if value is None else quantity.parse(value).nanos for value in values)


def _refuse(message: str) -> NoReturn:
    # Names are quoted before they are known to be good; the message stays one line all the same.
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
    raise errors.Problem(errors.INVALID_INPUT, line)
