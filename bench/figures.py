"""All figures by name, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Callable

import figures_catalog
import figures_cluster
import figures_local
import figures_relay
import figures_remote
import figures_runs
import figures_wait
import table

FIGURES: dict[str, Callable[[table.Options], list[table.Row]]] = {
    **figures_local.FIGURES,
    **figures_relay.FIGURES,
    **figures_runs.FIGURES,
    **figures_catalog.FIGURES,
    **figures_remote.FIGURES,
    **figures_wait.FIGURES,
    **figures_cluster.FIGURES,
}
