"""Makes man/ from what the programs say about themselves: parsers, configuration, table of errors.

`man.py` writes the pages, `man.py --check` fails when one differs from what it would write. Nothing that has
a source elsewhere is written here, and no page has a date, so that the same sources make the same bytes.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Iterator

import click

import tyger
from tyger import errors, paths
from tyger.cli import login, root
from tyger_proxy import __main__ as proxy
from tygerd import __main__ as daemon
from tygerd import config
from tygerd.conformance import command

MAN = pathlib.Path(__file__).resolve().parents[1] / "man"

ENVIRONMENT = [
    ("TYGER_SOCKET", "The daemon's socket, whatever the login says."),
    (
        "TYGER_SOCKET_PATH",
        (
            "Where nobody has logged in: the socket of this machine's server, in place of the system's or the"
            " user's own. No daemon is started there. It is also what tyger login --local takes."
        ),
    ),
    (
        "TYGER_CACHE_FILE, XDG_CACHE_HOME",
        (
            "The login file, or the directory that has it as tyger/.tyger. Without one the commands use"
            " this machine's daemon."
        ),
    ),
    ("TYGER_AUTOSTART", "0 forbids that a command starts a daemon when none answers."),
    ("NO_COLOR", "When set, messages have no colours."),
    (
        "XDG_RUNTIME_DIR, XDG_STATE_HOME, XDG_CONFIG_HOME",
        "Where user mode has its socket, state and configuration. Cron sets none of them: set them there.",
    ),
]
FILES = [
    (paths.SYSTEM_SOCKET, "The socket of the system's daemon; a command uses it where it exists."),
    (paths.SYSTEM_STATE, "The state of the system's daemon."),
    (paths.SYSTEM_CONFIG, "Its configuration, see tygerd.toml(5)."),
    (
        "$XDG_RUNTIME_DIR/tyger/tyger.sock",
        "The socket of the user's own daemon; without XDG_RUNTIME_DIR it is /tmp/tyger-UID/tyger.sock.",
    ),
    ("~/.local/state/tyger", "Its state. What it logs is in tygerd.log there."),
    ("~/.config/tyger/tygerd.toml", "Its configuration."),
]


# --- roff ------------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Text that roff prints as it is: no escapes, no hyphen for a minus, no line taken for a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def heading(name: str, section: int, summary: str) -> list[str]:
    """The first lines of a page."""
    title = f'.TH {name.upper()} {section} "" "Tyger {tyger.__version__}" "Tyger"'
    return [title, ".SH NAME", f"{escape(name)} \\- {escape(summary)}"]


def terms(rows: list[tuple[str, str]]) -> list[str]:
    """A list of terms, each with what it means."""
    return [
        line
        for term, meaning in rows
        for line in (".TP", f".B {escape(term)}", escape(" ".join(meaning.split())))
    ]


def prose(text: str) -> Iterator[str]:
    r"""Paragraphs as click has them: a paragraph that begins with \b keeps its lines."""
    for paragraph in text.strip().split("\n\n"):
        if paragraph.startswith("\b\n"):
            first, *lines = paragraph[2:].splitlines()
            # A title, such as "Examples:", above lines that are indented deeper.
            yield from (".PP", escape(first), ".PP", ".RS 4", ".EX")
            yield from (escape(line.strip()) for line in lines)
            yield from (".EE", ".RE")
        else:
            yield from (".PP", *(escape(line.strip()) for line in paragraph.splitlines()))


# --- commands --------------------------------------------------------------------------------------------


def summary_of(command: click.Command) -> str:
    """A command's first sentence, as it is written."""
    return command.get_short_help_str(limit=1000).rstrip(".") + "."


def clause(sentence: str) -> str:
    """A sentence as the NAME section of a page wants it."""
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def options_of(context: click.Context) -> list[tuple[str, str]]:
    """The visible options of a command, as its --help has them."""
    records = (param.get_help_record(context) for param in context.command.get_params(context))
    return [record for record in records if record is not None]


