"""For the tests of writes to the local store: a daemon's parts on a directory, and a client with its pipe."""

import contextlib
import os

import trio

from tests.support import parts
from tyger import model
from tygerd.catalog import db
from tygerd.osutil import fds
from tygerd.stores import local

BUFFER = "abcdefghijklmnopqrstuvwxyz"
ID = "0123456789abcdef0123456789abcdef"


class Daemon:
    """What a daemon holds; another one on the same directory is a restart."""

    def __init__(self, path, grace=float("inf"), sync=False):
        self.catalog = db.Catalog.open(str(path / "catalog.sqlite3"))
        self.store = local.LocalStore(str(path))
        self.transfers = parts.registry(self.catalog, path, self.store, sync=sync, reattach_grace=grace)

    async def end(self):
        """The buffer's end, and its bytes, as the disk has them."""
        target = await self.store.open(BUFFER)
        data, number = b"", 0
        while (block := target.block(number)) is not None and block.path:
            data += await trio.Path(block.path).read_bytes()
            number += 1
        return target.end(), data


@contextlib.asynccontextmanager
async def running(path, **options):
    daemon = Daemon(path, **options)
    await daemon.store.start()
    await daemon.store.create(BUFFER)
    failure = None
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.transfers.run)
        try:
            yield daemon
        except Exception as error:  # noqa: BLE001 - raised again, not wrapped
            failure = error
        nursery.cancel_scope.cancel()
    target = daemon.store._open.get(BUFFER)
    if target is not None:
        target.close()
    daemon.catalog.close()
    if failure:
        raise failure


class Client:
    """A pipe, its producer, and the events that were reported."""

    def __init__(self):
        reader, self.writer = os.pipe()
        self.kept = reader
        self.events = []
        self._changed = trio.Event()

    def passed(self):
        return fds.OwnedFd(os.dup(self.kept))

    def produce(self, data):
        os.write(self.writer, data)

    def end(self):
        os.close(self.writer)
        self.writer = -1

    async def report(self, event):
        self.events.append(event)
        self._changed.set()

    async def heard(self, name):
        while not any(event["event"] == name for event in self.events):
            self._changed = trio.Event()
            await self._changed.wait()

    async def progressed(self, count):
        while not any(event.get("bytes", 0) >= count for event in self.events):
            self._changed = trio.Event()
            await self._changed.wait()

    def close(self):
        os.close(self.kept)
        if self.writer >= 0:
            self.end()


def request(**options):
    return model.WriteRequest(buffer=BUFFER, id=ID, flush_interval=0, **options)


async def attached(entry, client, scope=None):
    """One attachment from beginning to end, as the API's handler does it."""
    with client.passed() as pipe, scope or trio.CancelScope():
        await entry.attach(pipe, client.report)


@contextlib.asynccontextmanager
async def writing(path, client, *, sync=False, **options):
    """A daemon, a write that is new and whose client is attached, and the nursery of that."""
    async with running(path, sync=sync) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(**options), 1)
        nursery.start_soon(attached, entry, client)
        yield daemon, entry, nursery
