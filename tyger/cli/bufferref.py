"""What `read` and `write` take for a buffer: an ID, an access URL, or a small file with one (buffers.md 2.1).

The bytes go through the daemon, so a URL is good only when it is one of this daemon's own.
"""

from __future__ import annotations

import os
import stat
from urllib.parse import urlsplit

from tyger import errors, paths
from tyger.cli import session

LARGEST_FILE = 2048
"""A file of this many bytes is not read: it is data, not a URL."""


def resolve(text: str, where: paths.Paths, *, has_ttl: bool) -> str:
    """The ID of the buffer that `text` means. `has_ttl`: --access-ttl was given, which asks for an ID.

    Raises:
        Problem: INVALID_INPUT.
    """
    url = text if _is_url(text) else _from_file(text)
    if url is None:
        return session.segment(text, "buffer ID")
    if has_ttl:
        raise errors.Problem(errors.USAGE, "access-ttl is only supported when a buffer ID is specified")
    return _id_in(url, where)


def _is_url(text: str) -> bool:
    head, separator, _ = text.partition(":")
    return bool(separator) and head[:1].isalpha() and all(c.isalnum() or c in "+-." for c in head)


def _from_file(path: str) -> str | None:
    """The URL in a small regular file; None where `path` is no such file."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size >= LARGEST_FILE:
            return None
        with open(path, encoding="utf-8") as file:
            text = file.read().rstrip(" \r\n")
    except (OSError, ValueError):
        return None
    if not _is_url(text):
        raise errors.Problem(
            errors.INVALID_INPUT,
            "the buffer access string is invalid. It must be a URL or the path of a file whose contents is a"
            " URL",
        )
    return text


def _id_in(url: str, where: paths.Paths) -> str:
    parts = urlsplit(url)
    socket_path, _, path = parts.path.partition(":")
    name = path.removeprefix("/containers/")
    ours = parts.scheme == "http+unix" and os.path.realpath(socket_path) == os.path.realpath(where.socket)
    if not ours or not path.startswith("/containers/") or not name or "/" in name:
        raise errors.Problem(
            errors.INVALID_INPUT,
            f"the access URL is not one of the daemon on {where.socket}; give a buffer ID, or name its daemon"
            " with --socket",
        )
    return name
