"""Server addresses: the forms that `login` and files accept, and the one that is stored (cli.md 2.1 to 2.3).

Pure: nothing here connects, and only a relative socket path needs to know a directory. What can be reached is
for others to say; this module only says what an address means, or why it means nothing. Standard library
only.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tyger import errors

LOCAL = "local"
"""In place of a URL: the installation on this machine."""

UNIX = "http+unix"

DEFAULT_CONTAINER = "tyger-local-gateway"
"""Of a `docker://` address that names none."""

_SCHEMES = {"unix": UNIX}
_SSH_OPTION = re.compile(r"option\[[^\]]+\]")


class Address(NamedTuple):
    """Where a server is. `url` is the stored form; `socket` is its path where it is on this machine."""

    scheme: str
    url: str
    socket: str = ""

    @property
    def is_unix(self) -> bool:
        """Whether it is HTTP over a Unix socket, which is all that is reached so far."""
        return self.scheme == UNIX

    @property
    def shown(self) -> str:
        """As a person reads it: a Unix socket is `unix:///path`."""
        return f"unix://{self.socket}" if self.is_unix else self.url


def of_socket(path: str) -> Address:
    """The address of the Unix socket at an absolute path. Raises `Problem` where none can name it."""
    if ":" in path or not path.isprintable():
        raise _refusal(f"no URL can name the socket {path!r}: its path has a character that cannot be in one")
    return Address(UNIX, f"{UNIX}://{quote(path)}:", path)


def parse(text: str, directory: str) -> Address:
    """The address that `text` means; `directory` is where a relative socket path begins.

    `local` is none: it stands for a search, which is its caller's.

    Raises:
        Problem: INVALID_INPUT, in the contract's words.
    """
    if not text.isprintable():
        raise _refusal("a valid absolute URL is required")
    text = text.strip()
    try:
        parts = urlsplit(text)
        port = parts.port if parts.scheme not in ("unix", UNIX, "https+unix") else None
    except ValueError:
        raise _refusal("a valid absolute URL is required") from None
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    if scheme in (UNIX, "https+unix"):
        return _unix(scheme, parts.netloc + parts.path, bool(parts.query or parts.fragment), directory)
    if scheme == "ssh":
        return _ssh(text)
    if scheme == "docker":
        if parts.query or parts.fragment:
            raise _refusal("invalid docker URL: a query or a fragment is not supported")
        return Address(scheme, f"docker://{parts.netloc or DEFAULT_CONTAINER}{parts.path.rstrip('/')}")
    if scheme in ("http", "https"):
        if not parts.hostname or port == 0:
            raise _refusal("a valid absolute URL is required")
        return Address(scheme, text.rstrip("/"))
    if not scheme or not (parts.netloc or parts.path):
        raise _refusal("a valid absolute URL is required")
    raise _refusal(
        f"unsupported URL scheme '{scheme}'; it is one of http, https, unix, http+unix, ssh and docker"
    )


def split_unix(path: str) -> tuple[str, str]:
    """What stands before and behind the first `:` of an `http+unix` URL's path: socket and HTTP path.

    Both are as they are written, escapes and all.
    """
    before, _, behind = path.partition(":")
    return before, behind


def _unix(scheme: str, path: str, extra: bool, directory: str) -> Address:
    written, behind = split_unix(path.rstrip("/"))
    try:
        socket = unquote(written, errors="strict")
    except UnicodeDecodeError:
        raise _refusal("a valid absolute URL is required") from None
    if not socket.strip("/"):
        raise _refusal(
            "a valid absolute URL is required: it names no socket, as in unix:///run/tyger/tyger.sock"
        )
    if extra or behind:
        raise _refusal("invalid Unix socket URL: nothing may stand behind the socket's path")
    if not socket.isprintable() or ":" in socket:
        raise _refusal("invalid Unix socket URL: its path has a character that cannot be in one")
    socket = os.path.normpath(os.path.join(directory, socket))
    return Address(scheme, f"{scheme}://{quote(socket)}:", socket)


def _ssh(text: str) -> Address:
    parts = urlsplit(text)
    if not parts.hostname:
        raise _refusal("invalid ssh URL: no host specified")
    if parts.password is not None:
        raise _refusal("invalid ssh URL: plain-text password is not supported")
    if parts.fragment:
        raise _refusal("invalid ssh URL: a fragment is not supported")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name not in ("configPath", "cliPath") and not _SSH_OPTION.fullmatch(name):
            raise _refusal(
                f"invalid ssh URL: unexpected query parameter: \"{name}\". Only 'configPath', 'cliPath' and"
                " 'option[<SSH_OPTION>]' are supported"
            )
    return Address("ssh", parts._replace(path=parts.path.rstrip("/")).geturl())


def _refusal(why: str) -> errors.Problem:
    return errors.Problem(errors.INVALID_INPUT, why)
