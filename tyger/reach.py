"""How a server is reached: the values that `proxy` and `tlsCaCertificates` may have (cli.md 2.4, 2.5).

A Unix socket needs neither; the values are checked and kept all the same, because one login file serves every
kind of server. Standard library only; `ssl` is loaded where certificates are read.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from tyger import errors

AUTO, NONE = "auto", "none"

SYSTEM_ROOTS, EMBEDDED_ROOTS = "os", "embedded"

LARGEST_PEM = 4 * 1024 * 1024
"""Bytes of a file of certificates: far above the system's own bundle."""

_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def proxy(text: str) -> str:
    """A proxy value in its stored form: `auto`, `none` or a URL.

    Raises:
        Problem: INVALID_INPUT, in the contract's words.
    """
    if text in ("", "automatic", AUTO):
        return AUTO
    if text == NONE:
        return NONE
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isprintable() or re.search(r"\s", url):
        raise errors.Problem(
            errors.INVALID_INPUT,
            "proxy must be 'auto', 'automatic', '' (same as 'auto/automatic'), 'none', or a valid URL",
        )
    return url


def roots(text: str, directory: str) -> str:
    """A value of `tlsCaCertificates` in its stored form: a file's path is made absolute, after a look at it.

    Raises:
        Problem: INVALID_INPUT, the file cannot be read, or there is no certificate in it.
    """
    if text in ("", SYSTEM_ROOTS, EMBEDDED_ROOTS):
        return text
    if is_pem(text):
        _check(text)
        return text
    path = os.path.join(directory, text)
    read_roots(path)
    return path


def is_pem(text: str) -> bool:
    """Whether it is the certificates themselves and not where they are."""
    return "-----BEGIN" in text


def read_roots(path: str) -> str:
    """The PEM text in a file. Raises as `roots`."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_PEM + 1)
    except OSError as error:
        raise errors.Problem(
            errors.INVALID_INPUT, f"failed to read CA certificate file: {path}: {error.strerror}"
        ) from None
    except ValueError:
        raise errors.Problem(
            errors.INVALID_INPUT, "failed to read CA certificate file: its name has a null byte"
        ) from None
    if len(data) > LARGEST_PEM:
        raise errors.Problem(
            errors.INVALID_INPUT, f"failed to read CA certificate file: {path}: it is longer than 4 MiB"
        )
    text = data.decode("ascii", "replace")
    _check(text)
    return text


def _check(pem: str) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise errors.Problem(errors.INVALID_INPUT, "invalid CA certificate data") from None
