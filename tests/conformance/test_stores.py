"""Every store passes the one suite: the local one in process, the daemon's data plane by URL, and Azurite."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import trio

from tests.support import azurite, blobserver
from tests.support import daemon as daemons
from tygerd import clock, config
from tygerd.blocks import container
from tygerd.conformance import containers, remote
from tygerd.conformance import store as conformance
from tygerd.identity import keys
from tygerd.stores import access, azure, dataplane, local, localurls, network

HOUR = timedelta(hours=1)

# --- the local store, in process --------------------------------------------------------------------------


class InProcess:
    """A container's own methods in the data plane's words."""

    def __init__(self, opened: container.Container) -> None:
        self._container = opened

    def head(self, name):
        blob = self._blob(name)
        return dataplane.Found(blob.length, base64.b64encode(blob.md5).decode(), blob.meta)

    def get(self, name, take):
        blob = self._blob(name)
        with open(blob.path, "rb") as file:
            file.readinto(take(blob.length))
        return self.head(name)

    def put(self, name, body, md5, meta):
        self._require()
        fd, path = self._container.staging()
        try:
            data = body if isinstance(body, bytes) else pathlib.Path(body.path).read_bytes()
            os.write(fd, data)
            if hashlib.md5(data).digest() != md5 or (len(data) < getattr(body, "length", 0)):
                raise dataplane.Md5MismatchError
            try:
                self._container.publish(path, name, md5, dict(meta))
            except FileExistsError:
                raise dataplane.ExistsError from None
        finally:
            os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _blob(self, name):
        self._require()
        blob = self._container.blob(name)
        if blob is None:
            raise dataplane.BlobNotFoundError
        return blob

    def _require(self):
        if self._container.deleted:
            raise dataplane.ContainerNotFoundError


class LocalBench:
    """Containers of a local store."""

    def __init__(self, store: local.LocalStore) -> None:
        self._store = store
        self._made = 0

    async def new(self):
        self._made += 1
        name = f"container{self._made}"
        await self._store.create(name)
        return InProcess(await self._store.open(name))

    async def gone(self):
        plane = await self.new()
        await self._store.delete(f"container{self._made}")
        return plane


@pytest.fixture
async def local_store(tmp_path):
    store = local.LocalStore(str(tmp_path))
    await store.start()
    return store


# --- data planes behind access URLs -----------------------------------------------------------------------


@dataclass
class Hands:
    writer: dataplane.DataPlane
    reader: dataplane.DataPlane
    expired: dataplane.DataPlane
    forged: dataplane.DataPlane


class UrlBench:
    """Opens URLs, and closes what it has opened."""

    def __init__(self) -> None:
        self._opened: list[dataplane.DataPlane] = []

    def open(self, url: str) -> dataplane.DataPlane:
        plane = dataplane.DataPlane(access.locate(url))
        self._opened.append(plane)
        return plane

    def close(self) -> None:
        for plane in self._opened:
            plane.abort()


class DaemonBench(UrlBench):
    """A real daemon; its containers are made and removed through its own data plane."""

    def __init__(self, daemon: daemons.Daemon) -> None:
        super().__init__()
        self._signer = keys.load_or_create(os.path.join(daemon.state, "keys"))
        self._urls = localurls.LocalUrls(self._signer, daemon.socket)
        self._made = 0

    async def new(self):
        return (await self.hands()).writer

    async def gone(self):
        name = await self._create()
        await trio.to_thread.run_sync(self._manage, "DELETE", name, 200)
        return self.open(self._url(name))

    async def hands(self):
        name = await self._create()
        other = self._url("another").partition("?")[2]
        past = self._signer.query(name, "cr", clock.now() - timedelta(hours=2), timedelta(hours=1))
        place = self._url(name).partition("?")[0]
        return Hands(
            self.open(self._url(name)),
            self.open(self._urls.url(name, writeable=False, ttl=HOUR)),
            self.open(f"{place}?{past}"),
            self.open(f"{place}?{other}"),
        )

    def _url(self, name: str) -> str:
        return self._urls.url(name, writeable=True, ttl=HOUR)

    async def _create(self) -> str:
        self._made += 1
        name = f"container{self._made}"
        await trio.to_thread.run_sync(self._manage, "PUT", name, 201)
        return name

    def _manage(self, method: str, name: str, status: int) -> None:
        """Make or remove a container, as the control plane of another host would."""
        query = self._signer.query(name, "CD", clock.now(), timedelta(minutes=1))
        url = access.parse(self._url(name))
        opened = dataplane.exchange.Connections(url)
        with opened.request(method, f"{url.path}?{query}", {"Content-Length": "0"}) as response:
            response.finish()
            assert response.status == status
        opened.abort()


class ServerBench(UrlBench):
    """The data plane that our unit tests use passes the suite as well: else they would prove nothing."""

    def __init__(self, server: blobserver.BlobServer) -> None:
        super().__init__()
        self._server = server
        self._made = 0

    async def new(self):
        return (await self.hands()).writer

    async def gone(self):
        return self.open(self._server.url("gone"))

    async def hands(self):
        self._made += 1
        name = f"container{self._made}"
        self._server.containers[name] = {}
        return Hands(*(self.open(self._server.url(name, sig)) for sig in ("good", "reader", "old", "forged")))


@contextlib.contextmanager
def real_daemon() -> Iterator[DaemonBench]:
    with daemons.daemon() as daemon:
        made = DaemonBench(daemon)
        yield made
        made.close()


@contextlib.contextmanager
def scripted_server() -> Iterator[ServerBench]:
    with blobserver.BlobServer() as server:
        made = ServerBench(server)
        yield made
        made.close()


@contextlib.contextmanager
def storage_account() -> Iterator[remote.Bench]:
    with azurite.azurite() as server:
        (store,) = azure.stores(config.parse(server.config()), network.Network())
        made = remote.Bench(store, network.Network())
        yield made
        trio.run(made.remove)
        trio.run(store.close)


FACTORIES = {"daemon": real_daemon, "test server": scripted_server, "Azurite": storage_account}


@pytest.fixture(scope="module", params=FACTORIES)
def bench(request):
    with FACTORIES[request.param]() as made:
        yield made


# --- the suite --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", conformance.CHECKS)
async def test_a_data_plane(bench, name):
    await conformance.CHECKS[name](bench)


@pytest.mark.parametrize("name", conformance.ACCESS_CHECKS)
async def test_access_urls(bench, name):
    await conformance.ACCESS_CHECKS[name](bench)


@pytest.mark.parametrize("name", conformance.CHECKS)
async def test_the_local_store_in_process(local_store, name):
    await conformance.CHECKS[name](LocalBench(local_store))


@pytest.mark.parametrize("name", containers.CHECKS)
async def test_the_local_store_itself(local_store, name):
    await containers.CHECKS[name](local_store)


@pytest.mark.parametrize("name", containers.EMBEDDED_CHECKS)
async def test_the_local_store_as_an_embedded_one(local_store, name):
    await containers.EMBEDDED_CHECKS[name](local_store)


@pytest.fixture(scope="module")
def account():
    with storage_account() as made:
        yield made


@pytest.mark.parametrize("name", containers.CHECKS)
async def test_a_storage_account_as_a_store(account, name):
    await containers.CHECKS[name](account.store)


@pytest.mark.parametrize("name", remote.CHECKS)
async def test_a_storage_account_as_a_remote_store(account, name):
    await remote.CHECKS[name](account)
