"""The tables of tygerd.toml about stores: where buffers are kept, and who reaches them. Part of `config`.

Every key, its default and its help text stand here (of credentials in `identity.kinds`) and nowhere else.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from tygerd import tables
from tygerd.identity import kinds

Help = tables.Help
Seconds = tables.Seconds
Size = tables.Size
Table = tables.Table

LOCAL = "local"
"""Name and location of the embedded store: no account may take them."""


class Azure(Table, frozen=True):
    """[[store.azure]]: a storage account."""

    name: Annotated[str, Help(description="Name of the storage account.")]
    location: Annotated[
        str,
        Help(
            description="Where its buffers are, as users name it with --location. New buffers go to the"
            " accounts of one location in turn."
        ),
    ]
    credential: Annotated[kinds.Credential, Help(description="How the daemon shows who it is.")]
    endpoint: Annotated[
        str | None,
        Help(
            description="URL of its blob service. Unset: https://NAME.blob.core.windows.net. Azurite's has"
            " the account in its path: http://127.0.0.1:10000/devstoreaccount1."
        ),
    ] = None
    access_ttl: Annotated[
        Seconds,
        Help(
            description="Life of the access URLs that the daemon uses itself, 30 seconds to one hour; they"
            " are renewed ahead of their end."
        ),
    ] = Seconds(3600)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]{3,24}", self.name):
            raise ValueError(f"name must be 3 to 24 lower-case letters and digits, not {self.name!r}")
        if self.name == LOCAL or self.location.lower() == LOCAL:
            raise ValueError(f'"{LOCAL}" is the store on this host: choose another name and location')
        if not self.location.isprintable() or not self.location.strip():
            raise ValueError("location must not be empty")
        if not 30 <= self.access_ttl <= 3600:
            raise ValueError("access_ttl must be between 30 seconds and one hour")
        if not _is_endpoint(self.url):
            raise ValueError(f"endpoint must be an http or https URL without a query, not {self.endpoint!r}")
        if self.credential.takes_tokens and not self.url.startswith("https:"):
            raise ValueError("endpoint must begin with https: tokens are sent to it")

    @property
    def url(self) -> str:
        """The endpoint, without a slash at its end."""
        return (self.endpoint or f"https://{self.name}.blob.core.windows.net").rstrip("/")


def _is_endpoint(url: str) -> bool:
    if not tables.is_http_url(url):
        return False
    parts = urlsplit(url)
    return not (parts.query or parts.fragment or parts.username)


class Local(Table, frozen=True):
    """[store.local]: the store on this host, as other machines reach it."""

    listen: Annotated[
        str | None,
        Help(
            description="ADDRESS:PORT on which access URLs of its buffers are served by HTTPS, so that pods"
            " of a cluster read and write them; `:PORT` on all addresses. Only who has a signed URL gets"
            " anything, and only that buffer's data. Unset: nobody on another machine gets anything."
        ),
    ] = None
    advertise: Annotated[
        str | None,
        Help(
            description="How others reach it, such as https://scanner.example:8443. Unset: the address and"
            " port of `listen`; to be set where that is all addresses, or there is a gateway in between."
        ),
    ] = None
    certificate: Annotated[
        str | None,
        Help(
            description="PEM file of its certificate, and of those between that and its authority. It is read"
            " again when it changes. Unset: the daemon makes one for itself, and pods trust no other."
        ),
    ] = None
    key: Annotated[str | None, Help(description="PEM file of the certificate's key, without password.")] = (
        None
    )
    ca_file: Annotated[
        str | None,
        Help(
            description="PEM file of the authorities by which pods are to judge `certificate`. Unset: they"
            " trust that one certificate."
        ),
    ] = None
    connections: Annotated[
        int,
        Help(
            description="Connections that may be open, a quarter of them from one address. Where there are"
            " more, idle ones are closed, then newcomers wait.",
            ge=4,
        ),
    ] = 2048

    def __post_init__(self) -> None:
        if self.listen is None:
            if said := [name for name in self.__struct_fields__[1:-1] if getattr(self, name) is not None]:
                raise ValueError(f"{said[0]} means nothing without listen")
            return
        if not _LISTEN.fullmatch(self.listen) or self.port > 65535 or not tables.is_host(self.host):
            raise ValueError(f"listen must be ADDRESS:PORT or :PORT, not {self.listen!r}")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key come together")
        if self.ca_file is not None and self.certificate is None:
            raise ValueError("ca_file means nothing without certificate")
        if self.advertise is None and self.host in ("", "0.0.0.0", "::"):  # noqa: S104 - it is what is refused
            raise ValueError("advertise must be set: listen names no address that others could use")
        if self.advertise is not None and not (
            _is_endpoint(self.advertise)
            and self.advertise.startswith("https://")
            and urlsplit(self.advertise).path in ("", "/")
        ):
            raise ValueError(f"advertise must be https://HOST or https://HOST:PORT, not {self.advertise!r}")

    @property
    def host(self) -> str:
        """The address to listen on; empty: all."""
        return (self.listen or "").rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen on."""
        return int((self.listen or "0").rpartition(":")[2])

    def reached_at(self, port: int) -> tuple[str, str]:
        """What its URLs begin with, and the host in that, when it listens on `port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        url = (self.advertise or f"https://{host}:{port}").rstrip("/")
        return url, urlsplit(url).hostname or ""


_LISTEN = re.compile(r"(\[[0-9a-fA-F:.]+(%\w+)?\]|[^\s:/\[\]]*):[0-9]{1,5}")


class Store(Table, frozen=True):
    """[store]: how buffers are kept."""

    durability: Annotated[
        Literal["process", "power"],
        Help(
            description="What an acknowledged byte survives: `process` the death of any process, `power`"
            " also the loss of power, at the price of syncing every block."
        ),
    ] = "process"
    block_size: Annotated[
        Size,
        Help(description="Size of the blocks that a buffer is cut into, unless its writer names another."),
    ] = Size(4 * 1024 * 1024)
    flush_interval: Annotated[
        Seconds,
        Help(
            description="How long after its first byte an unfilled block is sealed, unless the writer says"
            " otherwise; 0 seals full blocks only."
        ),
    ] = Seconds(1)
    default_location: Annotated[
        str | None,
        Help(
            description="Where a buffer goes whose creator names no location. Unset: the location of the"
            " first storage account; without one this host (`local`)."
        ),
    ] = None
    local: Local = Local()
    azure: Annotated[list[Azure], Help(description="Storage accounts.")] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        if not 1 <= self.block_size <= 1024**3:
            raise ValueError("block_size must be between 1 byte and 1 GiB")
