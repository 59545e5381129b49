"""What an export or an import is to do: from a request, and as the arguments of its run's codespec. Pure."""

from __future__ import annotations

import argparse
import urllib.parse
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from tyger import errors, model
from tygerd.stores import places

IMAGE = "tygerd"
"""Stands for the daemon itself in the codespec of a system run; no image of that name is looked for."""

TIMEOUT = 604_800
"""Seconds, a week (rest-api.md 4.11)."""

MOST_FILTERS = 200
"""As many as a list takes; SQLite has no room for a thousand."""


class Export(NamedTuple):
    """Copy the buffers of account `source` that have all of `filters` to the account at `destination`."""

    source: str
    destination: str
    filters: Mapping[str, str] = MappingProxyType({})
    hash_ids: bool = False


class Import(NamedTuple):
    """Make buffers of user `owner_uid` of the containers in `account` that the catalog does not know."""

    account: str
    owner_uid: int = 0


Order = Export | Import


def export(request: model.ExportBuffersRequest, stores: places.Places) -> Export:
    """The order that a request gives.

    Raises:
        Problem: INVALID_INPUT in the contract's words (rest-api.md 4.11), or for a destination that is not
            configured.
    """
    if not stores.remote:
        raise _refused("Exporting buffers is not supported with local storage.")
    if not request.destination_storage_endpoint:
        raise _refused("Destination storage endpoint is required.")
    if len(request.filters or {}) > MOST_FILTERS:
        raise _refused(f"no more than {MOST_FILTERS} filters may be given")
    source = request.source_storage_account_name
    if source is None:
        if len(stores.remote) > 1:
            message = (
                "A source storage account name is required when multiple storage accounts are configured."
            )
            raise _refused(message)
        source = stores.remote[0].traits.name
    known = {store.traits.name.lower(): store for store in stores}
    if (store := known.get(source.lower())) is None:
        raise _refused(f"Source storage account '{source}' not found.")
    wanted = _endpoint(request.destination_storage_endpoint)
    target = next((each for each in stores.remote if _endpoint(each.traits.endpoint) == wanted), None)
    if target is None:
        raise _refused(
            f"The destination storage endpoint '{_shown(request.destination_storage_endpoint)}' is not that"
            " of a configured storage account; add the account to [[store.azure]] in tygerd.toml and restart"
            " tygerd"
        )
    if target is store:
        raise _refused(f"The destination is the storage account '{store.traits.name}' itself.")
    return Export(store.traits.name, target.traits.name, dict(request.filters or {}), bool(request.hash_ids))


def import_(request: model.ImportBuffersRequest, stores: places.Places, owner_uid: int) -> Import:
    """As `export`."""
    if not stores.remote:
        raise _refused("Importing buffers is not supported with local storage.")
    wanted = (request.storage_account_name or "").lower()
    for store in stores.remote:
        if store.traits.name.lower() == wanted:
            return Import(store.traits.name, owner_uid)
    raise _refused(f"Storage account '{request.storage_account_name}' not found.")


def codespec(order: Order) -> model.JobCodespec:
    """The codespec of the order's run."""
    return model.JobCodespec(image=IMAGE, args=_arguments(order))


def read(codespec: model.JobCodespec) -> Order:
    """The order in a codespec that `codespec` made.

    Raises:
        Problem: INVALID_INPUT, it is none.
    """
    given = _Parser("copy").parse(codespec.args or [])
    if given.what == "import":
        return Import(given.storage_account, given.owner_uid)
    pairs = (pair.partition("=")[::2] for pair in given.filter)
    filters = {urllib.parse.unquote(key): value for key, value in pairs}
    return Export(given.source, given.destination, filters, given.hash_ids)


def _arguments(order: Order) -> list[str]:
    if isinstance(order, Import):
        return ["import", f"--storage-account={order.account}", f"--owner-uid={order.owner_uid}"]
    return [
        "export",
        f"--source-storage-account={order.source}",
        f"--destination-storage-account={order.destination}",
        *(f"--filter={urllib.parse.quote(key)}={value}" for key, value in order.filters.items()),
        *(["--hash-ids"] if order.hash_ids else []),
    ]


class _Parser(argparse.ArgumentParser):
    def parse(self, arguments: list[str]) -> argparse.Namespace:
        ways = self.add_subparsers(dest="what", required=True)
        export = ways.add_parser("export")
        export.add_argument("--source-storage-account", dest="source", required=True)
        export.add_argument("--destination-storage-account", dest="destination", required=True)
        export.add_argument("--filter", action="append", default=[])
        export.add_argument("--hash-ids", action="store_true")
        import_ = ways.add_parser("import")
        import_.add_argument("--storage-account", required=True)
        import_.add_argument("--owner-uid", type=int, default=0)
        return self.parse_args(arguments)

    def error(self, message: str) -> NoReturn:
        raise _refused(f"no order to copy buffers: {message}")


def _endpoint(text: str) -> str:
    return text.strip().rstrip("/").lower()


def _shown(endpoint: str) -> str:
    """Without a query, which might be a key."""
    return endpoint.partition("?")[0]


def _refused(message: str) -> errors.Problem:
    return errors.Problem(errors.INVALID_INPUT, message)
