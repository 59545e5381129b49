"""Makes the last part of docs/compatibility.md: everything of the contract, and its state here.

`compatibility.py` writes it, `compatibility.py --check` fails when it is another. What the original has is
data in `contract.py`; what we have comes from the route table and the parsers. A thing of the original that
neither is here nor has a reason there, and a reason for a thing that is here, are mistakes.
"""

from __future__ import annotations

import importlib
import pathlib
import sys
import tomllib
from collections.abc import Iterator, Mapping

import click
import contract

from tyger.cli import root
from tygerd.api import routes

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/compatibility.md"
MARK = "<!-- Made by packaging/compatibility.py; what is written below this line is lost. -->\n"

LEGEND = (
    "Every endpoint, command and flag of the original. *Full*: as there, to the byte where bytes are"
    " compared. *Differs*: on purpose; the sections above say more. Flags that a command shares with all"
    " others stand with `tyger`."
)

Things = Mapping[str, frozenset[str]]
"""Names of endpoints or commands, each with the names of its parameters or flags."""


# --- what we have ------------------------------------------------------------------------------------------


def endpoints() -> Things:
    """The route table."""
    return {
        f"{route.method} {route.path.replace('...', '')}": frozenset([*route.query, *route.asks])
        for route in routes.ROUTES
    }


def flag_of(option: click.Parameter) -> str:
    """A flag as the data have it: `-f/--file`; one of ours that can be denied: `--follow/--no-follow`."""
    short = [name for name in option.opts if not name.startswith("--")]
    long = [name for name in option.opts if name.startswith("--")]
    return "/".join([*short[:1], *long[:1], *option.secondary_opts[:1]])


def flags_of(command: click.Command) -> frozenset[str]:
    """All flags, hidden ones too, and the one for help."""
    found = {flag_of(one) for one in command.params if isinstance(one, click.Option)}
    return frozenset(found | {"-h/--help"})


def commands() -> Things:
    """Every command and group of every program that is installed and is made of click."""
    found: dict[str, frozenset[str]] = {}
    for program, command in programs().items():
        found.update(walk(command, program, None))
    return found


def programs() -> dict[str, click.Command]:
    """The programs that pyproject.toml installs, but the daemon."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    found: dict[str, click.Command] = {"tyger": root.command}
    for name, place in scripts.items():
        command = getattr(importlib.import_module(place.partition(":")[0]), "command", None)
        if isinstance(command, click.Command):
            found[name] = command
    return found


def walk(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, frozenset[str]]]:
    """A command and all below it, with their flags."""
    yield name, flags_of(command)
    if isinstance(command, click.Group):
        context = click.Context(command, parent=parent, info_name=name)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from walk(found, f"{name} {child}", context)


def aliases() -> set[str]:
    """Other names of commands that work."""
    return {alias for alias, name in contract.ALIASES.items() if resolve(alias) is resolve(name) is not None}


def resolve(line: str) -> click.Command | None:
    """The command that a line names, through aliases too."""
    program, *words = line.split()
    command = programs().get(program)
    for word in words:
        if not isinstance(command, click.Group):
            return None
        command = command.get_command(click.Context(command, info_name=program), word)
    return command


def variables() -> set[str]:
    """Variables of the original's that our sources name, in either case."""
    sources = "".join(path.read_text() for top in ("tyger", "tygerd") for path in (ROOT / top).rglob("*.py"))
    return {name for name in contract.VARIABLES if f'"{name}"' in sources or f'"{name.lower()}"' in sources}


# --- states ------------------------------------------------------------------------------------------------

STATES: Mapping[str, Mapping[str, str]] = {
    "differs": contract.DIFFERS,
    "accepted without effect": contract.NO_EFFECT,
    "refused": contract.REFUSED,
    "not there": contract.NOT_THERE,
}


def state(name: str) -> str:
    """The state of one thing in words."""
    return next((f"{kind}: {reasons[name]}" for kind, reasons in STATES.items() if name in reasons), "full")


