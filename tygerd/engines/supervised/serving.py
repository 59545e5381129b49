"""The ports of a job: which buffers are joined with them, and which it has as pipes. Pure.

A codespec may spell a buffer of a socket in other cases than among its parameters; here is the one place that
knows.
"""

from __future__ import annotations

from tyger import model
from tygerd.supervisor import spec


def sockets(codespec: model.JobCodespec) -> tuple[spec.Socket, ...]:
    """The job's ports, with the names of their buffers as the parameters have them."""
    named = {name.lower(): name for name in _parameters(codespec)}

    def parameter(name: str | None) -> str | None:
        return named.get(name.lower()) if name else None

    return tuple(
        spec.Socket(each.port, parameter(each.input_buffer), parameter(each.output_buffer))
        for each in codespec.sockets or ()
    )


def piped(codespec: model.JobCodespec) -> list[str]:
    """The names of the buffers that the job opens itself, as pipes: those that no port is joined with."""
    served = {name for each in sockets(codespec) for name in (each.input, each.output)}
    return [name for name in _parameters(codespec) if name not in served]


def _parameters(codespec: model.JobCodespec) -> list[str]:
    buffers = codespec.buffers or model.BufferParameters()
    return [*(buffers.inputs or ()), *(buffers.outputs or ())]
