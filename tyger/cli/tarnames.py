"""Which names and links of an archive may be unpacked, and times as its headers have them. Pure.

An archive is hostile until shown otherwise: nothing in it may reach outside the directory that it is unpacked
into, neither by a name nor by a link, whatever else the archive holds.
"""

from __future__ import annotations

import re

INCOMPLETE = ".tyger-incomplete"
"""Stands in a directory from the beginning of its unpacking to the good end."""

PART = ".tyger-part"
"""The name of what is being unpacked, until it is whole."""

_SECONDS = re.compile(r"(-?)(\d{1,15})(?:\.(\d{1,30}))?")


class RefusedError(Exception):
    """A name or a link that must not be unpacked; the text says why."""


def parts(name: str) -> tuple[str, ...]:
    """The components of an entry's name; none for the directory itself.

    Raises:
        RefusedError: it may not be unpacked.
    """
    if name.startswith("/"):
        raise RefusedError("its name is absolute")
    found = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in found:
        raise RefusedError("its name leads out of the directory")
    if "\0" in name:
        raise RefusedError("its name has a null byte")
    if PART in found or found[:1] == (INCOMPLETE,):
        raise RefusedError("its name is one that `tyger buffer read` uses itself")
    return found


def bad_link(name: tuple[str, ...], target: str) -> str | None:
    """Why a symbolic link may not be made; None where it may.

    It may lead up first and then down, never up again: what is below may be another link, and its `..` would
    be that link's. So each link stays inside if all others do.
    """
    if target.startswith("/"):
        return "it is a link to an absolute path"
    steps = [part for part in target.split("/") if part not in ("", ".")]
    ups = next((index for index, part in enumerate(steps) if part != ".."), len(steps))
    if not target or "\0" in target:
        return "it is a link to nothing"
    if ups > len(name) - 1:
        return "it is a link that leads out of the directory"
    if ".." in steps[ups:]:
        return "it is a link that leads down and up again"
    return None


def shown(name: str) -> str:
    """A name on one line, whatever is in it."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def seconds(nanoseconds: int) -> str:
    """A time since 1970 as a decimal number of seconds, exactly."""
    whole, rest = divmod(abs(nanoseconds), 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{'-' * (nanoseconds < 0)}{whole}{fraction}"


def nanoseconds(text: str) -> int | None:
    """The inverse of `seconds`, what is finer dropped; None where it is no such number."""
    found = _SECONDS.fullmatch(text)
    if found is None:
        return None
    size = int(found[2]) * 1_000_000_000 + int((found[3] or "")[:9].ljust(9, "0"))
    return -size if found[1] else size
