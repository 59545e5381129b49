"""Two stores elsewhere, on servers that fail on demand, a catalog, and a log."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.support import blobserver, remotestore
from tygerd.blocks import chain, names
from tygerd.catalog import buffers, db
from tygerd.copying import journal
from tygerd.stores import local, network, places
from tygerd.streams import remote

START = b'{"version":"0.3.0"}'
COMPLETE = b'{"status":"complete"}'
FAILED = b'{"status":"failed"}'


def fill(server, container, blocks, *, end=COMPLETE, start=START):
    """Put a buffer of these blocks there, its empty last one only where it is complete."""
    blobs = server.containers.setdefault(container, {})
    if start:
        blobs[".bufferstart"] = blobserver.Blob(start, {})
    value = chain.INITIAL
    for number, data in enumerate([*blocks, b""] if end == COMPLETE else blocks):
        value = chain.following(value, hashlib.md5(data).digest())
        blobs[names.block_name(number)] = blobserver.Blob(data, {"cumulative_hash_chain": value})
    if end:
        blobs[".bufferend"] = blobserver.Blob(end, {})


def bare(blobs):
    """What is in a container, for comparing: bytes and the chain's values."""
    return {
        name: (blob.data, {key: value for key, value in blob.meta.items() if key == "cumulative_hash_chain"})
        for name, blob in blobs.items()
    }


@pytest.fixture
def source_server():
    with blobserver.BlobServer() as made:
        made.containers.clear()
        yield made


@pytest.fixture
def target_server():
    with blobserver.BlobServer() as made:
        made.containers.clear()
        yield made


class Shop:
    """The parts of a daemon that copies buffers."""

    def __init__(self, path, source_server, target_server):
        self.catalog = db.Catalog.open(str(path / "catalog.sqlite3"))
        self.source = remotestore.RemoteStore(source_server, "first", "here")
        self.target = remotestore.RemoteStore(target_server, "second", "there")
        self.source.traits = self.source.traits._replace(endpoint="http://first/")
        self.target.traits = self.target.traits._replace(endpoint="http://second/")
        self.stores = places.Places(local.LocalStore(str(path)), [self.source, self.target])
        self.remotes = remote.Remotes(network.settings({}), bandwidth=None, deadline=60)
        self.path = str(path / "log")
        self.log = journal.Journal(self.path)

    async def add(self, buffer, tags=(), *, account="first", created_at=1):
        """A row of the catalog."""
        row = buffers.BufferRow(
            id=buffer, location="here", created_at=created_at, is_soft_deleted=False, expires_at=None,
            owner_uid=0, owner="", epoch=1, tags=dict(tags), account=account,
        )  # fmt: skip
        await self.catalog.write(lambda connection: buffers.insert(connection, row, ready=True))

    @property
    def lines(self):
        """What was logged."""
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line.split(" ", 2)[2]) for line in file]


@pytest.fixture
def shop(tmp_path, source_server, target_server):
    made = Shop(tmp_path, source_server, target_server)
    yield made
    made.log.close()
    made.catalog.close()
