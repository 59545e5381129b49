"""How hosts are reached: through which proxy, trusting which certificates, how patient with silence.

Settings only: one frozen object, made once from the configuration and the environment and handed to all who
open connections. Nothing here touches a socket.
"""

from __future__ import annotations

import base64
import functools
import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from tyger import errors
from tygerd.stores import access

SILENCE = 30.0
"""Seconds without a sign of life after which a connection on a fast link counts as dead."""

DIRECT = "none"
"""What is said in place of a proxy's URL so that there is none, whatever the environment says."""


class Proxy(NamedTuple):
    """An HTTP proxy. `authorization` is the value of its header; it is a secret, and so is `url`."""

    host: str
    port: int
    authorization: str | None
    url: str

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        return f"{self.host}:{self.port}"


class Network(NamedTuple):
    """How hosts are reached. Without arguments: directly, trusting whom the system trusts."""

    http: Proxy | None = None
    https: Proxy | None = None
    bypass: tuple[str, ...] = ()
    """Hosts that are reached directly, as NO_PROXY writes them."""

    ca_file: str | None = None
    """PEM file of the authorities to trust in place of the system's; None: SSL_CERT_FILE or the system's."""

    pinned: str | None = None
    """PEM file of certificates to trust besides: a server's own, or those of any authority above it.

    It may be replaced at any time.
    """

    silence: float = SILENCE

    def proxy_for(self, url: access.Url) -> Proxy | None:
        """The proxy on the way to `url`. This host itself is always reached directly."""
        if url.socket is not None or _is_bypassed(url.host, url.port, self.bypass):
            return None
        return self.https if url.tls else self.http

    def trust(self) -> ssl.SSLContext:
        """The certificates that a server's is judged by. Blocking: reads files, the first time.

        Raises:
            Problem: CONFIG, `ca_file` or `pinned` cannot be used.
        """
        return _trust(self.ca_file, None if self.pinned is None else _version(self.pinned))


def settings(
    environ: Mapping[str, str],
    *,
    proxy: str | None = None,
    ca_file: str | None = None,
    pinned: str | None = None,
) -> Network:
    """The network as configured: a `proxy` wins over the environment's; NO_PROXY counts in any case.

    Raises:
        Problem: CONFIG, a proxy's URL is wrong, or `ca_file` or `pinned` cannot be used.
    """
    bypass = tuple(part for part in re.split(r"[\s,]+", _variable(environ, "no_proxy")) if part)
    if proxy == DIRECT:
        found = Network(None, None, bypass, ca_file, pinned)
    elif proxy:
        one = _proxy(proxy, "transfer.proxy")
        found = Network(one, one, bypass, ca_file, pinned)
    else:
        http, https = (_variable(environ, name) for name in ("http_proxy", "https_proxy"))
        found = Network(
            _proxy(http, "HTTP_PROXY") if http else None,
            _proxy(https, "HTTPS_PROXY") if https else None,
            bypass,
            ca_file,
            pinned,
        )
    found.trust()
    return found


def _variable(environ: Mapping[str, str], name: str) -> str:
    """An environment variable in either case; lower case wins, as for other programs."""
    return environ.get(name) or environ.get(name.upper(), "")


def _proxy(text: str, source: str) -> Proxy:
    """Take a proxy's URL apart; without a scheme it is an HTTP proxy. `text` may hold a password."""
    whole = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(whole)
        host, port = parts.hostname or "", parts.port or 80
        host.encode("idna")
    except ValueError:
        host, port = "", 0
    if not host:
        raise errors.Problem(errors.CONFIG, f"{source} is not the URL of a proxy, such as http://host:3128")
    if parts.scheme != "http":
        message = (
            f"{source} names a proxy of the kind {parts.scheme}, which is not supported; use an http:// one"
        )
        raise errors.Problem(errors.CONFIG, message)
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(host, port, authorization, whole)


def _is_bypassed(host: str, port: int, patterns: tuple[str, ...]) -> bool:
    host = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        address = None
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(host, address, port, pattern.lower()) for pattern in patterns)


def _matches(
    host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int, pattern: str
) -> bool:
    """One entry of NO_PROXY: `*`, a network, an address, or a domain and all below; perhaps with a port."""
    if pattern == "*":
        return True
    name, bracket, only = pattern.rpartition(":")
    if bracket and only.isdigit() and (":" not in name or name.startswith("[")):
        if int(only) != port:
            return False
        pattern = name
    pattern = pattern.strip("[]")
    if address is not None:
        try:
            return address in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    domain = pattern.removeprefix("*").removeprefix(".")
    return bool(domain) and (host == domain or host.endswith("." + domain))


class _Version(NamedTuple):
    """A file as it is now: another inode or another time of change is another version."""

    path: str
    inode: int
    changed: int


def _version(path: str) -> _Version:
    try:
        found = os.stat(path)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None
    return _Version(path, found.st_ino, found.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _trust(ca_file: str | None, pinned: _Version | None) -> ssl.SSLContext:
    """Made once: reading the system's certificates takes some 20 ms of a processor."""
    path = ca_file
    try:
        made = ssl.create_default_context(cafile=ca_file)
        if pinned is not None:
            path = pinned.path
            made.load_verify_locations(path)
            # A certificate that is named itself is trusted whoever has signed it.
            made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    except ssl.SSLError:
        reason = "it holds no certificate in PEM form"
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        return made
    raise _unusable(path, reason)


def _unusable(path: str | None, reason: str) -> errors.Problem:
    return errors.Problem(errors.CONFIG, f"cannot use the CA file {path}: {reason}")
