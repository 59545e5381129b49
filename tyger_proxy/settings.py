"""The proxy's options file: a login file with a port, the clients that are allowed, and a log (cli.md 9)."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from tyger import addresses, errors, paths, reach, target
from tyger.cli import loginoptions

DEFAULT_PORT = 6888

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Settings:
    """What is in force. Paths are absolute; `log_path` is empty where there is no log file."""

    address: addresses.Address
    own: paths.Paths | None
    """Set where the server is this user's own daemon, which may have to be started."""
    port: int
    networks: tuple[Network, ...]
    log_path: str
    proxy: str
    roots: str

    def text(self) -> str:
        """An options file that says the same, from whatever directory it is read."""
        return json.dumps(
            {
                "serverUrl": self.address.url,
                "port": self.port,
                "allowedClientCIDRs": [str(network) for network in self.networks],
                "logPath": self.log_path,
                "proxy": self.proxy,
                "tlsCaCertificates": self.roots,
            }
        )

    def published_roots(self) -> str:
        """The PEM text that clients get, where there is any to be had."""
        if self.roots in ("", reach.SYSTEM_ROOTS, reach.EMBEDDED_ROOTS) or reach.is_pem(self.roots):
            return self.roots if reach.is_pem(self.roots) else ""
        return reach.read_roots(self.roots)


def read(file: str, environ: Mapping[str, str], *, socket: str | None = None) -> Settings:
    """The options in a file, `-` being standard input. `socket` is what `--socket` named, for `local`.

    Raises:
        Problem: it cannot be read, says nonsense, or asks for what is not there yet.
    """
    options, directory = loginoptions.read(file)
    loginoptions.check(options, loginoptions.FIELDS)
    mine = target.own(environ, socket=socket)
    if options.server_url == addresses.LOCAL:
        address = addresses.of_socket(mine.socket)
    else:
        address = addresses.parse(options.server_url, directory)
    if not address.is_unix:
        raise target.unreachable(address)
    paths.check_socket_path(address.socket)
    if given := options.given(*loginoptions.CREDENTIALS):
        raise errors.Problem(
            errors.INVALID_INPUT,
            f"{loginoptions.FIELDS[given[0]]} cannot be used with a server on this machine, which knows the"
            " proxy by its user ID",
        )
    proxy, roots = loginoptions.transport(options, directory)
    port = DEFAULT_PORT if options.port is None else options.port
    if not 0 <= port <= 65535:
        raise errors.Problem(errors.INVALID_INPUT, f"port: {port} is none; it is a number from 0 to 65535")
    return Settings(
        address=address,
        own=mine if address.socket == mine.socket and not mine.foreign else None,
        port=port,
        networks=tuple(_network(text) for text in options.allowed_cidrs),
        log_path=_absolute(options.log_path, directory),
        proxy=proxy,
        roots=roots,
    )


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise errors.Problem(
            errors.INVALID_INPUT, f"allowedClientCIDRs: '{text}' is no network, such as 10.0.0.0/8"
        ) from None


def _absolute(path: str, directory: str) -> str:
    """An absolute path, its slash at the end kept: it says something."""
    if not path:
        return ""
    return os.path.normpath(os.path.join(directory, path)) + ("/" if path.endswith("/") else "")
