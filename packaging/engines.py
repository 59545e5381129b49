"""Makes the last part of docs/engines.md: what each engine can do, from the traits that they declare.

`engines.py` writes it, `engines.py --check` fails when it is another.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator
from datetime import timedelta

from tyger import paths
from tygerd import config
from tygerd.engines import base
from tygerd.engines.container import engine as container
from tygerd.engines.kubernetes import engine as kubernetes
from tygerd.engines.kubernetes import secrets
from tygerd.engines.process import engine as process

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs/engines.md"
MARK = "<!-- Made by packaging/engines.py; what is written below this line is lost. -->\n"

DEPENDS = {
    ("container", "gpu"): "where the engine has NVIDIA's runtime",
    ("container", "limits"): "where the engine can set them",
    ("kubernetes", "gpu"): "where the cluster has some",
    ("kubernetes", "pull"): "by its nodes, as it is configured",
}
"""What an engine that was not asked yet is taken to be able to do, and is not everywhere."""


def declared() -> list[base.Traits]:
    """The traits of every engine for users' runs, as before they have been reached."""
    nowhere = paths.Paths(system=False, socket="/s", state="/nowhere", config="/c")

    async def sign(buffer: str, _writeable: bool, _ttl: timedelta) -> str:
        return buffer

    there = container.ContainerEngine(nowhere, config.Config(), installation="x", environ={})
    cluster = kubernetes.KubernetesEngine(
        nowhere, config.Config(), installation="x", urls=secrets.AccessUrls(sign), environ={}
    )
    return [process.ProcessEngine(nowhere, config.Config()).traits, there.traits, cluster.traits]


def table(engines: list[base.Traits]) -> Iterator[str]:
    """A row for each trait that one of them has, or that a run can ask for."""
    yield "## What each can do\n"
    yield f"| | {' | '.join(traits.name for traits in engines)} | without it a run |"
    yield "|" + "---|" * (len(engines) + 2)
    for name, meaning in base.MEANINGS.items():
        if not meaning.otherwise and not any(getattr(traits, name) for traits in engines):
            continue
        cells = [_cell(traits, name) for traits in engines]
        yield f"| {meaning.held} | {' | '.join(cells)} | {meaning.otherwise or '-'} |"


def _cell(traits: base.Traits, name: str) -> str:
    if not getattr(traits, name):
        return "no"
    condition = DEPENDS.get((traits.name, name))
    return f"yes, {condition}" if condition else "yes"


def main(arguments: list[str]) -> int:
    """Write the part, or check it; returns the exit code."""
    before, mark, after = PAGE.read_text().partition(MARK)
    wanted = "\n".join(table(declared())) + "\n"
    if arguments == ["--check"]:
        if not mark or after != wanted:
            sys.stderr.write("engines: docs/engines.md is not what the engines declare; run ./just man\n")
            return 1
        return 0
    PAGE.write_text(before.rstrip("\n") + "\n\n" + MARK + wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
