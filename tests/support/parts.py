"""What a registry of transfers is made of, for tests: real stores and a real spool."""

from __future__ import annotations

import contextlib

import trio

from tygerd.identity import keys
from tygerd.stores import local, localurls, network, places, retrying
from tygerd.streams import assembly, relays, remote, transfers


def parts(
    path,
    stores: places.Places,
    *,
    sync=False,
    deadline=3600.0,
    renewal=retrying.RENEWAL_PATIENCE,
    **options,
) -> assembly.Parts:
    """The parts of a daemon whose state directory is `path`."""
    return assembly.Parts(
        places=stores,
        remotes=remote.Remotes(network.settings({}), bandwidth=None, deadline=deadline, renewal=renewal),
        state=str(path),
        sync=sync,
        **{"spool_limit": 1 << 30, "spool_floor": 0, **options},
    )


def registry(catalog, path, store: local.LocalStore, locate=None, **options) -> transfers.Transfers:
    """A registry that knows one store, where every container that is there may be used."""

    async def there(buffer: str) -> local.LocalStore:
        await store.open(buffer)
        return store

    kept = {name: options.pop(name) for name in ("sync", "deadline") if name in options}
    made = parts(path, places.Places(store), **kept)
    options.setdefault("reattach_grace", float("inf"))
    return transfers.Transfers(catalog, made, locate=locate or there, **options)


def relaying(path, **options) -> relays.Relays:
    """The ephemeral buffers of a daemon with the state `path`; its `run` is the caller's to start."""
    urls = localurls.LocalUrls(keys.load_or_create(f"{path}/keys"), "/s")
    return relays.Relays(urls, **{"reattach_grace": float("inf"), **options})


@contextlib.asynccontextmanager
async def running(registry: transfers.Transfers):
    """The registry at work, as a daemon has it."""
    async with trio.open_nursery() as nursery:
        await nursery.start(registry.run)
        yield registry
        nursery.cancel_scope.cancel()
