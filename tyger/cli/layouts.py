"""`--output`: the same answers as YAML, or as a table for people, in place of the contract's JSON.

A `Printer` is what `output.Console` hands objects to once the flag was given; without it, and with `json`,
there is none, and not a byte differs from what scripts know.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from tyger.cli import fields, flags

if TYPE_CHECKING:
    from tyger.cli import output

F = TypeVar("F", bound=Callable[..., Any])

NAMES = ("json", "yaml", "table")

BATCH = 1000
"""Items that are printed at once. The columns of a longer list may grow from one batch to the next."""


class Printer(Protocol):
    """Prints objects in one layout."""

    def one(self, value: object) -> None:
        """One object."""
        ...

    def several(self, table: fields.Table, values: Iterable[object]) -> None:
        """A list of objects of one kind."""
        ...

    def line(self, table: fields.Table, value: object) -> None:
        """One more state of an object that is being watched."""
        ...


class Yaml:
    """Documents of YAML; a list is one document."""

    def __init__(self, console: output.Console) -> None:
        self._console = console

    def one(self, value: object) -> None:
        """One document."""
        from tyger.cli import yamltext

        self._console.data(yamltext.dumps(value))

    def several(self, table: fields.Table, values: Iterable[object]) -> None:
        """One sequence, printed as its items come."""
        from tyger.cli import yamltext

        rest, empty = iter(values), True
        while batch := list(itertools.islice(rest, BATCH)):
            self._console.data("".join([yamltext.item(table(value)) for value in batch]))
            empty = False
        if empty:
            self._console.data(yamltext.dumps([]))

    def line(self, table: fields.Table, value: object) -> None:
        """One document of a stream of them."""
        from tyger.cli import yamltext

        self._console.data("---\n" + yamltext.dumps(table(value)))


class Table:
    """Columns below headings for a list, a line a member for one object."""

    def __init__(self, console: output.Console) -> None:
        self._console = console
        self._watched: Any = None

    def one(self, value: object) -> None:
        """A line a member."""
        from tyger.cli import tabletext

        if not isinstance(value, Mapping):
            self._console.text(tabletext.one_line(str(value)))
            return
        rows = list(tabletext.flat(value))
        width = max((len(name) for name, _ in rows), default=0)
        limit = self._console.width()
        for name, text in rows:
            line = f"{name.ljust(width)}  {tabletext.one_line(text)}".rstrip()
            self._console.text(line if limit is None else tabletext.cut(line, limit))

    def several(self, table: fields.Table, values: Iterable[object]) -> None:
        """Headings, and a line an object; the columns of what is listed, not its fields."""
        from tyger.cli import tabletext

        layout = tabletext.Layout(tabletext.COLUMNS[table], self._console.width())
        now, rest = self._console.now(), iter(values)
        while True:
            batch = list(itertools.islice(rest, BATCH))
            lines = layout.lines([value for value in batch if isinstance(value, Mapping)], now)
            self._console.data("".join([f"{line}\n" for line in lines]))
            if len(batch) < BATCH:
                return

    def line(self, table: fields.Table, value: object) -> None:
        """A line a state, below headings."""
        from tyger.cli import tabletext

        if self._watched is None:
            self._watched = tabletext.Layout(tabletext.COLUMNS[table], self._console.width())
        for line in self._watched.lines([value] if isinstance(value, Mapping) else [], self._console.now()):
            self._console.text(line)


def printer(name: str, console: output.Console) -> Printer | None:
    """What prints in the layout `name`; None for the contract's JSON."""
    match name:
        case "yaml":
            return Yaml(console)
        case "table":
            return Table(console)
        case _:
            return None


def option(*, default: str = "json") -> Callable[[F], F]:
    """`--output`. Its value is handed to the console, so that a command's own code need not know of it.

    `default` is what the help calls the layout without the flag.
    """

    def apply(context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None and not context.resilient_parsing and context.obj is not None:
            console = context.obj.console
            console.layout, console.printer = value, printer(value, console)
        return value

    return click.option(
        "-o",
        "--output",
        "layout",
        type=flags.Choice(*NAMES),
        expose_value=False,
        callback=apply,
        help=f"Print JSON, YAML, or a table for people. Default: {default}.",
    )


def format_option(help: str) -> Callable[[F], F]:  # noqa: A002 - click's own word
    """`--format text|json`, the contract's older flag of commands that say a sentence without `--output`."""
    return click.option("--format", "text_or_json", type=flags.Choice("text", "json"), help=help)


def as_text(console: output.Console, text_or_json: str | None) -> bool:
    """Whether neither `--output` nor `--format` asks for an object.

    Raises:
        UsageError: both were given.
    """
    if text_or_json is not None and console.layout is not None:
        raise click.UsageError(
            "--format and --output exclude each other", click.get_current_context(silent=True)
        )
    return text_or_json != "json" and console.layout is None
