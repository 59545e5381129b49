"""The login state file: what `tyger login` chose, in the form that the original's can share (cli.md 3.3).

YAML of one level. Files as the programs write them are read here, without PyYAML, because every command looks
at this one; any other shape is left to PyYAML. Nothing is locked: a file is replaced as a whole, and the last
one wins. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping

from tyger import errors

Value = str | int | bool

KEYS = (
    "audience",
    "authority",
    "certPath",
    "certThumbprint",
    "clientAppUri",
    "clientId",
    "dataPlaneProxy",
    "fullCache",
    "github",
    "lastToken",
    "lastTokenExpiration",
    "managedIdentity",
    "managedIdentityClientId",
    "principal",
    "proxy",
    "serverUrl",
    "targetFederatedIdentity",
    "tlsCaCertificates",
)
"""What the contract knows; everything else is another program's."""

LARGEST = 1024 * 1024
"""Bytes: token caches and certificates are far smaller."""

_FRESH = "'tyger login' and 'tyger logout' write a new one"


def path(environ: Mapping[str, str]) -> str:
    """Where the file is: TYGER_CACHE_FILE, else in the user's cache directory."""
    if named := environ.get("TYGER_CACHE_FILE"):
        return os.path.abspath(named)
    base = environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = environ.get("HOME", "")
        base = os.path.join(home if os.path.isabs(home) else os.path.expanduser("~"), ".cache")
    return os.path.join(base, "tyger", ".tyger")


