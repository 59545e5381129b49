"""How a command says that it failed: a line for people, or with `--errors json` one for programs.

The JSON line is the last one on standard error, whatever failed: the command line, the daemon, the way to it,
a stream, a signal. Members: `code`, `message`, `exitStatus`, and `hint`, what to do next, where we know it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tyger import errors
from tyger.cli import output, session

INTERRUPTED = "Interrupted"
"""The code of an end by a signal, or by a reader of standard output that went away (141)."""

_OTHER_VERSION = "the daemon is of another version than this command; `tyger version` shows both"

HINTS: Mapping[str, str] = {
    "RunFailed": "`tyger run logs ID` shows what its program printed",
    "Usage": "`--help` behind the command's name says how it is used",
    "InvalidInput": "correct the value or the file that the message names",
    "BadRequest": "correct the value that the message names",
    "PayloadTooLarge": "send less at once",
    "UnsupportedMediaType": _OTHER_VERSION,
    "NotFound": "`tyger buffer list`, `tyger run list` and so on show what there is",
    "Unavailable": "`tyger status` says whether a daemon answers; tygerd.log in its state says why not",
    "InternalError": "report it, with the incident id where there is one; TYGER_DEBUG=1 shows more",
    "InvalidRoute": _OTHER_VERSION,
    "ApiVersionUnspecified": _OTHER_VERSION,
    "UnsupportedApiVersion": _OTHER_VERSION,
    "InvalidApiVersion": _OTHER_VERSION,
    "AmbiguousApiVersion": _OTHER_VERSION,
    "Conflict": "a buffer is written once; `tyger buffer create` makes another",
    "IOError": "see to the file, the pipe or the disk that the message names",
    "BufferFailed": "write the stream again, into another buffer; this one does not change any more",
    "Corrupt": "write the stream again; do not trust the disk or the store that holds this one",
    "InsufficientStorage": "make room on the disk that holds the daemon's state",
    "PreconditionFailed": "look at it again, and repeat the change if it is still wanted",
    "TryAgain": "try again later",
    "Protocol": "see what answers on the daemon's socket; `tyger version` shows what it says of itself",
    "Unauthorized": "log in to the server itself; tyger-proxy passes few operations on",
    "Forbidden": "ask for the right that the message names, or to be put into the socket's group",
    "AccessExpired": "get another URL with `tyger buffer access`, or give the buffer's ID",
    "Config": "correct what the message names; tygerd.toml(5) describes every setting",
}
"""What to do next, by the code of a kind of failure."""


class Failure(NamedTuple):
    """One failure of a command; `hint` may be empty."""

    code: str
    message: str
    exit_status: int
    hint: str = ""

    def line(self) -> str:
        """The line for programs, without its end."""
        said: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "exitStatus": self.exit_status,
        }
        if self.hint:
            said["hint"] = self.hint
        # ASCII, because a message may hold bytes of a file's name that are no text.
        return json.dumps(said, separators=(",", ":"))


def asked_for(argv: Sequence[str]) -> bool:
    """Whether `--errors json` stands on a command line that may be too wrong to be parsed."""
    words = list(argv[: argv.index("--")] if "--" in argv else argv)
    wanted = False
    for word, following in zip(words, [*words, ""][1:], strict=True):
        name, equals, value = word.partition("=")
        if name == "--errors":
            wanted = (value if equals else following).lower() == "json"
    return wanted


def usage(console: output.Console, message: str, command: str) -> int:
    """A wrong command line; `command` is the one whose help explains more. Returns the exit code."""
    hint = f"Run '{command} --help' for usage."
    if console.failures_as_json:
        console.failure(Failure(errors.USAGE.code, message, errors.USAGE.exit_code, hint).line())
    else:
        console.error(message)
        console.hint(hint)
    return errors.USAGE.exit_code


def problem(console: output.Console, it: errors.Problem) -> int:
    """What the daemon, or one of our own checks, says. Returns the exit code."""
    if console.failures_as_json:
        console.failure(_of(it, it.message).line())
    else:
        console.error(text(it))
    return it.exit_code


def fatal(console: output.Console, it: session.Fatal) -> int:
    """The end of a transfer or a run that failed. Returns the exit code."""
    why = text(it.cause)
    if console.failures_as_json:
        console.failure(_of(it.cause, f"{it.message}: {it.cause.message}" if why else it.message).line())
    else:
        console.log("fatal", it.message, **({"error": why} if why else {}), **it.fields)
    return it.cause.exit_code


def unexpected(console: output.Console, kind: errors.Kind, message: str) -> int:
    """A failure that nobody has turned into a Problem. Returns the exit code."""
    return problem(console, errors.Problem(kind, message))


def ended(console: output.Console, code: int) -> int:
    """An end by a signal (128 + n), of which people have been told all there is to say. Returns the code."""
    if console.failures_as_json and code > 128:
        from tyger.cli import signals

        said = (
            "the reader of standard output went away"
            if code == 141
            else f"ended by {signals.name(code - 128)}"
        )
        console.failure(Failure(INTERRUPTED, said, code).line())
    return code


def text(it: errors.Problem) -> str:
    """What the daemon said carries its code, as the contract has it (cli.md 1.8)."""
    return f"{it.kind.code}: {it.message}" if it.remote else it.message


def _of(it: errors.Problem, message: str) -> Failure:
    return Failure(it.kind.code, message, it.exit_code, HINTS.get(it.kind.code, ""))
