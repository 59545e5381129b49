"""`tygerd pump ready`: returns once the pump of its pod takes notice of a signal to stop.

Main is started only then: a main that ends at once would have the pump stopped before it has begun.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

STATE = "/var/lib/tyger-pump"

LIFE = "life"
"""The file that a pump makes as it begins (`podlife`)."""

PATIENCE = 300.0
"""Seconds until a pump that does not begin is given up: its node may be busy."""

PAUSE = 0.02
"""Seconds between looks."""


def main(argv: Sequence[str]) -> int:
    """Run `tygerd pump ready` with these arguments; its exit code."""
    made = argparse.ArgumentParser("tygerd pump ready", description="Wait until a pod's pump has begun.")
    made.add_argument(
        "--state", metavar="DIRECTORY", default=STATE, help="the pump's own (default: %(default)s)"
    )
    try:
        options = made.parse_args(argv)
    except SystemExit as ended:  # argparse has said what was wrong, or has helped
        return 64 if ended.code else 0
    path = os.path.join(options.state, LIFE)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with open(path, encoding="utf-8") as file:
                return file.read().startswith("failed")  # then main is not started at all
        except FileNotFoundError:
            pass
        if time.monotonic() > deadline:
            sys.stderr.write(f"tygerd pump ready: the pump has not begun within {PATIENCE:g} seconds\n")
            return 1
        time.sleep(PAUSE)
