"""The figures of ephemeral buffers: a message there and back, and a stream against the same one stored."""

from __future__ import annotations

import os
from collections.abc import Callable

import figures_local
import rig as rigs
import table

BOTH = {"input": "_", "output": "_"}


def latency(rig: rigs.Rig, options: table.Options) -> list[table.Row]:
    """A 100-byte message every 20 ms, through two ephemeral buffers and back."""
    run = figures_local.run_text(figures_local.echo(), **BOTH)
    return figures_local.messages("relay latency", rig, options, run)


def throughput(rig: rigs.Rig, options: table.Options) -> list[table.Row]:
    """Through a job and back, against the same run with stored buffers."""
    files = {}
    for name, buffers in (("stored", {}), ("relayed", BOTH)):
        files[name] = rig.path / f"{name}.yml"
        files[name].write_text(figures_local.run_text(figures_local.echo(), **buffers))

    def through(name: str) -> float:
        os.sync()
        source = f"{rigs.TYGER} buffer gen {options.size}"
        return rigs.timed(
            lambda: rig.shell(
                f"{source} | {rigs.TYGER} run exec -f {files[name]} 2>/dev/null | cat >/dev/null"
            )
        )

    pair = rigs.in_turns(options.repeat, lambda: through("stored"), lambda: through("relayed"))
    return [table.times_as_fast("relay", options.size, pair, 1.0)]


FIGURES: dict[str, Callable[[table.Options], list[table.Row]]] = {
    "relay-latency": figures_local.with_daemon(latency),
    "relay": figures_local.with_daemon(throughput),
}
