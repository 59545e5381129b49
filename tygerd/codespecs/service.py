"""The codespecs service: named codespecs in versions that never change, contract rest-api.md section 5.

A version is made in one transaction with the comparison to the one before, so two writers never make the
same version.
"""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

import msgspec
import sqlalchemy as sa

from tyger import errors, model, units
from tygerd import clock
from tygerd.catalog import codespecs as queries
from tygerd.catalog import db, pages
from tygerd.codespecs import rules

_NAME = re.compile(r"[a-z0-9\-._]*")
_REFERENCE = re.compile(r"(?P<name>[a-z0-9\-._]+)(/versions/(?P<version>[0-9]+))?")
_LARGEST_VERSION = 2**31 - 1
_LONGEST_PREFIX = 49_999
"""Bytes; SQLite takes no longer pattern."""
_decoder: msgspec.json.Decoder[model.Codespec] = msgspec.json.Decoder(model.Codespec)


class Page(NamedTuple):
    """A page of a list. `last` is the name where the next one continues, None on the last page."""

    items: list[model.Codespec]
    last: str | None


class Codespecs:
    """All codespecs of this daemon. Methods raise `Problem` in the contract's words."""

    def __init__(self, catalog: db.Catalog) -> None:
        self._catalog = catalog

    async def put(self, name: str, wanted: model.Codespec, owner_uid: int) -> model.Codespec:
        """The latest version if it equals `wanted`, else the next one."""
        bare = _bare(rules.canonical(wanted))
        rules.check(bare)
        if not _NAME.fullmatch(name):
            raise errors.Problem(
                errors.INVALID_INPUT,
                "Codespec names must contain only lower case letters (a-z), numbers (0-9), dashes (-),"
                " underscores (_), and dots (.)",
            )
        if wanted.name and wanted.name != name:
            raise errors.Problem(
                errors.INVALID_INPUT,
                "If provided, the codespec name in the body must match the name in the URL.",
            )

        def apply(connection: sa.Connection) -> queries.CodespecRow:
            latest = queries.latest(connection, name)
            if latest is not None and rules.equal(_decoder.decode(latest.body), bare):
                return latest
            version = 1 if latest is None else latest.version + 1
            body = msgspec.json.encode(bare).decode()
            # Read here, so that versions are as old as they are numbered, whoever was first to ask.
            now = units.to_micros(clock.now())
            row = queries.CodespecRow(name, version, now, owner_uid, body)
            queries.insert(connection, row)
            return row

        return _shown(await self._catalog.write(apply))

    async def latest(self, name: str) -> model.Codespec:
        """The newest version; NOT_FOUND."""
        row = await self._catalog.read(queries.latest, name)
        if row is None:
            raise errors.not_found()
        return _shown(row)

    async def get(self, name: str, version: int) -> model.Codespec:
        """That version; NOT_FOUND."""
        row = None
        if 0 < version <= _LARGEST_VERSION:
            row = await self._catalog.read(queries.get, name, version)
        if row is None:
            raise errors.not_found()
        return _shown(row)

    async def page(self, *, limit: int, prefix: str | None, after: str | None) -> Page:
        """The newest version of each name, in byte order of names; `prefix` is a pattern (`queries.page`).

        Fewer than `limit` where they are huge (`pages`).
        """
        # Names have no capitals; some databases would not tell them apart in a LIKE pattern.
        if prefix is not None and prefix != prefix.lower():
            return Page([], None)
        if prefix is not None and len(prefix.encode()) > _LONGEST_PREFIX:
            raise errors.Problem(
                errors.INVALID_INPUT, f"The prefix is longer than {_LONGEST_PREFIX} characters."
            )

        async def read(count: int, place: str | None) -> list[queries.CodespecRow]:
            return await self._catalog.read(queries.page, limit=count, prefix=prefix, after=place)

        rows, more = await pages.collect(
            read, limit=limit, after=after, place=lambda row: row.name, size=lambda row: len(row.body)
        )
        return Page([_shown(row) for row in rows], rows[-1].name if more and rows else None)

    async def resolve(self, wanted: str | model.Codespec, path: str = "$.job.codespec") -> model.Codespec:
        """What a run's target names or holds: a reference (`name`, `name/versions/N`), or an inline codespec.

        A reference brings its name, version and createdAt with it; an inline codespec loses what it has of
        them. Either is validated. `path` says where the target stands in the request, for messages.
        """
        if not isinstance(wanted, str):
            return _inline(wanted, path)
        name, number = _reference(wanted, path)
        latest = await self._catalog.read(queries.latest, name)
        if latest is None:
            raise errors.Problem(errors.INVALID_INPUT, f"The codespec '{name}' was not found")
        row: queries.CodespecRow | None = latest
        if number is not None:
            row = await self._catalog.read(queries.get, name, int(number))
        if row is None:
            raise errors.Problem(
                errors.INVALID_INPUT,
                f"The version '{number}' of codespec '{name}' was not found."
                f" The latest version is '{latest.version}'.",
            )
        return _shown(row)


def check(wanted: str | model.Codespec, path: str) -> None:
    """Refuse what `resolve` refuses whatever the catalog has: what is no reference and no good codespec.

    Raises:
        Problem: INVALID_INPUT.
    """
    if isinstance(wanted, str):
        _reference(wanted, path)
    else:
        _inline(wanted, path)


def _inline(codespec: model.Codespec, path: str) -> model.Codespec:
    bare = _bare(rules.canonical(codespec, path))
    rules.check(bare)
    return bare


def _reference(text: str, path: str) -> tuple[str, str | None]:
    """The name and the version's digits, if there are any."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        shown = text if text.isprintable() else ascii(text)[1:-1]
        _refuse_reference(
            shown,
            "It should be in the form '<codespec_name>' or '<codespec_name>/versions/<version_number>'.",
            path,
        )
    name, number = match["name"], match["version"]
    if number is not None and (len(number) > 10 or int(number) > _LARGEST_VERSION):
        _refuse_reference(text, f"The version number '{number}' is not a valid integer.", path)
    return name, number


def _bare(codespec: model.Codespec) -> model.Codespec:
    return msgspec.structs.replace(codespec, name=None, version=None, created_at=None)


def _shown(row: queries.CodespecRow) -> model.Codespec:
    return msgspec.structs.replace(
        _decoder.decode(row.body),
        name=row.name,
        version=row.version,
        created_at=units.format_timestamp(units.from_micros(row.created_at)),
    )


def _refuse_reference(reference: str, why: str, path: str) -> NoReturn:
    raise errors.Problem(
        errors.INVALID_INPUT,
        f"Error deserializing input: The codespec reference '{reference}' is invalid. {why} Path: {path}",
    )
