"""Where the flags of a command line are and what their values are: pflag's grammar (contract cli.md 1.2).

It takes the place of click's own parser, which knows neither `--logs=false` nor `-f=file`. What the values
mean is for their types. Every complaint is a usage error in the contract's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from tyger.cli import gotext

Parsed = tuple[dict[str, Any], list[str], list[click.Parameter]]
"""What click's parsers return: values by name, words that belong to no parameter, parameters in order."""


class Flag(NamedTuple):
    """What a flag does: `const` is the value of one that takes none."""

    parameter: click.Parameter
    name: str
    takes_value: bool
    repeats: bool
    const: Any

    def spelt(self) -> str:
        """`-f, --file`, as complaints have it."""
        return spelt(self.parameter)


def spelt(parameter: click.Parameter) -> str:
    """A flag by all its names, the short one first."""
    return ", ".join(sorted(parameter.opts, key=len))


class Parser:
    """Collects a command's parameters, then takes a command line apart once.

    With `behind`, a key of `context.meta`, what stands behind `--` is left there (None where there was no
    `--`); without, it is more words.
    """

    def __init__(self, context: click.Context, *, behind: str | None = None) -> None:
        self._opt_prefixes = {"-", "--"}  # click asks each parser for this name
        self._context = context
        self._behind = behind
        self._flags: dict[str, Flag] = {}
        self._arguments: list[tuple[click.Parameter, str, int]] = []

    def add_option(
        self,
        obj: click.Parameter,
        opts: Sequence[str],
        dest: str,
        action: str = "store",
        nargs: int = 1,
        const: Any = None,
    ) -> None:
        """Called by click for each option."""
        assert nargs == 1  # noqa: S101 - no flag of ours, nor of the original's, takes two values
        takes_value = action in ("store", "append")
        flag = Flag(obj, dest, takes_value, action == "append", const)
        self._flags.update(dict.fromkeys(opts, flag))

    def add_argument(self, obj: click.Parameter, dest: str, nargs: int = 1) -> None:
        """Called by click for each argument: one that takes a word, or all (`nargs` of -1)."""
        self._arguments.append((obj, dest, nargs))

    def flag(self, name: str) -> Flag | None:
        """The flag of that name, dashes included."""
        return self._flags.get(name)

    def parse_args(self, args: list[str]) -> Parsed:
        """Take `args` apart.

        Raises:
            UsageError: a flag is unknown, lacks its value, or has one that it cannot have.
        """
        values: dict[str, Any] = {}
        order: list[click.Parameter] = []
        words: list[str] = []
        if self._behind is not None:
            self._context.meta[self._behind] = None
        try:
            self._walk(args, values, order, words)
        except click.UsageError:
            if not self._context.resilient_parsing:
                raise
        for index, (parameter, name, count) in enumerate(self._arguments):
            left = len(words) - (len(self._arguments) - index - 1)  # each of the others may want one
            mine, words = (words[:1], words[1:]) if count == 1 else (words[:left], words[left:])
            if mine:
                values[name] = mine[0] if count == 1 else tuple(mine)
                order.append(parameter)
        return values, words, order

    def _walk(
        self, args: list[str], values: dict[str, Any], order: list[click.Parameter], words: list[str]
    ) -> None:
        place = 0
        while place < len(args):
            word = args[place]
            place += 1
            if word == "--":
                if self._behind is not None:
                    self._context.meta[self._behind] = args[place:]
                else:
                    words += args[place:]
                return
            if len(word) < 2 or not word.startswith("-"):
                words.append(word)
                continue
            following = args[place] if place < len(args) else None
            if word.startswith("--"):
                taken = self._long(word, following, values, order)
            else:
                taken = self._short(word, following, values, order)
            place += taken

    def _long(
        self, word: str, following: str | None, values: dict[str, Any], order: list[click.Parameter]
    ) -> bool:
        """One `--flag`, `--flag=value` or `--flag value`; whether `following` was its value."""
        name, equals, value = word.partition("=")
        if word[2] in "-=":
            raise click.UsageError(f"bad flag syntax: {word}", self._context)
        flag = self._flags.get(name)
        if flag is None:
            raise click.UsageError(f"unknown flag: {name}{self._near(name)}", self._context)
        if equals:
            _store(flag, value, values, self._context)
        elif not flag.takes_value:
            _store(flag, None, values, self._context)
        elif following is None:
            raise click.UsageError(f"flag needs an argument: {name}", self._context)
        else:
            _store(flag, following, values, self._context)
        order.append(flag.parameter)
        return not equals and flag.takes_value

    def _short(
        self, word: str, following: str | None, values: dict[str, Any], order: list[click.Parameter]
    ) -> bool:
        """Flags of one letter, the last perhaps with a value: `-wf value`, `-wfvalue`, `-f=value`."""
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            flag = self._flags.get("-" + letter)
            if flag is None:
                meant = "-" + word.partition("=")[0]  # one dash is a slip that is easily made
                hint = f" (did you mean {meant}?)" if meant in self._flags else ""
                raise click.UsageError(f"unknown shorthand flag: '{letter}' in {word}{hint}", self._context)
            order.append(flag.parameter)
            if len(letters) > 1 and letters[0] == "=":
                _store(flag, letters[1:], values, self._context)
                return False
            if not flag.takes_value:
                _store(flag, None, values, self._context)
                continue
            if letters:
                _store(flag, letters, values, self._context)
                return False
            if following is None:
                raise click.UsageError(f"flag needs an argument: '{letter}' in {word}", self._context)
            _store(flag, following, values, self._context)
            return True
        return False

    def _near(self, name: str) -> str:
        import difflib

        long = [each for each in self._flags if each.startswith("--")]
        near = difflib.get_close_matches(name, long, n=1, cutoff=0.75)  # `--` itself is alike in all
        return f" (did you mean {near[0]}?)" if near else ""


def _store(flag: Flag, text: str | None, values: dict[str, Any], context: click.Context) -> None:
    value: Any = text
    if not flag.takes_value:
        value = flag.const
        if text is not None:
            try:
                value = flag.const if gotext.truth(text) else not flag.const
            except ValueError as error:
                raise click.UsageError(
                    f"invalid argument {gotext.quote(text)} for {gotext.quote(flag.spelt())} flag: {error}",
                    context,
                ) from None
    if flag.repeats:
        values.setdefault(flag.name, []).append(value)
    else:
        values[flag.name] = value
