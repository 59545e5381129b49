"""For the tests of writes to a store elsewhere: daemons over one state directory, a client and its pipe."""

import contextlib
import os

import trio

from tests.support import parts, remotestore
from tests.support.blobserver import Refusal
from tyger import model
from tygerd.catalog import db
from tygerd.osutil import fds
from tygerd.stores import local, places
from tygerd.streams import span, transfers

BUFFER = "buffer1"
ID = "0123456789abcdef0123456789abcdef"
DATA = os.urandom(100_000)
BUSY = Refusal(503, "ServerBusy")
LATER = BUSY._replace(headers=(("Retry-After", "600"),))
"""Nothing is asked again before somebody says so."""

PATIENCE = 60
"""Seconds until what should happen never will: no test is as slow as that."""


class Site:
    """A state directory, a store elsewhere, and the registry of whichever daemon is there now."""

    def __init__(self, path, server, **options):
        self.path = path
        self.server = server
        self.store = remotestore.RemoteStore(server)
        self.catalog = db.Catalog.open(str(path / "catalog.sqlite3"))
        self.options = options
        self.registry = None

    @contextlib.asynccontextmanager
    async def daemon(self, **options):
        """One daemon's life; what raises inside comes out unwrapped."""
        embedded = local.LocalStore(str(self.path))
        await embedded.start()
        made = parts.parts(self.path, places.Places(embedded, [self.store]), **options)
        failure = None

        async def locate(buffer):
            return self.store

        self.registry = transfers.Transfers(
            self.catalog, made, locate=locate, reattach_grace=float("inf"), **self.options
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(self.registry.run)
            try:
                yield self.registry
            except Exception as error:  # noqa: BLE001 - raised again, not wrapped
                failure = error
            nursery.cancel_scope.cancel()
        if failure:
            raise failure

    def spooled(self):
        return sorted(os.listdir(self.path / "spool"))

    async def until(self, condition, transfer=ID):
        """Wait until the transfer is as wanted."""
        found = None

        async def look(shown):
            nonlocal found
            if condition(shown):
                found = shown
                scope.cancel()

        with trio.fail_after(PATIENCE), trio.CancelScope() as scope:
            await self.registry.watch(transfer, look)
        assert found is not None, "it was over before"
        return found

    async def shows(self, **wanted):
        """Wait until the transfer shows these values."""
        return await self.until(lambda it: all(getattr(it, name) == value for name, value in wanted.items()))

    async def waits(self, words, transfer=ID):
        """Wait until the transfer waits for what has these words in it."""
        return await self.until(lambda it: words in (it.waiting or ""), transfer)

    async def met(self):
        """Wait until every fault of the server has met its request."""
        await trio.to_thread.run_sync(self.server.until_met)

    async def puts_away(self):
        """Wait until the registry has nothing more to do with the transfer."""
        with trio.fail_after(PATIENCE):
            while self.registry._writes:
                await trio.lowlevel.checkpoint()

    async def sweeps(self):
        """Wait until the transfer is put away; then nothing is left in the spool."""
        await self.puts_away()
        assert self.spooled() == []

    async def spools(self, producer):
        """One daemon's life, in which it takes a whole stream and sends nothing of it."""
        async with self.daemon() as registry, writing(registry, producer, paused=True) as entry:
            await write_all(entry, producer)
            await producer.heard("spooled")


class Producer:
    """A pipe and the events that its client has heard."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.events = []
        self._news = trio.Event()

    async def report(self, event):
        self.events.append(event)
        self._news.set()
        self._news = trio.Event()

    async def heard(self, name):
        with trio.fail_after(PATIENCE):
            while not any(event["event"] == name for event in self.events):
                await self._news.wait()
        return next(event for event in self.events if event["event"] == name)

    async def give(self, data):
        await trio.to_thread.run_sync(self._give, data)

    def _give(self, data):
        view = memoryview(data)
        while view:  # one who was stopped meanwhile has written a part
            view = view[os.write(self.writer, view) :]

    def end(self):
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def passed(self):
        return fds.OwnedFd(os.dup(self.reader))

    def close(self):
        self.end()
        os.close(self.reader)


def request(**options):
    return model.WriteRequest(**{"buffer": BUFFER, "id": ID, "block_size": 30_000, **options})


@contextlib.asynccontextmanager
async def attached(entry, producer):
    async with trio.open_nursery() as nursery:
        pipe = producer.passed()
        nursery.start_soon(entry.attach, pipe, producer.report)
        await producer.heard("attached")
        yield
        nursery.cancel_scope.cancel()
    pipe.close()


@contextlib.asynccontextmanager
async def writing(registry, producer, *, paused=False, **options):
    """A write that is new, and its client. `paused`: nothing is sent."""
    entry = await registry.create_write(request(**options), 1)
    if paused:
        await registry.pause(ID)
    async with attached(entry, producer):
        yield entry


async def write_all(entry, producer, data=DATA):
    """Give everything and complete it."""
    for start in range(0, len(data), 50_000):
        await producer.give(data[start : start + 50_000])
    producer.end()
    await producer.heard("eof")
    await entry.say("complete")


async def read_back(site, **wanted):
    got = bytearray()

    class Sink:
        async def send_memory(self, data):
            got.extend(data)

    _, run = await site.registry.new_read(BUFFER, span.Span(**wanted), 1)
    with trio.fail_after(PATIENCE):
        await run(Sink())
    return bytes(got)