def usage_of(context: click.Context) -> list[str]:
    """The synopsis of a command."""
    pieces = context.command.collect_usage_pieces(context)
    return [".PP", f".B {escape(context.command_path)}", escape(" ".join(pieces))]


def children_of(context: click.Context) -> list[click.Context]:
    """Contexts of a group's visible sub-commands; none for a leaf."""
    group = context.command
    if not isinstance(group, click.Group):
        return []
    found = ((name, group.get_command(context, name)) for name in group.list_commands(context))
    return [
        click.Context(command, parent=context, info_name=name)
        for name, command in found
        if command is not None and not command.hidden
    ]


def tyger_page(top: click.Context) -> list[str]:
    """tyger(1): what all commands have in common."""
    nouns = children_of(top)
    return [
        *heading("tyger", 1, "stream data into buffers and through runs"),
        ".SH SYNOPSIS",
        *usage_of(top),
        ".SH DESCRIPTION",
        *prose(top.command.help or ""),
        ".SH COMMANDS",
        *terms([(f"tyger-{noun.info_name}(1)", summary_of(noun.command)) for noun in nouns]),
        ".SH OPTIONS",
        "Every command takes these, before or behind its name.",
        *terms(options_of(top)),
        ".SH EXIT STATUS",
        *terms([("0", "Success."), *exit_codes(), ("128 + n", "Ended by signal n.")]),
        ".SH ENVIRONMENT",
        *terms(ENVIRONMENT),
        ".SH FILES",
        *terms([*FILES, ("~/.cache/tyger/.tyger", "The login file, see tyger-login(1).")]),
        ".SH SEE ALSO",
        escape(", ".join(f"tyger-{noun.info_name}(1)" for noun in nouns) + ", tygerd(8), tygerd.toml(5)"),
    ]


def exit_codes() -> list[tuple[str, str]]:
    """Each exit code with all that it can mean, from the table of errors."""
    meanings: dict[int, list[str]] = {}
    for kind in errors.KINDS:
        meanings.setdefault(kind.exit_code, []).append(f"{kind.meaning} ({kind.code})")
    return [(str(code), "; ".join(texts) + ".") for code, texts in sorted(meanings.items())]


def noun_page(noun: click.Context) -> list[str]:
    """tyger-NOUN(1): all commands of one noun, or the one command that has no noun; or a whole program."""
    name = f"tyger-{noun.info_name}" if noun.parent else str(noun.info_name)
    page = heading(name, 1, clause(summary_of(noun.command)))
    commands = leaves_of(noun)
    acts = isinstance(noun.command, login.Login)
    page += [".SH SYNOPSIS", *(usage_of(noun) if acts else ())]
    page += [line for leaf in commands for line in usage_of(leaf)]
    page += [".SH DESCRIPTION", *prose(noun.command.help or "")]
    page += [".SH OPTIONS", *terms(options_of(noun))] if acts or not noun.parent else []
    if commands == [noun]:
        page += [".SH OPTIONS", *terms(options_of(noun))] if options_of(noun) else []
    else:
        page.append(".SH COMMANDS")
        for leaf in commands:
            _, name, operands = usage_of(leaf)
            page += [f".SS {name.removeprefix('.B ')} {operands}", *prose(leaf.command.help or "")]
            page += terms(options_of(leaf))
    return [*page, ".SH SEE ALSO", "tyger(1)"]


def leaves_of(context: click.Context) -> list[click.Context]:
    """Every command below a group; a leaf itself."""
    children = children_of(context)
    return [leaf for child in children for leaf in leaves_of(child)] if children else [context]


# --- tygerd -----------------------------------------------------------------------------------------------


