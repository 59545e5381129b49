"""A daemon whose buffers are at Azurite, or at another daemon of ours, with the fault proxy between them.

with cloud.cloud(azurite) as site:
    buffer = site.streams.buffer()
    site.proxy.fault(faults.lose_reply(), "PUT", ".bufferend")
    ...
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from azure.core import exceptions
from azure.storage import blob

from tests.support import azurite as azurites
from tests.support import daemon, faultproxy, streaming
from tygerd.blocks import container as containers

BLOCK = 256 * 1024
"""Bytes of a block where a test does not say otherwise: many blocks in a stream of a few MiB."""

CONFIG = """
[transfer]
proxy = "none"
{transfer}
"""


@dataclass
class Site:
    """A daemon, and the proxy on its way to where its buffers are; the daemon knows the proxy only."""

    proxy: faultproxy.Proxy
    daemon: daemon.Daemon
    streams: streaming.Streams

    def ending(self, buffer: str) -> str:
        """What `.bufferend` says where the buffer is: `complete`, `failed`, or "" where there is none."""
        raise NotImplementedError


@dataclass
class Cloud(Site):
    """Behind the proxy is Azurite."""

    azurite: azurites.Azurite

    def url(self, buffer: str, *, writeable: bool = False) -> str:
        """An access URL of a buffer; it leads through the proxy."""
        flags = ["--write"] if writeable else []
        done = self.streams.run("buffer", "access", buffer, *flags)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def ending(self, buffer: str) -> str:
        """See `Site`."""
        marker = client(self.azurite).get_blob_client(buffer, ".bufferend")
        try:
            return str(json.loads(marker.download_blob().readall())["status"])
        except exceptions.ResourceNotFoundError:
            return ""


@dataclass
class Neighbour(Site):
    """Behind the proxy is another daemon of ours, whose buffers are known by their access URLs."""

    owner: daemon.Daemon

    def ending(self, buffer: str) -> str:
        """See `Site`."""
        there = containers.Container(f"{self.owner.state}/containers/{self.streams.name(buffer)}")
        try:
            return there.end() or ""
        finally:
            there.close()


class _NeighboursStreams(streaming.Streams):
    """Streams whose buffers are made by the other daemon."""

    owner: daemon.Daemon
    proxy: faultproxy.Proxy

    def buffer(self, *arguments: str) -> str:
        """A new buffer there: its access URL, by way of the proxy."""
        with streaming.streaming(self.owner) as theirs:
            made = theirs.run("buffer", "access", theirs.buffer(*arguments), "--write")
        assert made.returncode == 0, made.stderr.decode()
        return made.stdout.decode().strip().replace(self.owner.socket, str(self.proxy.address))


def client(azurite: azurites.Azurite) -> blob.BlobServiceClient:
    """The account itself, as its owner has it: for what no command can do to it."""
    made: blob.BlobServiceClient = blob.BlobServiceClient.from_connection_string(azurite.connection_string())
    return made


def replace(cloud: Cloud, buffer: str, name: str, data: bytes) -> None:
    """Put other bytes into a blob that is there; its metadata stay."""
    target = client(cloud.azurite).get_blob_client(buffer, name)
    metadata = target.get_blob_properties().metadata
    settings = blob.ContentSettings(content_md5=bytearray(hashlib.md5(data).digest()))
    target.upload_blob(data, overwrite=True, metadata=metadata, content_settings=settings)


def config(
    azurite: azurites.Azurite,
    port: int,
    *,
    transfer: str = "",
    more: str = "",
    **account: str,
) -> str:
    """The text of tygerd.toml; `transfer` are lines of that table, `more` is whole tables."""
    text = CONFIG.format(transfer=transfer)
    return text + azurite.config(port=port, **account) + more


@contextlib.contextmanager
def cloud(
    azurite: azurites.Azurite, *, block: int = BLOCK, transfer: str = "", more: str = "", **account: str
) -> Iterator[Cloud]:
    """A site at an Azurite that runs. `account` are keys of its table, as TOML values."""
    with faultproxy.Proxy(("127.0.0.1", azurite.port)) as proxy:
        assert not isinstance(proxy.address, str)
        text = config(azurite, proxy.address[1], transfer=transfer, more=more, **account)
        with daemon.daemon(config=text) as it, streaming.streaming(it, block=block) as streams:
            yield Cloud(proxy, it, streams, azurite)


@contextlib.contextmanager
def neighbour(*, block: int = BLOCK, transfer: str = "", more: str = "") -> Iterator[Neighbour]:
    """A site whose buffers are at another daemon of ours, by a Unix socket; that one has no faults."""
    with daemon.daemon() as owner, faultproxy.Proxy(owner.socket, listen="") as proxy:
        text = CONFIG.format(transfer=transfer) + more
        with daemon.daemon(config=text) as it, contextlib.ExitStack() as stack:
            streams = _NeighboursStreams(it, block=block)
            streams.owner, streams.proxy = owner, proxy
            stack.callback(streams.close)
            yield Neighbour(proxy, it, streams, owner)