def read(file: str) -> dict[str, Value] | None:
    """The keys of the file with a scalar value, `serverUrl` always among them; None where there is no file.

    Raises:
        Problem: CONFIG, it cannot be read, or says nonsense.
    """
    try:
        with open(file, "rb") as opened:
            data = opened.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise errors.Problem(
            errors.CONFIG, f"cannot read the login file {file}: {error.strerror}; {_FRESH}"
        ) from None
    except ValueError as error:  # a null byte in the name
        raise errors.Problem(errors.CONFIG, f"cannot read the login file: {error}") from None
    try:
        values = _parse(data)
    except UnicodeDecodeError:
        raise errors.Problem(
            errors.CONFIG, f"cannot read the login file {file}: it is not UTF-8 text; {_FRESH}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise errors.Problem(errors.CONFIG, f"cannot read the login file {file}: {error}; {_FRESH}") from None
    older = values.pop("serverUri", "")
    if not values.get("serverUrl"):
        values["serverUrl"] = older
    if not isinstance(values["serverUrl"], str):
        raise errors.Problem(
            errors.CONFIG, f"cannot read the login file {file}: serverUrl is no text; {_FRESH}"
        )
    return values


def write(file: str, values: Mapping[str, Value]) -> None:
    """Replace the file: keys in alphabetical order, without those that are empty, but `serverUrl` always.

    Raises:
        Problem: CONFIG, with the system's reason; the file is as it was.
    """
    content = "".join(
        f"{name}: {_written(value)}\n"
        for name, value in sorted({"serverUrl": "", **values}.items())
        if value not in ("", 0, False) or name == "serverUrl"
    )
    identity = os.urandom(16).hex()  # `secrets` takes 7 ms to load, at each command's start
    parts = (identity[:8], identity[8:12], identity[12:16], identity[16:20], identity[20:])
    temporary = f"{file}.`{'-'.join(parts)}`"
    try:
        _refuse_special(file)
        os.makedirs(os.path.dirname(file), mode=0o775, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as opened:
                opened.write(content.encode())
                opened.flush()
                os.fsync(fd)
            os.rename(temporary, file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise errors.Problem(errors.CONFIG, f"cannot write the login file {file}: {error.strerror}") from None
    except ValueError as error:  # a null byte in the name
        raise errors.Problem(errors.CONFIG, f"cannot write the login file: {error}") from None


def _refuse_special(file: str) -> None:
    """Do not put a file in the place of a device: root could, and /dev/null is what people name for nothing.

    Raises:
        Problem: CONFIG.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mode = os.lstat(file).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            message = f"cannot write the login file {file}: it is no regular file; name another with"
            raise errors.Problem(errors.CONFIG, f"{message} TYGER_CACHE_FILE")


# --- out -------------------------------------------------------------------------------------------------

# Plain text that no reader of YAML takes for anything else.
_PLAIN = r"(?!(?:true|false|yes|no|on|off|null|y|n)$)[a-z/][a-z0-9_./+-]*"
_LINE = r"\S(.*\S)?"


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    value.encode()  # raises for what is no text, such as an argument that was not UTF-8
    if not value:
        return '""'
    if re.fullmatch(_PLAIN, value, re.IGNORECASE):
        return value
    if value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    lines = value.removesuffix("\n").split("\n")
    if all(line.isprintable() and re.fullmatch(_LINE, line) for line in lines):
        keep = "|" if value.endswith("\n") else "|-"
        return "\n  ".join([keep, *lines])
    return '"' + "".join(_escaped(character) for character in value) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\U{number:08x}"


# --- in --------------------------------------------------------------------------------------------------


def _parse(data: bytes) -> dict[str, Value]:
    """The scalars in a file. Raises ValueError for nonsense."""
    if len(data) > LARGEST:
        raise ValueError("it is longer than 1 MiB")
    text = data.decode("utf-8-sig")
    values = _simple(text)
    return _general(text) if values is None else values


_ENTRY = r"([A-Za-z_][A-Za-z0-9_]*):(?:[ \t]+(.*))?"
_SINGLE = r"'((?:[^']|'')*)'"
_DOUBLE = r'"([^"\\]*)"'
_BARE = r"[A-Za-z0-9_./\\+](?!.*(?: #|: )).*"
_WORDS: Mapping[str, Value] = {"true": True, "false": False, "null": "", "~": ""}


def _simple(text: str) -> dict[str, Value] | None:
    """A file as the programs write it; None where it has anything else in it.

    A URL that ends in a colon counts also without the quotes that YAML wants for it: people write it so.

    Raises:
        ValueError: a key stands twice.
    """
    values: dict[str, Value] = {}
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line.strip() or line.startswith("#") or line == "---":
            continue
        entry = re.fullmatch(_ENTRY, line.rstrip(" \t"))
        if entry is None:
            return None
        name, written = entry[1], entry[2] or ""
        if name in values:
            raise ValueError(f"line {at}: the key {name} stands twice")
        if written in ("|", "|-"):
            block = []
            while at < len(lines) and (lines[at].startswith("  ") or not lines[at]):
                block.append(lines[at][2:])
                at += 1
            while block and not block[-1]:
                block.pop()
            if any(each.startswith(" ") for each in block):
                return None
            values[name] = "\n".join(block) + ("\n" if written == "|" else "")
            continue
        value = _scalar(written)
        following = lines[at] if at < len(lines) else ""
        if value is None or following.startswith((" ", "\t", "-")):  # a longer value, or something inside
            return None
        values[name] = value
    return values


def _scalar(written: str) -> Value | None:
    if match := re.fullmatch(_SINGLE, written):
        return match[1].replace("''", "'")
    if match := re.fullmatch(_DOUBLE, written):
        return match[1]
    if written in _WORDS or not written:
        return _WORDS.get(written, "")
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", written):
        return int(written)
    return written if re.fullmatch(_BARE, written) else None


def _general(text: str) -> dict[str, Value]:
    """Any YAML, by PyYAML.

    Raises:
        ValueError: it is none, or no mapping.
    """
    if text.count("[") + text.count("{") > 100:
        raise ValueError("it has more brackets than any login file")  # PyYAML takes seconds to find out
    import yaml

    try:
        root = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise ValueError(f"{where}{getattr(error, 'problem', None) or 'it is not YAML'}") from None
    except (LookupError, AttributeError):  # PyYAML at a value that is not what its tag says, as `!!bool x`
        raise ValueError("a value is not of the type that it names") from None
    if root is None:
        return {}
    if not isinstance(root, dict):
        raise ValueError("it is not a mapping")  # noqa: TRY004 - the file's type is its author's
    return {
        str(name): "" if value is None else value
        for name, value in root.items()
        if value is None or isinstance(value, str | int)
    }
