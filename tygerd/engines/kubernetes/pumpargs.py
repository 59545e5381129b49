"""The command lines of `tygerd pump` in a job's pod, and the places that the pod has to give it.

Pure; the programs are `pumppod`, `pumpprepare` and `pumpready` of streams. Nothing of what is said here is
secret: access URLs are in files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tygerd.supervisor import spec

PROGRAM = "tygerd"
"""Found through PATH, so that any image with a tygerd will do."""

FIFOS = "/etc/buffer-fifos"
"""An emptyDir that main and the pump share: a FIFO for each parameter, under its name (contract)."""

ACCESS = "/etc/buffer-sas-tokens"
"""The run's Secret, for the pump alone: an access URL for each parameter, under its name (contract)."""

STATE = "/var/lib/tyger-pump"
"""An emptyDir for the pump alone: blocks on their way, and what it must know when it is started again."""

LAST_WORDS = "/dev/termination-log"
"""Where the pump says why it failed: Kubernetes' own default, of which 4096 bytes come through."""

POD, NAMESPACE = "POD_NAME", "POD_NAMESPACE"
"""Environment variables by which the pump knows its own pod (the downward API's `metadata.name`, ...)."""

RELAY_PORT = 52173
"""Where ephemeral buffers are joined, on the pod's loopback interface: a port-forward leads there."""


def prepare(fifos: Iterable[str], hosts: Iterable[str] = ()) -> list[str]:
    """Make the FIFOs of these parameters, then wait until each of these host names resolves."""
    return [
        PROGRAM,
        "pump",
        "prepare",
        *(f"--fifo={name}" for name in fifos),
        *(f"--host={name}" for name in hosts),
    ]


def ready() -> list[str]:
    """Wait, in the pump's container, until it takes notice of a signal: main must not start before."""
    return [PROGRAM, "pump", "ready"]


def pod(
    inputs: Sequence[str],
    outputs: Sequence[str],
    sockets: Iterable[spec.Socket] = (),
    relays: Iterable[str] = (),
    *,
    relay_port: int = RELAY_PORT,
) -> list[str]:
    """Move all buffers of a pod; `relays` are those of the parameters whose buffers are ephemeral."""
    relayed = [f"--relay={name}" for name in relays]
    return [
        PROGRAM,
        "pump",
        "pod",
        *(f"--input={name}" for name in inputs),
        *(f"--output={name}" for name in outputs),
        *(f"--socket={each.port}:{each.input or ''}:{each.output or ''}" for each in sockets),
        *relayed,
        *([f"--relay-port={relay_port}"] if relayed else []),
    ]
