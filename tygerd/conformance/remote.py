"""What a remote store must do beyond what every store does, and a bench that makes its containers.

As in `store`, a check raises AssertionError with what it found. `Bench.remove` removes every container that
was made, whatever became of the checks.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import trio

from tyger import errors
from tygerd.blocks import container, names
from tygerd.conformance import store as suite
from tygerd.stores import access, base, dataplane, network

HOUR = timedelta(hours=1)
OVER = timedelta(seconds=-4)
"""The life of a URL that has expired before it was made; it begins a few seconds earlier."""


@dataclass(slots=True)
class Hands:
    """See `store.Hands`."""

    writer: suite.Plane
    reader: suite.Plane
    expired: suite.Plane
    forged: suite.Plane


class Bench:
    """Containers of `store`, opened by its own access URLs; see `store.AccessBench`."""

    def __init__(self, store: base.RemoteStore, settings: network.Network) -> None:
        self.store = store
        self._settings = settings
        self._made: list[str] = []
        self._planes: list[dataplane.DataPlane] = []

    async def container(self) -> str:
        """A new container's id."""
        name = "conformance" + secrets.token_hex(8)
        self._made.append(name)
        await self.store.create(name)
        return name

    async def plane(self, name: str, *, writeable: bool = True, ttl: timedelta = HOUR) -> dataplane.DataPlane:
        """The blobs of a container."""
        url = await self.store.url(name, writeable=writeable, ttl=ttl)
        return self.open(access.Access(access.parse(url)))

    def open(self, opened: access.Access) -> dataplane.DataPlane:
        """The blobs that this opens."""
        plane = dataplane.DataPlane(opened, self._settings)
        self._planes.append(plane)
        return plane

    async def new(self) -> dataplane.DataPlane:
        """See `store.PlaneBench`."""
        return await self.plane(await self.container())

    async def gone(self) -> dataplane.DataPlane:
        """See `store.PlaneBench`."""
        name = await self.container()
        await self.store.delete(name)
        return await self.plane(name)

    async def hands(self) -> Hands:
        """See `store.AccessBench`."""
        name = await self.container()
        place = (await self.store.url(name, writeable=True, ttl=HOUR)).partition("?")[0]
        other = (await self.store.url("another", writeable=True, ttl=HOUR)).partition("?")[2]
        return Hands(
            await self.plane(name),
            await self.plane(name, writeable=False),
            await self.plane(name, ttl=OVER),
            self.open(access.Access(access.parse(f"{place}?{other}"))),
        )

    async def remove(self) -> None:
        """Close and remove everything that was made; may be called again.

        Raises:
            Problem: of the first that could not be removed; all were tried.
        """
        while self._planes:
            self._planes.pop().abort()
        left, self._made = self._made, []
        first: errors.Problem | None = None
        for name in left:
            try:
                await self.store.delete(name)
            except errors.Problem as problem:
                self._made.append(name)
                first = first or problem
        if first is not None:
            raise first

    @property
    def left(self) -> list[str]:
        """Containers that were made and not yet removed."""
        return list(self._made)


Check = Callable[[Bench], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def _check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


async def _begin(bench: Bench) -> tuple[str, dataplane.DataPlane]:
    name = await bench.container()
    plane = await bench.plane(name)
    await suite.put(plane, names.START, b'{"version":"0.3.0"}', {})
    return name, plane


@_check
async def a_failed_stream_is_marked_once(bench: Bench) -> None:
    """By the daemon's own credential, and never over an end that is there."""
    failed = container.END_MARKERS["failed"]
    name, plane = await _begin(bench)
    for _ in range(2):
        await bench.store.mark_failed(name, "a reason")
    suite.expect("the end marker", (await suite.get(plane, names.END))[0], failed)
    name, plane = await _begin(bench)
    complete = container.END_MARKERS["complete"]
    await suite.put(plane, names.END, complete, {})
    await bench.store.mark_failed(name, "too late")
    await suite.expect_blob(plane, names.END, complete, {})


@_check
async def a_writers_lease_is_seen(bench: Bench) -> None:
    """A reader learns from the start marker whether its writer lives; only one writer holds the lease."""
    name, plane = await _begin(bench)

    async def state() -> str | None:
        return (await suite.head(plane, names.START)).lease

    mine, other = (bench.store.lease(name, digit * 32) for digit in "0f")
    suite.expect("the lease that nobody has taken", await state(), "available")
    await mine.acquire()
    suite.expect("the lease that was taken", await state(), "leased")
    await bench.store.lease(name, "0" * 32).acquire()
    await mine.renew()
    await _refused("a second writer's lease", errors.CONFLICT, other.acquire)
    await suite.expect_blob(plane, names.START, b'{"version":"0.3.0"}', {})
    for _ in range(2):
        await mine.release()
    suite.expect("the lease that was given back", await state(), "available")
    await other.acquire()
    await other.release()


@_check
async def a_lease_needs_a_beginning(bench: Bench) -> None:
    """Without a start marker, or a container, there is nothing to hold."""
    name = await bench.container()
    lease = bench.store.lease(name, "0" * 32)
    await _refused("the lease of what was not begun", errors.NOT_FOUND, lease.acquire)
    await bench.store.delete(name)
    await _refused("the lease of what is gone", errors.NOT_FOUND, lease.acquire)
    await lease.release()


@_check
async def access_of_our_own_renews_itself(bench: Bench) -> None:
    """A transfer reads and writes with a URL that it can replace."""
    name = await bench.container()
    opened = await bench.store.access(name, writeable=True)
    plane = bench.open(opened)
    await suite.put(plane, "00/000", b"before")
    suite.expect("it can be renewed", opened.renewable, True)
    await trio.to_thread.run_sync(opened.renew, opened.current()[0])
    await suite.put(plane, "00/001", b"after")
    await suite.expect_blob(plane, "00/000", b"before")


@_check
async def labels_stay_with_a_container(bench: Bench) -> None:
    """A container's metadata, for export and import: replaced whole, listed, and gone with it."""
    name = await bench.container()
    suite.expect("the labels of a new container", await bench.store.labels(name), {})
    await bench.store.set_labels(name, {"tyger_one": "1", "tyger_two": "2"})
    wanted = {"tyger_two": "two", "tyger_three": "a-b.c_d="}
    await bench.store.set_labels(name, wanted)
    suite.expect("labels that were replaced", await bench.store.labels(name), wanted)
    listed, place = dict[str, dict[str, str]](), None
    while True:
        page = await bench.store.containers(place)
        listed |= {one.id: one.labels for one in page.items}
        if (place := page.next) is None:
            break
    suite.expect("the container in the list of all", listed.get(name), wanted)
    await bench.store.delete(name)
    suite.expect("the labels of what is gone", await bench.store.labels(name), None)
    await _refused("labelling what is gone", errors.NOT_FOUND, lambda: bench.store.set_labels(name, wanted))


async def _refused(what: str, kind: errors.Kind, operation: Callable[[], Awaitable[object]]) -> None:
    try:
        await operation()
    except errors.Problem as problem:
        suite.expect(what, problem.kind.code, kind.code)
        return
    raise AssertionError(f"{what}: not refused")
