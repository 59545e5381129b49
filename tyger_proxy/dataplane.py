"""The way to the local data plane through the proxy: access URLs rewritten, and read again (buffers.md 14).

Pure. A client that names a URL is anybody: only containers and relays of the one data plane that the server
announces are reached, whatever socket or path the URL says. What a signature allows is the server's to check.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from tyger import addresses, errors

_URL = re.compile(r"http\+unix://[^/?#]*(/[^:?#]*):(/[^?#]*)?(?:\?([^#]*))?", re.ASCII)
_CONTAINER = re.compile(r"containers/[a-zA-Z0-9]{3,63}", re.ASCII)
_RELAY = re.compile(r"relays/run-[0-9]+-temp-[a-zA-Z0-9_]+", re.ASCII)


class Endpoint(NamedTuple):
    """A data plane: its socket, and what its paths begin with (it ends in a slash)."""

    socket: str
    prefix: str


class Blob(NamedTuple):
    """What a request through the proxy is for: a socket and a request target there.

    `relayed`: an ephemeral buffer, whose transfers may pause for any time.
    """

    socket: str
    target: str
    relayed: bool = False


def endpoint(announced: object) -> Endpoint | None:
    """The one data plane on this machine among a server's `storageEndpoints`; None where it has none.

    Raises:
        Problem: INVALID_INPUT, it has several.
    """
    urls = [url for url in announced if isinstance(url, str)] if isinstance(announced, list) else []
    local = [match for url in urls if (match := _URL.fullmatch(url))]
    if len(local) > 1:
        raise errors.Problem(
            errors.INVALID_INPUT,
            f"the server has {len(local)} local storage endpoints, and one can be proxied",
        )
    if not local:
        return None
    prefix = local[0][2] or "/"
    return Endpoint(unquote(local[0][1]), prefix if prefix.endswith("/") else prefix + "/")


def through(uri: str, authority: str) -> str:
    """The access URL that leads through the proxy at `authority`; one of storage elsewhere stays as it is."""
    if not uri.startswith(f"{addresses.UNIX}://"):
        return uri
    relay = "&relay=true" if "relay=true" in uri.partition("?")[2].split("&") else ""
    return f"http://{authority}/dataplane?original={quote(uri, safe='')}{relay}"


def blob(original: list[str], name: str, here: Endpoint) -> Blob:
    """What `/dataplane/<name>?original=<URL>` stands for; without a name, the container.

    Raises:
        Problem: BAD_REQUEST, there is no such parameter, or it is no URL; FORBIDDEN, it leads elsewhere.
    """
    if len(original) != 1 or not original[0]:
        raise errors.Problem(errors.BAD_REQUEST, "the query parameter 'original' is missing")
    url = _URL.fullmatch(original[0])
    if url is None:
        raise errors.Problem(errors.BAD_REQUEST, "the query parameter 'original' is no access URL")
    socket, path, query = unquote(url[1]), url[2] or "/", url[3]
    inside = path.removeprefix(here.prefix) if path.startswith(here.prefix) else ""
    relayed = not name and _RELAY.fullmatch(inside) is not None
    if socket != here.socket or not (relayed or _CONTAINER.fullmatch(inside)):
        raise errors.Problem(
            errors.FORBIDDEN, "the query parameter 'original' leads to no buffer of this server"
        )
    if any(part in ("", ".", "..") for part in name.split("/")) and name:
        raise errors.Problem(errors.BAD_REQUEST, "the blob's name is malformed")
    target = f"{path}/{quote(name)}" if name else path
    return Blob(here.socket, target if query is None else f"{target}?{query}", relayed)
