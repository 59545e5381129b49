"""All stores of this daemon, by account and by location.

A new buffer goes to an account of its location, in turn; from then on its row in the catalog says which. The
embedded store is one more location, "local". Knows stores by their traits only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from tyger import errors
from tygerd.stores import base, local


class Places:
    """The embedded store and the remote ones. Names and locations have been checked (`config`).

    `default_location` is where a buffer goes whose creator names none; None: the first remote store's
    location, or the embedded store's where there is no remote one.
    """

    def __init__(
        self,
        embedded: local.LocalStore,
        remote: Sequence[base.RemoteStore] = (),
        default_location: str | None = None,
    ) -> None:
        self.embedded = embedded
        """Where spooled and local containers are opened."""
        self.remote = tuple(remote)
        self._stores: dict[str, base.Store] = {store.traits.name: store for store in (embedded, *remote)}
        self._turns: dict[str, Iterator[base.Store]] = {}
        for location in {_key(store) for store in self}:
            mine = [store for store in self if _key(store) == location]
            self._turns[location] = itertools.cycle(mine)
        first = self.remote[0] if self.remote else embedded
        self.default_location = default_location or first.traits.location

    def __iter__(self) -> Iterator[base.Store]:
        """The embedded one, then the others as configured."""
        return iter(self._stores.values())

    def choose(self, location: str | None) -> base.Store:
        """Where a new buffer of this location goes; accounts of one location take turns.

        Raises:
            Problem: INVALID_INPUT in the contract's words (rest-api.md 4.2).
        """
        wanted = self.default_location if location is None else location
        turn = self._turns.get(wanted.lower())
        if turn is not None:
            return next(turn)
        if not self.remote:
            where = self.embedded.traits.location
            raise errors.Problem(errors.INVALID_INPUT, f"Buffer location can only be '{where}.")
        message = f"No storage accounts configured for location '{wanted}'"
        raise errors.Problem(errors.INVALID_INPUT, message)

    def named(self, account: str) -> base.Store:
        """The store of that account name.

        Raises:
            Problem: CONFIG, the configuration has it no more.
        """
        if (found := self._stores.get(account)) is not None:
            return found
        raise errors.Problem(
            errors.CONFIG,
            f"the storage account {account} is not in the configuration any more; add it to"
            " [[store.azure]] in tygerd.toml again and restart tygerd",
        )


def _key(store: base.Store) -> str:
    return store.traits.location.lower()
