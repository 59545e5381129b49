"""Options of commands that follow a run: `run exec`, `run attach`, `buffer export` and `buffer import`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from tyger.cli import flags

F = TypeVar("F", bound=Callable[..., object])


def logs(command: F) -> F:
    """`--logs` and `--timestamps`, as `show_logs` and `timestamps`."""
    stamped = click.option(
        "--timestamps", is_flag=True, help="With --logs: begin each line with its time (UTC)."
    )
    shown = click.option(
        "--logs", "show_logs", is_flag=True, help="Show the program's log lines on standard error."
    )
    return shown(stamped(command))


def on_exit(default: str) -> Callable[[F], F]:
    """`--on-exit`."""
    return click.option(
        "--on-exit",
        type=flags.Choice("cancel", "detach"),
        default=default,
        show_default=True,
        help="What becomes of the run when this command ends before it.",
    )
