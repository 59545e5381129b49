"""What every store must do with blobs: checks of its data plane and of its access URLs.

A check raises AssertionError with what it found. Checks share nothing, may run in any order, and leave
behind no more than the containers that their bench makes. `CHECKS` hold for anything that keeps blobs,
`ACCESS_CHECKS` where URLs say who may do what. What a store does with containers is in `containers`, what a
remote one does besides in `remote`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import trio

from tyger import errors
from tygerd.blocks import names
from tygerd.stores import dataplane

CHAIN = {"cumulative_hash_chain": "Be2sTc2k0VLW0/rZazR8uFCREuD5k1d9OtCAk14ns4U="}

WRITERS = 8
"""How many try to create one blob at the same time."""


class Plane(Protocol):
    """The blobs of one container, as `dataplane.DataPlane` has them: blocking, from any thread."""

    def head(self, name: str) -> dataplane.Found:
        """See `DataPlane.head`."""
        ...

    def get(self, name: str, take: Callable[[int], memoryview]) -> dataplane.Found:
        """See `DataPlane.get`."""
        ...

    def put(self, name: str, body: dataplane.Body, md5: bytes, meta: Mapping[str, str]) -> None:
        """See `DataPlane.put`."""
        ...


class PlaneBench(Protocol):
    """A store to be looked at through its data plane."""

    async def new(self) -> Plane:
        """An empty container, for reading and writing."""
        ...

    async def gone(self) -> Plane:
        """A container that was there and is deleted, for reading and writing."""
        ...


class AccessBench(PlaneBench, Protocol):
    """One whose containers are opened by signed URLs. Each call gives the same container in other hands."""

    async def hands(self) -> Hands:
        """A new container with different rights to it."""
        ...


class Hands(Protocol):
    """One container, opened by different URLs."""

    writer: Plane
    reader: Plane
    expired: Plane
    forged: Plane
    """With a signature that was made for another container."""


PlaneCheck = Callable[[PlaneBench], Awaitable[None]]
AccessCheck = Callable[[AccessBench], Awaitable[None]]

CHECKS: dict[str, PlaneCheck] = {}
ACCESS_CHECKS: dict[str, AccessCheck] = {}


def _check(function: PlaneCheck) -> PlaneCheck:
    CHECKS[function.__name__] = function
    return function


def _access_check(function: AccessCheck) -> AccessCheck:
    ACCESS_CHECKS[function.__name__] = function
    return function


# --- what checks are made of ------------------------------------------------------------------------------


def expect(what: str, found: object, expected: object) -> None:
    """Compare.

    Raises:
        AssertionError: with `what` and both values, shortened.
    """
    if found != expected:
        raise AssertionError(f"{what}: {found!r:.200}, not {expected!r:.200}")


async def refused(
    what: str,
    kinds: type[Exception] | tuple[type[Exception], ...],
    operation: Callable[..., Awaitable[object]],
    *arguments: object,
) -> None:
    """The operation must raise one of these."""
    try:
        await operation(*arguments)
    except kinds:
        return
    except errors.Problem as problem:
        raise AssertionError(f"{what}: refused with other words: {problem}") from problem
    raise AssertionError(f"{what}: not refused")


async def head(plane: Plane, name: str) -> dataplane.Found:
    """A blob's headers."""
    return await trio.to_thread.run_sync(plane.head, name)


async def put(plane: Plane, name: str, data: bytes, meta: Mapping[str, str] = CHAIN) -> None:
    """Create a blob."""
    await trio.to_thread.run_sync(plane.put, name, data, _md5(data), meta)


async def put_file(plane: Plane, name: str, data: bytes, missing: int = 0) -> None:
    """Create a blob from a file, which is shorter by `missing` bytes than is said."""

    def work() -> None:
        with tempfile.NamedTemporaryFile(prefix="tyger-") as file:
            file.write(data)
            file.flush()
            plane.put(name, dataplane.File(file.name, len(data) + missing), _md5(data), CHAIN)

    await trio.to_thread.run_sync(work)


