"""One invocation of `tyger`: the flags all commands share, the console, and the way to the daemon.

The daemon is looked for, or started, when the first request is made, not before. `Session` is what click
hands to each command (`context.obj`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

import tyger
from tyger import client as client_module
from tyger import errors, target
from tyger.cli import flags, gotext, output, parser, tracedclient

if TYPE_CHECKING:
    from tyger import paths
    from tyger.cli import signals


_NOT_IN_TOKENS = frozenset(' "(),/:;<=>?@[\\]{}')


class Fatal(Exception):  # noqa: N818 - it is a way to end, not a kind of error
    """Ends the command with a log record of level fatal (cli.md 1.2), and the exit code of `cause`."""

    def __init__(self, message: str, cause: errors.Problem, **fields: str) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.fields = fields


class Exit(Exception):  # noqa: N818 - as above
    """Ends the command with this exit code, everything said already."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Session:
    """What one command needs to do its work."""

    def __init__(self, console: output.Console, environ: Mapping[str, str]) -> None:
        self.console = console
        self.environ = environ
        self.interrupts: signals.Interrupts | None = None
        self.named_socket: str | None = None
        self._paths: paths.Paths | None = None
        self._headers: dict[str, str] = {}
        self._level_is_given = False
        self._volume = ""
        self._client: client_module.Client | None = None

    def configure(self, name: str, value: Any, parameter: click.Parameter, context: click.Context) -> None:
        """Apply one persistent flag.

        Raises:
            UsageError: the value is none of those it may be.
        """
        match name:
            case "log_level":
                self.console.level = _choice(value, output.LEVELS[:-1], parameter, context)
                self._level_is_given = True
            case "quiet" | "verbose" if value:
                self._set_volume(name, context)
            case "errors":
                chosen = _choice(value, ("text", "json"), parameter, context)
                self.console.failures_as_json = chosen == "json"
            case "log_format" if value:
                self.console.format = _choice(value, output.FORMATS, parameter, context)
            case "socket":
                self.named_socket = value
            case "baggage":
                self._headers["baggage"] = _baggage(flags.merged(value))
            case _:
                pass

    def _set_volume(self, name: str, context: click.Context) -> None:
        """`--quiet` or `--verbose`; a level that is given with `--log-level` counts more."""
        if self._volume not in ("", name):
            raise click.UsageError("--quiet and --verbose exclude each other", context)
        self._volume = name
        if not self._level_is_given:
            self.console.level = "warn" if name == "quiet" else "debug"
        if name == "quiet":
            self.console.draw_nothing()

    @property
    def paths(self) -> paths.Paths:
        """Where this invocation looks for the daemon. Raises `Problem` as `target.locate`."""
        if self._paths is None:
            self._paths = target.locate(self.environ, socket=self.named_socket)
        return self._paths

    @property
    def client(self) -> client_module.Client:
        """The way to the daemon; made on first use. Starts a daemon when nobody answers."""
        if self._client is None:
            where = self.paths

            def ensure() -> None:
                from tyger import autostart

                made.socket_path = autostart.ensure(where)

            self._client = made = tracedclient.Client(self.console, where.socket, ensure=ensure)
        return self._client

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: object | None = None,
        headers: Mapping[str, str] | None = None,
        meanwhile: Callable[[], None] | None = None,
        at_once: float = client_module.AT_ONCE,
    ) -> client_module.Answer:
        """One request to the daemon, with this invocation's headers. Raises `Problem`.

        `meanwhile` is called if the answer has not come after `at_once` seconds.
        """
        everything = {**self._headers, **(headers or {})}
        _check_sayable(path, query, everything, body)
        there = self.client  # which may refuse to be anywhere
        try:
            return there.request(
                method,
                path,
                query=query,
                body=body,
                headers=everything,
                meanwhile=meanwhile,
                at_once=at_once,
            )
        except errors.Problem as problem:
            raise _connecting(problem) from None

    def stream(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), wake: int | None = None
    ) -> client_module.Stream:
        """One request whose answer is read as it comes. Raises `Problem`."""
        _check_sayable(path, query, self._headers)
        there = self.client
        try:
            return there.stream(method, path, query=query, headers=self._headers, wake=wake)
        except errors.Problem as problem:
            raise _connecting(problem) from None

    def ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """One request that is answered with a JSON object.

        Raises:
            Problem: the daemon's, or PROTOCOL when the answer is something else.
        """
        return as_object(self.request(method, path, **arguments).json())

    def warn_of_other_version(self) -> None:
        """One warning when the daemon that answered is of another version than this command."""
        said = self._client.server_version if self._client is not None else None
        if said is not None and said != tyger.__version__:
            self.console.log(
                "warn",
                "The daemon is of another version; restart it after an upgrade.",
                command=tyger.__version__,
                daemon=said,
            )


def _connecting(problem: errors.Problem) -> errors.Problem:
    """The same problem; that nobody answers is told in the contract's words."""
    if problem.kind is errors.UNAVAILABLE and problem.answer is None:
        problem.message = f"unable to connect to server: {problem.message}"
        problem.args = (problem.message,)
    return problem


def as_object(value: object) -> dict[str, Any]:
    """`value`, which must be a JSON object.

    Raises:
        Problem: PROTOCOL.
    """
    if not isinstance(value, dict):
        raise errors.Problem(errors.PROTOCOL, "unable to understand server response: not a JSON object")
    return value


def segment(text: str, what: str) -> str:
    """Text from the user that becomes one segment of a path (the client escapes it).

    Raises:
        Problem: INVALID_INPUT when it would become another path; `what` names it.
    """
    _check_text(text)
    if text in ("", ".", "..") or "/" in text:
        raise errors.Problem(errors.INVALID_INPUT, f"invalid {what} '{text}'")
    return text


def _check_sayable(
    path: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str], body: object | None = None
) -> None:
    """Refuse what cannot be said in HTTP."""
    said = "".join([path, *(part for pair in query for part in pair)])
    if body is not None:
        said += json.dumps(body, ensure_ascii=False)
    _check_text(said)
    for value in headers.values():
        if not value.isascii() or not value.isprintable():
            raise errors.Problem(errors.INVALID_INPUT, f"invalid argument {value!r}: not printable ASCII")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise errors.Problem(errors.INVALID_INPUT, "an argument is not valid UTF-8 text") from None


def _choice(value: str, choices: Sequence[str], parameter: click.Parameter, context: click.Context) -> str:
    if (chosen := value.lower()) not in choices:
        names = ", ".join(f"'{choice}'" for choice in sorted(choices))
        flag = gotext.quote(parser.spelt(parameter))
        raise click.UsageError(
            f"invalid argument {gotext.quote(value)} for {flag} flag: must be {names}", context
        )
    return chosen


def _baggage(pairs: Mapping[str, str]) -> str:
    """The header's value.

    Raises:
        Fatal: a key is none that the header can have.
    """
    for key, value in pairs.items():
        _check_text(value)
        if not key.isascii() or not key.isprintable() or not key or set(key) & _NOT_IN_TOKENS:
            why = f"{gotext.quote(key)} is not a key of letters, digits and !#$%&'*+-.^_`|~"
            raise Fatal("invalid baggage entry", errors.Problem(errors.USAGE, why))
    return ",".join(f"{key}={quote(value, safe='')}" for key, value in pairs.items())
