"""A daemon whose storage account is Azurite, with the fault proxy between them.

with cloud.cloud(azurite) as site:
    buffer = site.streams.buffer()
    site.proxy.fault(faults.lose_reply(), "PUT", ".bufferend")
    ...
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from azure.storage import blob

from tests.support import azurite as azurites
from tests.support import daemon, faultproxy, streaming

BLOCK = 256 * 1024
"""Bytes of a block where a test does not say otherwise: many blocks in a stream of a few MiB."""

CONFIG = """
[store]
block_size = {block}
[transfer]
proxy = "none"
{transfer}
"""


@dataclass
class Cloud:
    """All parts; `azurite` is behind `proxy`, and the daemon knows the proxy only."""

    azurite: azurites.Azurite
    proxy: faultproxy.Proxy
    daemon: daemon.Daemon
    streams: streaming.Streams

    def url(self, buffer: str, *, writeable: bool = False) -> str:
        """An access URL of a buffer; it leads through the proxy."""
        flags = ["--write"] if writeable else []
        done = self.streams.run("buffer", "access", buffer, *flags)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def ask(self, method: str, url: str, name: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """One request about a blob at Azurite itself, past the proxy: status and body of the answer."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection("127.0.0.1", self.azurite.port, timeout=streaming.PATIENCE)
        try:
            target = f"{parts.path}/{name}?{parts.query}" if name else f"{parts.path}?{parts.query}"
            given = {"x-ms-version": "2021-08-06", "x-ms-blob-type": "BlockBlob"}
            given |= {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body or None, given)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def marker(self, buffer: str) -> bytes:
        """What `.bufferend` says at the store; b"" where there is none."""
        status, body = self.ask("GET", self.url(buffer), ".bufferend")
        assert status in {200, 404}, (status, body)
        return body if status == 200 else b""


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
    block: int = BLOCK,
    transfer: str = "",
    more: str = "",
    **account: str,
) -> str:
    """The text of tygerd.toml; `transfer` are lines of that table, `more` is whole tables."""
    text = CONFIG.format(block=block, transfer=transfer)
    return text + azurite.config(port=port, **account) + more


@contextlib.contextmanager
def cloud(
    azurite: azurites.Azurite, *, block: int = BLOCK, transfer: str = "", more: str = "", **account: str
) -> Iterator[Cloud]:
    """A site at an Azurite that runs. `account` are keys of its table, as TOML values."""
    with faultproxy.Proxy(("127.0.0.1", azurite.port)) as proxy:
        assert not isinstance(proxy.address, str)
        text = config(azurite, proxy.address[1], block=block, transfer=transfer, more=more, **account)
        with daemon.daemon(config=text) as it, streaming.streaming(it) as streams:
            yield Cloud(azurite, proxy, it, streams)
