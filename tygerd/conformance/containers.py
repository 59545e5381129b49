"""What every store must do with containers: checks of `stores.base.Store` and `stores.base.EmbeddedStore`.

As in `store`, a check raises AssertionError with what it found.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from tyger import errors
from tygerd.conformance import store as suite
from tygerd.stores import base

Check = Callable[[base.Store], Awaitable[None]]
EmbeddedCheck = Callable[[base.EmbeddedStore], Awaitable[None]]

CHECKS: dict[str, Check] = {}
EMBEDDED_CHECKS: dict[str, EmbeddedCheck] = {}


def _store_check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


def _embedded_check(function: EmbeddedCheck) -> EmbeddedCheck:
    EMBEDDED_CHECKS[function.__name__] = function
    return function


@_store_check
async def containers_come_and_go(store: base.Store) -> None:
    """Creating and deleting may be repeated; what is deleted is out of sight at once."""
    async with _container(store) as name:
        suite.expect("a container that was never made exists", await store.exists(name), False)
        for _ in range(2):
            await store.create(name)
        suite.expect("a container that was made exists", await store.exists(name), True)
        for _ in range(2):
            await store.delete(name)
        suite.expect("a container that was deleted exists", await store.exists(name), False)


@_store_check
async def a_container_that_is_gone_is_not_marked(store: base.Store) -> None:
    """`mark_failed` leaves alone what is gone, and makes nothing."""
    async with _container(store) as name:
        await store.mark_failed(name, "there is no such container")
        suite.expect("a container that was only marked exists", await store.exists(name), False)


@_embedded_check
async def an_open_container_is_one_object(store: base.EmbeddedStore) -> None:
    """All who open it share it; when it is deleted they are told."""
    async with _container(store) as name:
        await store.create(name)
        suite.expect("it is listed", name in await store.ids(), True)
        opened = await store.open(name)
        suite.expect("all who open it have one object", await store.open(name) is opened, True)
        await store.delete(name)
        suite.expect("it is listed", name in await store.ids(), False)
        suite.expect("who had it open is told", opened.deleted, True)
        try:
            await store.open(name)
        except errors.Problem as problem:
            suite.expect("opening what was deleted", problem.kind, errors.NOT_FOUND)
        else:
            raise AssertionError("a container that was deleted can be opened")


@_embedded_check
async def a_stream_fails_once(store: base.EmbeddedStore) -> None:
    """`mark_failed` ends what has not ended, with its reason, and wakes readers."""
    async with _container(store) as name:
        await store.create(name)
        opened = await store.open(name)
        news = opened.feed.next()
        await store.mark_failed(name, "first")
        suite.expect("its end", opened.end(), "failed")
        suite.expect("a reader that slept was woken", news.is_set(), True)
        await store.mark_failed(name, "second")
        suite.expect("its reason", opened.failure(), "first")


@contextlib.asynccontextmanager
async def _container(store: base.Store) -> AsyncIterator[str]:
    """The id of a container that does not exist, and afterwards does not exist again."""
    name = "conformance" + secrets.token_hex(8)
    try:
        yield name
    finally:
        with trio.CancelScope(shield=True):
            await store.delete(name)
