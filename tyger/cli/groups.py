"""What our commands and groups have in common: lazy loading, aliases, persistent flags, the contract's words.

Owns how a command line is taken apart (contract cli.md 1.1 and 1.2), not what any command does. A group
imports the module of a sub-command only when that is called, completed or described.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tyger.cli import flags
from tyger.cli import parser as parser_module

if TYPE_CHECKING:
    from tyger.cli import session

CONTEXT_SETTINGS: Mapping[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Lazy(NamedTuple):
    """A sub-command that is imported when it is needed: `module` has it as `attribute`."""

    module: str
    attribute: str = "command"


def _setting(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that hands a persistent flag to the session, wherever on the line it stood."""

    def apply(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value not in (None, ()) and not context.resilient_parsing and context.obj is not None:
            target: session.Session = context.obj
            target.configure(name, value, parameter, context)
        return value

    return apply


def persistent_options(*, hidden: bool) -> list[click.Option]:
    """The flags that every command takes, before or behind its name; described once, with `tyger` itself."""
    return [
        click.Option(
            ["--log-level"],
            metavar="LEVEL",
            expose_value=False,
            hidden=hidden,
            callback=_setting("log_level"),
            help="Least level of the messages on standard error: trace, debug, info (default), warn, error.",
        ),
        click.Option(
            ["--log-format"],
            metavar="FORMAT",
            expose_value=False,
            hidden=hidden,
            callback=_setting("log_format"),
            help="Form of the messages on standard error: pretty (default on a terminal), plain (default"
            " otherwise) or json.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            callback=_setting("quiet"),
            help="On standard error only warnings and errors, and no progress.",
        ),
        click.Option(
            ["--verbose"],
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            callback=_setting("verbose"),
            help="On standard error also what helps to find a fault: --log-level debug.",
        ),
        click.Option(
            ["--errors"],
            metavar="FORM",
            expose_value=False,
            hidden=hidden,
            callback=_setting("errors"),
            help="Form in which a failure is told: text (default), or json, a last line on standard error"
            " with code, message, exitStatus and hint.",
        ),
        click.Option(
            ["--socket"],
            type=click.Path(readable=False),
            metavar="PATH",
            expose_value=False,
            hidden=hidden,
            callback=_setting("socket"),
            help="The daemon's Unix socket. Default: $TYGER_SOCKET, else where you are logged in, else"
            " $TYGER_SOCKET_PATH, else the system's socket where there is one, else the user's own.",
        ),
        click.Option(
            ["--baggage"],
            type=flags.PAIRS,
            metavar="KEY=VALUE",
            expose_value=False,
            multiple=True,
            hidden=hidden,
            callback=_setting("baggage"),
            help="Entry of the W3C baggage header sent with each request. May be repeated.",
        ),
        click.Option(
            ["--proxy"],
            metavar="URL",
            expose_value=False,
            hidden=True,
            help="Accepted for compatibility; a Unix socket is never reached through a proxy.",
        ),
    ]


def _parser(
    command: click.Command, context: click.Context, behind: str | None = None
) -> parser_module.Parser:
    made = parser_module.Parser(context, behind=behind)
    for parameter in command.get_params(context):
        parameter.add_to_parser(made, context)  # type: ignore[arg-type]  # it stands for click's own
    return made


class Command(click.Command):
    """A leaf. Positional words that no argument takes are refused with the contract's message.

    With `container_words` set, what follows `--` is not parsed; it is handed over in `context.meta` under
    `WORDS` (None where there was no `--`).
    """

    allow_extra_args = True

    WORDS = "tyger.words"

    def __init__(self, *args: Any, container_words: bool = False, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {}).update(CONTEXT_SETTINGS)
        super().__init__(*args, **kwargs)
        self.container_words = container_words
        self.params += persistent_options(hidden=True)

    def make_parser(self, ctx: click.Context) -> Any:
        """A parser of the contract's grammar."""
        return _parser(self, ctx, self.WORDS if self.container_words else None)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, then refuse what is left over."""
        super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            raise click.UsageError(f'unknown command "{ctx.args[0]}" for "{ctx.command_path}"', ctx)
        return ctx.args


class Group(click.Group):
    """A noun. Sub-commands may be lazy (`lazy`) and may have other names (`aliases`: other name to name)."""

    command_class = Command

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, Lazy] | None = None,
        aliases: Mapping[str, str] | None = None,
        visible_flags: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("context_settings", {}).update(CONTEXT_SETTINGS)
        kwargs.setdefault("no_args_is_help", False)
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})
        self.aliases = dict(aliases or {})
        self.params += persistent_options(hidden=not visible_flags)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the tables, own commands behind lazy ones."""
        return [*self.lazy, *(name for name in super().list_commands(ctx) if name not in self.lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The sub-command of that name or alias, imported now where it is lazy."""
        name = self.aliases.get(cmd_name, cmd_name)
        if name in self.lazy and name not in self.commands:
            where = self.lazy[name]
            self.add_command(getattr(importlib.import_module(where.module), where.attribute), name)
        return super().get_command(ctx, name)

    def make_parser(self, ctx: click.Context) -> Any:
        """A parser of the contract's grammar."""
        return _parser(self, ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the sub-command. Flags in front of it that are not ours are its own, as in the original."""
        own, place, rest = self._split(ctx, args)
        click.Command.parse_args(self, ctx, own if place is not None else args)
        if place is not None:
            ctx._protected_args, ctx.args = [args[place]], rest  # noqa: SLF001 - as click.Group does
        elif ctx.args:  # words behind --
            ctx._protected_args, ctx.args = ctx.args[:1], ctx.args[1:]  # noqa: SLF001
        return ctx.args

    def _split(self, ctx: click.Context, args: list[str]) -> tuple[list[str], int | None, list[str]]:
        """Our own flags, the place of the sub-command's name (None: there is none), and what is for it.

        A flag that we do not know is taken to have a value, unless that is the only name of a sub-command.
        """
        here = _parser(self, ctx)
        own: list[str] = []
        rest: list[str] = []
        doubtful: int | None = None  # the first word that may be a flag's value or our sub-command
        place = 0
        while place < len(args) and args[place] != "--":
            word = args[place]
            if len(word) < 2 or not word.startswith("-"):
                if doubtful is not None and not self._knows(word):
                    break
                return own, place, rest + args[place + 1 :]
            known = here.flag(word.partition("=")[0])
            alone = "=" in word or (len(word) > 2 and not word.startswith("--"))
            takes = not alone and (known is None or known.takes_value)
            mine = own if known is not None else rest
            mine += args[place : place + 1 + takes]
            if known is None and takes and doubtful is None and self._knows(*args[place + 1 : place + 2]):
                doubtful = place + 1
            place += 1 + takes
        if doubtful is None:
            return own, None, rest
        return [], doubtful, args[:doubtful] + args[doubtful + 1 :]

    def _knows(self, *words: str) -> bool:
        return any(word in self.lazy or word in self.commands or word in self.aliases for word in words)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The sub-command that `args` begins with, or a usage error that names what was typed."""
        found = self.get_command(ctx, args[0])
        if found is None:
            if ctx.resilient_parsing:
                return None, None, args[1:]
            raise click.UsageError(
                f'unknown command "{args[0]}" for "{ctx.command_path}"{self._near(args[0])}', ctx
            )
        return found.name, found, args[1:]

    def _near(self, typed: str) -> str:
        import difflib

        near = difflib.get_close_matches(typed, [*self.lazy, *self.commands, *self.aliases], n=1)
        return f" (did you mean {near[0]}?)" if near else ""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command; without one, say that one is needed."""
        if not ctx._protected_args and not ctx.args and not self.invoke_without_command:  # noqa: SLF001 - click has no public name for it
            raise click.UsageError("a command is required", ctx)
        return super().invoke(ctx)


def describe(text: str, *, examples: Sequence[str] = (), exit_status: str = "") -> str:
    """A command's help: its text, then examples and exit status, laid out so that click keeps the lines."""
    parts = [text.strip()]
    if examples:
        parts.append("\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples))
    if exit_status:
        parts.append(f"Exit status: {exit_status.strip()}")
    return "\n\n".join(parts)
