"""Measures what we promise, prints a table and writes JSON. Never a test: a busy machine may miss a figure.

Every figure stands beside a reference that was measured in turns with it, on the same machine, in the same
minutes; so a ratio means something where an absolute number does not. What this machine cannot measure
stands in the table with its reason. All files are removed afterwards, but for `.cache`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import sys

import figures
import rig
import table

from tyger import units


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./just bench", description="Measure what we promise.")
    parser.add_argument("--size", type=units.parse_size, default="4GiB", help="of the streams (default 4GiB)")
    parser.add_argument(
        "--repeat", type=int, default=5, help="samples of each; the median counts (default 5)"
    )
    parser.add_argument("--memory", default="1GiB,8GiB", help="sizes for peak memory (default 1GiB,8GiB)")
    parser.add_argument("--messages", type=int, default=500, help="for the latency (default 500)")
    parser.add_argument("--runs", type=int, default=1000, help="in a cluster at once (default 1000)")
    parser.add_argument(
        "--only", action="append", choices=sorted(figures.FIGURES), help="measure only this one"
    )
    parser.add_argument(
        "--directory", help="where the files go: a disk with twice --size free (default: TMPDIR)"
    )
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path(__file__).with_name("results.json"))
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    amounts = table.Options(
        size=options.size,
        repeat=options.repeat,
        memory_sizes=tuple(units.parse_size(text) for text in options.memory.split(",")),
        messages=options.messages,
        runs=options.runs,
        directory=options.directory,
    )
    rows: list[table.Row | table.Gap] = []
    for name, measure in figures.FIGURES.items():
        if options.only is None or name in options.only:
            print(f"measuring {name} ...", file=sys.stderr)
            try:
                rows += measure(amounts)
            except rig.Missing as missing:
                rows.append(table.Gap(name, str(missing)))
    print(table.render(rows))
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    measured = [
        dataclasses.asdict(row) | ({"holds": row.holds} if isinstance(row, table.Row) else {}) for row in rows
    ]
    result = {"machine": machine, "options": dataclasses.asdict(amounts), "rows": measured}
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