def everything() -> Iterator[tuple[str, bool]]:
    """Each thing of the contract, and whether it is here. Of what is not here, the parts are left out."""
    for theirs, ours in ((contract.ENDPOINTS, endpoints()), (contract.COMMANDS, commands())):
        for name, parts in theirs.items():
            yield name, name in ours
            yield from ((f"{name} {part}", part in ours[name]) for part in parts.split() if name in ours)
    yield from ((name, name in aliases()) for name in contract.ALIASES)
    there = variables()
    yield from ((name, name in there) for name in contract.VARIABLES)


def mistakes() -> Iterator[str]:
    """Where the data of `contract` and the programs contradict one another."""
    every = dict(everything())
    for name, there in every.items():
        if not there and name not in contract.NOT_THERE:
            yield f"{name} is of the contract and not here; say why in NOT_THERE of packaging/contract.py"
        if there and name in contract.NOT_THERE:
            yield f"{name} is here; take it out of NOT_THERE of packaging/contract.py"
    told = [(kind, name) for kind, reasons in STATES.items() for name in reasons]
    for kind, name in told:
        if name not in every:
            yield f"{name} ({kind}) in packaging/contract.py is nothing of the contract that is here"
        if [other for _, other in told].count(name) > 1:
            yield f"{name} has more than one state in packaging/contract.py"


def rows(name: str, parts: list[str], ours: frozenset[str] | None) -> Iterator[str]:
    """The lines of one endpoint or command: itself, then its parts by their states."""
    yield f"| `{name}` | {state(name)} |"
    if ours is None:
        if parts:
            yield f"| {written(parts)} | not there |"
        return
    by_state: dict[str, list[str]] = {}
    for part in parts:
        by_state.setdefault(state(f"{name} {part}"), []).append(part)
    for text, some in by_state.items():
        yield f"| {written(some)} | {text} |"


def written(parts: list[str]) -> str:
    """Parts as they stand in a table, indented below what they are parts of."""
    return "· " + ", ".join(f"`{part}`" for part in parts)


def table(title: str, theirs: Mapping[str, str], ours: Things) -> Iterator[str]:
    """One table, and what we have beyond it."""
    yield from (f"### {title}", "", "| | |", "|---|---|")
    for name, parts in theirs.items():
        yield from rows(name, parts.split(), ours.get(name))
    yield ""


def beyond(theirs: Mapping[str, str], ours: Things, everywhere: frozenset[str]) -> Iterator[str]:
    """What we have and the original has not; what stands `everywhere` only with the program itself."""
    groups = {name for name in ours if any(other.startswith(f"{name} ") for other in ours)}
    for name, parts in ours.items():
        known = set(theirs.get(name, "").split())
        more = sorted(parts - known - (everywhere if " " in name else frozenset()))
        flags = ": " + ", ".join(f"`{part}`" for part in more) if more else ""
        if (name not in theirs and name not in groups) or flags:
            yield f"- `{name}`{flags}"


def names(title: str, theirs: Mapping[str, str]) -> Iterator[str]:
    """A table of things without parts; each with what it stands for."""
    yield from (f"### {title}", "", "| | |", "|---|---|")
    yield from (
        f"| `{name}`{f' for `{means}`' if means else ''} | {state(name)} |" for name, means in theirs.items()
    )
    yield ""


def made() -> str:
    """The whole part."""
    api, line = endpoints(), commands()
    persistent = frozenset(flags_of(root.command))
    lines = [
        "",
        "## All of the contract, and its state",
        "",
        LEGEND,
        "",
        *table("Endpoints", contract.ENDPOINTS, api),
        *table("Commands", contract.COMMANDS, line),
        *names("Other names of commands", contract.ALIASES),
        *names("Environment variables", contract.VARIABLES),
        "### Ours alone",
        "",
        *beyond(contract.ENDPOINTS, api, frozenset()),
        *beyond(contract.COMMANDS, line, persistent),
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the part, or check it; returns the exit code."""
    text = PAGE.read_text()
    before, mark, after = text.partition(MARK)
    if found := list(mistakes()):
        sys.stderr.write("".join(f"compatibility: {mistake}\n" for mistake in found))
        return 1
    wanted = made()
    if arguments == ["--check"]:
        if not mark or after != wanted:
            sys.stderr.write(
                "compatibility: docs/compatibility.md is not what the programs say; run ./just man\n"
            )
            return 1
        return 0
    PAGE.write_text(before.rstrip("\n") + "\n\n" + MARK + wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