async def get(plane: Plane, name: str) -> tuple[bytes, dataplane.Found]:
    """A blob and its headers."""

    def work() -> tuple[bytes, dataplane.Found]:
        memory = bytearray()

        def take(length: int) -> memoryview:
            memory.extend(bytes(length))
            return memoryview(memory)

        found = plane.get(name, take)
        return bytes(memory), found

    return await trio.to_thread.run_sync(work)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


async def expect_blob(plane: Plane, name: str, data: bytes, meta: Mapping[str, str] = CHAIN) -> None:
    """The blob is there, with these bytes and metadata, whether one asks for all of it or for its headers."""
    found, headers = await get(plane, name)
    expect(f"the bytes of {name}", found, data)
    wanted = dataplane.Found(len(data), base64.b64encode(_md5(data)).decode(), dict(meta))
    expect(f"the headers of GET {name}", headers._replace(lease=None), wanted)
    expect(f"the headers of HEAD {name}", (await head(plane, name))._replace(lease=None), wanted)


REFUSED_OVERWRITE = (dataplane.ExistsError, dataplane.NotPermittedError)
"""What stores say of a second PUT; Azurite says it with the second."""


# --- blobs -----------------------------------------------------------------------------------------------


@_check
async def bytes_come_back(bench: PlaneBench) -> None:
    """Of a small blob and of one that is larger than any buffer on its way."""
    plane = await bench.new()
    for number, size in enumerate([1, 4096, 5 * 1024 * 1024]):
        data = os.urandom(size)
        await put(plane, names.block_name(number), data)
        await expect_blob(plane, names.block_name(number), data)


@_check
async def an_empty_blob_is_a_blob(bench: PlaneBench) -> None:
    """It ends a stream."""
    plane = await bench.new()
    await put(plane, "00/000", b"")
    await expect_blob(plane, "00/000", b"")


@_check
async def names_of_all_depths(bench: PlaneBench) -> None:
    """Blob names have slashes; one name may not be in another's way."""
    plane = await bench.new()
    every = [".bufferstart", ".bufferend", *map(names.block_name, (0, 4096, 0x3FFF, 0x10102345, 1 << 40))]
    for name in every:
        await put(plane, name, name.encode())
    for name in every:
        await expect_blob(plane, name, name.encode())


@_check
async def metadata_is_kept_as_it_is(bench: PlaneBench) -> None:
    """Names with an underscore too, on blocks and on markers."""
    plane = await bench.new()
    meta = {"cumulative_hash_chain": "+/=", "tyger_writer": "0a", "other": "a b;c=d, \"e\" %41 'f' <g>"}
    for name in ("00/000", ".bufferstart"):
        await put(plane, name, b"x", meta)
        await expect_blob(plane, name, b"x", meta)


@_check
async def a_file_is_a_body(bench: PlaneBench) -> None:
    """Blocks are sent from files."""
    plane = await bench.new()
    data = os.urandom(2_000_000)
    await put_file(plane, "00/000", data)
    await expect_blob(plane, "00/000", data)


@_check
async def a_blob_is_written_once(bench: PlaneBench) -> None:
    """Neither other bytes nor the same again replace it."""
    plane = await bench.new()
    await put(plane, "00/000", b"first")
    for data in (b"second", b"first", b""):
        await refused(f"overwriting with {data!r}", REFUSED_OVERWRITE, put, plane, "00/000", data)
    await expect_blob(plane, "00/000", b"first")


