"""The embedded store: directories of blocks under the daemon's state.

A container is `containers/<id>`, or `spool/<id>` where the store is the spool of what goes elsewhere.
Deleting renames it into `trash/` and then unlinks, so that a crash leaves a whole container, or rubbish that
the next start removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import weakref
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import trio

from tyger import errors
from tygerd.blocks import container
from tygerd.osutil import durable
from tygerd.stores import access as access_urls
from tygerd.stores import base, localurls

T = TypeVar("T")

_ID = re.compile(r"[a-zA-Z0-9]{3,63}")


NAME = "local"
"""Name and location of the embedded store of buffers; no account may be called so."""

_OWN_LIFETIME = timedelta(hours=1)
"""Life of a URL that renews itself."""


class LocalStore:
    """Containers under `root` (the state directory), in `directory`. `urls` signs; the spool has none.

    With `sync` (durability = "power") what a method has done is on the disk when it returns.
    """

    def __init__(
        self,
        root: str,
        directory: str = "containers",
        urls: localurls.LocalUrls | None = None,
        *,
        sync: bool = False,
    ) -> None:
        self.traits = base.Traits(
            name=NAME, location=NAME, endpoint="" if urls is None else urls.endpoint, embedded=True
        )
        self._urls = urls
        self._sync = sync
        self._containers = os.path.join(root, directory)
        self._trash = os.path.join(root, "trash")
        self._open: weakref.WeakValueDictionary[str, container.Container] = weakref.WeakValueDictionary()
        self._deletions = 0
        """How many have ended."""
        self._limiter = trio.CapacityLimiter(8)

    async def start(self) -> None:
        """Make the directories and empty the trash.

        Raises:
            Problem: STORAGE_FULL or IO_ERROR.
        """
        await self._run(self._prepare)

    async def create(self, id: str) -> None:  # noqa: A002 - the contract's word
        """See `base.Store`."""
        path = self._path(id)
        await self._run(lambda: self._make(path))

    def make(self, id: str) -> None:  # noqa: A002
        """See `base.EmbeddedStore`."""
        with disk_problems():
            self._make(self._path(id))

    async def exists(self, id: str) -> bool:  # noqa: A002
        """See `base.Store`."""
        path = self._path(id)
        return id in self._open or await self._run(lambda: os.path.isdir(path))

    async def open(self, id: str) -> container.Container:  # noqa: A002
        """See `base.EmbeddedStore`."""
        while (known := self._open.get(id)) is None:
            seen = self._deletions
            if not await self.exists(id):
                raise errors.not_found()
            # One that was removed since it was seen would stand here as an empty one, for which readers wait.
            if seen == self._deletions:
                return self._open.setdefault(id, container.Container(self._path(id), sync=self._sync))
        return known

    async def delete(self, id: str) -> None:  # noqa: A002
        """See `base.Store`."""
        rubbish = await self._run(lambda: self._discard(id))
        self._deletions += 1
        # Only now: it may have been opened until then.
        if (known := self._open.pop(id, None)) is not None:
            known.deleted = True
            known.close()
            known.feed.notify()
        # What is left of it when this is cancelled is removed at the next start.
        await self._run(lambda: shutil.rmtree(rubbish, ignore_errors=True))

    async def mark_failed(self, id: str, reason: str) -> None:  # noqa: A002
        """See `base.Store`. For containers that no transfer of ours is writing."""
        with contextlib.suppress(errors.Problem):
            target = await self.open(id)
            if await self._run(lambda: target.mark_failed(reason)):
                target.feed.notify()

    async def access(self, id: str, *, writeable: bool) -> access_urls.Access:  # noqa: A002
        """See `base.Store`."""

        def sign() -> str:
            return self._sign(id, writeable=writeable, ttl=_OWN_LIFETIME)

        return access_urls.Access(access_urls.parse(sign()), sign)

    async def url(self, id: str, *, writeable: bool, ttl: timedelta, over_tcp: bool = False) -> str:  # noqa: A002
        """See `base.Store`."""
        return self._sign(id, writeable=writeable, ttl=ttl, over_tcp=over_tcp)

    def _sign(self, id: str, *, writeable: bool, ttl: timedelta, over_tcp: bool = False) -> str:  # noqa: A002
        if self._urls is None:
            raise LookupError(f"{self._containers} has no data plane")
        sign = self._urls.over_tcp if over_tcp else self._urls.url
        return sign(id, writeable=writeable, ttl=ttl)

    async def ids(self) -> list[str]:
        """See `base.EmbeddedStore`."""
        return await self._run(lambda: sorted(os.listdir(self._containers)))

    def _path(self, id: str) -> str:  # noqa: A002
        if not _ID.fullmatch(id):
            raise errors.not_found()
        return os.path.join(self._containers, id)

    def _prepare(self) -> None:
        os.makedirs(self._containers, mode=0o700, exist_ok=True)
        os.makedirs(self._trash, mode=0o700, exist_ok=True)
        for name in os.listdir(self._trash):
            shutil.rmtree(os.path.join(self._trash, name), ignore_errors=True)

    def _make(self, path: str) -> None:
        os.makedirs(path, mode=0o700, exist_ok=True)
        if self._sync:
            durable.sync_path(self._containers)

    def _discard(self, id: str) -> str:  # noqa: A002
        """Put a container into the trash; where it is there."""
        rubbish = os.path.join(self._trash, f"{id}-{secrets.token_hex(4)}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._path(id), rubbish)
            if self._sync:
                durable.sync_path(self._containers)
        return rubbish

    async def _run(self, work: Callable[[], T]) -> T:
        with disk_problems():
            return await trio.to_thread.run_sync(work, limiter=self._limiter)


@contextlib.contextmanager
def disk_problems() -> Iterator[None]:
    """Turn the system's refusals into problems that name them."""
    try:
        yield
    except OSError as error:
        kind = errors.STORAGE_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else errors.IO_ERROR
        where = f" {error.filename}" if error.filename else ""
        raise errors.Problem(kind, f"the store cannot use{where}: {error.strerror}") from error
