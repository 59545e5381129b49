"""What `read` and `write` take for a buffer: an ID, an access URL, or a small file with one (buffers.md 2.1).

A URL of the daemon that we talk to stands for its ID; any other is handed to that daemon, which reads and
writes there. A URL is a key, so no message shows one.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from tyger import access, errors, paths
from tyger.cli import session

SCHEMES = ("http", "https", "http+unix")


def resolve(text: str, where: paths.Paths, *, has_ttl: bool) -> access.Access:
    """The buffer that `text` means. `has_ttl`: --access-ttl was given, which asks for an ID.

    Raises:
        Problem: INVALID_INPUT.
        Fatal: --access-ttl was given with a URL.
    """
    file = None
    url = text if access.is_url(text) else None
    if url is None and (content := access.url_in(text)) is not None:
        file, url = text, content
    if url is None:
        return access.Access(buffer=_id(text))
    if has_ttl:
        nothing_more = errors.Problem(errors.USAGE, "")
        raise session.Fatal("access-ttl is only supported when a buffer ID is specified", nothing_more)
    _check(url)
    if ours := _id_in(url, where):
        return access.Access(buffer=ours)
    return access.Access(url=url, file=file)


def _id(text: str) -> str:
    if "sig=" in text:  # most of a URL: its signature must not be shown
        raise errors.Problem(errors.INVALID_INPUT, f"invalid buffer ID '{text.partition('?')[0]}?...'")
    return session.segment(text, "buffer ID")


def _check(url: str) -> None:
    """Refuse what no daemon could reach. Raises Problem."""
    if not access.is_url(url) or any(character <= " " or character == "\x7f" for character in url):
        raise errors.Problem(
            errors.INVALID_INPUT,
            "the buffer access string is invalid. It must be a URL or the path of a file whose contents is a"
            " URL",
        )
    try:
        parts = urlsplit(url)
        place = parts.path.partition(":")[0] if parts.scheme == "http+unix" else parts.hostname
    except ValueError as error:
        raise errors.Problem(errors.INVALID_INPUT, f"the access URL is invalid: {error}") from None
    if parts.scheme not in SCHEMES:
        raise errors.Problem(
            errors.INVALID_INPUT, f"the access URL begins with {parts.scheme}:, not with one of {_schemes()}"
        )
    if not place or not access.Access(url=url).name:
        raise errors.Problem(errors.INVALID_INPUT, "the access URL names no server or no buffer")


def _id_in(url: str, where: paths.Paths) -> str | None:
    """The ID in a URL of the daemon that we talk to; None when it is another's."""
    parts = urlsplit(url)
    socket_path, _, path = parts.path.partition(":")
    if parts.scheme != "http+unix" or os.path.realpath(socket_path) != os.path.realpath(where.socket):
        return None
    _, kind, name = [*path.split("/", 2), "", ""][:3]
    return name if kind in ("containers", "relays") and name and "/" not in name else None


def _schemes() -> str:
    return ", ".join(f"{scheme}:" for scheme in SCHEMES)