@_check
async def of_many_writers_one_wins(bench: PlaneBench) -> None:
    """Creating is atomic: bytes and metadata are one writer's, and all the others are told."""
    plane = await bench.new()
    won: list[int] = []

    async def write(number: int) -> None:
        data = bytes([number]) * 100_000
        try:
            await put(plane, "00/000", data, {"writer": str(number)})
        except REFUSED_OVERWRITE:
            return
        won.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(WRITERS):
            nursery.start_soon(write, number)
    expect("how many of the writers were told that they succeeded", len(won), 1)
    await expect_blob(plane, "00/000", bytes(won) * 100_000, {"writer": str(won[0])})


@_check
async def a_wrong_md5_leaves_nothing(bench: PlaneBench) -> None:
    """The bytes were damaged on their way; the blob can be written afterwards."""
    plane = await bench.new()
    damaged = functools.partial(plane.put, "00/000", b"damaged", _md5(b"whole"), CHAIN)
    await refused("a wrong MD5", dataplane.Md5MismatchError, trio.to_thread.run_sync, damaged)
    await refused("what had a wrong MD5", dataplane.BlobNotFoundError, head, plane, "00/000")
    await put(plane, "00/000", b"whole")
    await expect_blob(plane, "00/000", b"whole")


@_check
async def a_writer_that_breaks_off_leaves_nothing(bench: PlaneBench) -> None:
    """Its connection ends in the middle of the body; another can write the blob."""
    plane = await bench.new()
    data = os.urandom(1_000_000)
    await refused("a body that breaks off", errors.Problem, put_file, plane, "00/000", data, 1)
    await refused("what broke off", dataplane.BlobNotFoundError, head, plane, "00/000")
    await put(plane, "00/000", data)
    await expect_blob(plane, "00/000", data)


@_check
async def what_is_missing_is_said_to_be(bench: PlaneBench) -> None:
    """A reader that waits for a block must know it from a buffer that is gone."""
    for plane, kind in [
        (await bench.new(), dataplane.BlobNotFoundError),
        (await bench.gone(), dataplane.ContainerNotFoundError),
    ]:
        await refused("HEAD of nothing", kind, head, plane, "00/000")
        await refused("GET of nothing", kind, get, plane, "00/000")
    gone = await bench.gone()
    await refused("PUT into nothing", dataplane.ContainerNotFoundError, put, gone, "00/000", b"x")


# --- access URLs -----------------------------------------------------------------------------------------


@_access_check
async def a_readers_url_does_not_write(bench: AccessBench) -> None:
    """And says so otherwise than an expired one, as a new URL would not help."""
    hands = await bench.hands()
    await put(hands.writer, "00/000", b"data")
    await expect_blob(hands.reader, "00/000", b"data")
    refusal = dataplane.NotPermittedError
    await refused("writing with a reader's URL", refusal, put, hands.reader, "00/001", b"x")
    await refused("what was not written", dataplane.BlobNotFoundError, head, hands.writer, "00/001")


@_access_check
async def a_writers_url_reads(bench: AccessBench) -> None:
    """Writers verify by HEAD what they are told exists."""
    hands = await bench.hands()
    await put(hands.writer, "00/000", b"data")
    await expect_blob(hands.writer, "00/000", b"data")


@_access_check
async def an_expired_url_opens_nothing(bench: AccessBench) -> None:
    """Its holder is told so that it gets a fresh one."""
    hands = await bench.hands()
    await put(hands.writer, "00/000", b"data")
    for what, plane in [("an expired URL", hands.expired), ("another container's URL", hands.forged)]:
        await refused(f"HEAD with {what}", dataplane.ExpiredError, head, plane, "00/000")
        await refused(f"GET with {what}", dataplane.ExpiredError, get, plane, "00/000")
        await refused(f"PUT with {what}", dataplane.ExpiredError, put, plane, "00/001", b"x")


@_access_check
async def who_may_not_look_learns_nothing(bench: AccessBench) -> None:
    """The signature is checked before anything else: an expired URL can't tell what is there."""
    hands = await bench.hands()
    await refused("HEAD of a missing blob", dataplane.ExpiredError, head, hands.expired, "00/009")