def daemon_page() -> list[str]:
    """tygerd(8), from the parser of `tygerd serve` and the list of subcommands."""
    parser, checking = daemon.serve_parser(), command.parser()
    # The lines of the list: two spaces, the name, its meaning.
    listed = [line.split(maxsplit=1) for line in daemon.USAGE.splitlines() if line.startswith("  ")]
    return [
        *heading("tygerd", 8, "the daemon of Tyger"),
        ".SH SYNOPSIS",
        *(
            f".PP\n.B tygerd {escape(name)}" + ("\n[OPTIONS]" if name in {"serve", "check-store"} else "")
            for name, _ in listed
        ),
        ".SH DESCRIPTION",
        *prose(parser.description or ""),
        ".PP",
        "A command that finds no daemon starts one in user mode, which leaves when it is idle. Under systemd",
        "the daemon takes the socket that it is passed, and says when it is ready.",
        ".SH COMMANDS",
        *terms([(f"tygerd {name}", f"{meaning[:1].upper()}{meaning[1:]}.") for name, meaning in listed]),
        ".SH OPTIONS OF SERVE",
        *terms(options_of_parser(parser)),
        ".SH OPTIONS OF CHECK\\-STORE",
        *prose(checking.description or ""),
        *terms(options_of_parser(checking)),
        ".SH SIGNALS",
        *terms(
            [("SIGTERM, SIGINT", "Take no new requests, let those under way finish for a while, and leave.")]
        ),
        ".SH EXIT STATUS",
        *terms([("0", "It was told to stop, or had nothing to do."), *exit_codes()]),
        ".SH FILES",
        *terms(FILES),
        ".SH SEE ALSO",
        "tyger(1), tygerd.toml(5)",
    ]


def options_of_parser(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """The visible options of a parser."""
    actions = parser._get_optional_actions()  # noqa: SLF001 - argparse has no public list
    return [option_of(action) for action in actions if action.help != argparse.SUPPRESS]


def option_of(action: argparse.Action) -> tuple[str, str]:
    """One option of argparse: how it is written, and its help with a capital and a full stop."""
    value = (
        "" if action.nargs == 0 else action.metavar or "{" + ",".join(map(str, action.choices or ())) + "}"
    )
    text = action.help or ""
    return f"{', '.join(action.option_strings)} {value}".strip(), f"{text[:1].upper()}{text[1:].rstrip('.')}."


# --- tygerd.toml -----------------------------------------------------------------------------------------


def config_page() -> list[str]:
    """tygerd.toml(5), from the configuration's own help texts."""
    page = heading("tygerd.toml", 5, "configuration of tygerd")
    page += [
        ".SH DESCRIPTION",
        ".PP",
        "TOML. It is read once, when the daemon starts; with a mistake in it the daemon",
    ]
    page += ["does not start, and says which line is wrong. Every key has a default, so has the whole file."]
    table = None
    for option in config.describe():
        if option.table != table:
            table = option.table
            title = f"[[{table}]]" if option.repeated else f"[{table}]"
            page.append(f".SH {escape(title)}")
        page += [".TP", f"\\fB{escape(option.name)}\\fR = {escape(option.notation)}", escape(option.help)]
        if option.required:
            page.append("Required.")
        elif option.default is not None:
            page.append(escape(f"Default: {option.default}."))
    return [*page, ".SH FILES", *terms(FILES), ".SH SEE ALSO", "tygerd(8)"]


# --- all -------------------------------------------------------------------------------------------------


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    top = click.Context(root.command, info_name="tyger")
    made = {"tyger.1": tyger_page(top), "tygerd.8": daemon_page(), "tygerd.toml.5": config_page()}
    made |= {f"tyger-{noun.info_name}.1": noun_page(noun) for noun in children_of(top)}
    made["tyger-proxy.1"] = noun_page(click.Context(proxy.command, info_name="tyger-proxy"))
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def main(arguments: list[str]) -> int:
    """Write the pages, or check them; returns the exit code."""
    wanted = pages()
    present = {path.name: path.read_text() for path in MAN.iterdir()} if MAN.exists() else {}
    if arguments == ["--check"]:
        stale = sorted(
            name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name)
        )
        if stale:
            sys.stderr.write(f"man: not what the programs say: {', '.join(stale)}; run ./just man\n")
        return 1 if stale else 0
    MAN.mkdir(exist_ok=True)
    for name in present.keys() - wanted.keys():
        (MAN / name).unlink()
    for name, text in wanted.items():
        (MAN / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
