"""What several nouns share: tags merged or replaced under an optional ETag (cli.md 4.2), one verb on many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tyger import errors
from tyger.cli import fields, session


def update(
    invocation: session.Session,
    path: str,
    *,
    query: Sequence[tuple[str, str]] = (),
    tags: Mapping[str, str],
    clear_tags: bool,
    etag: str | None,
    expires_at: str | None,
) -> dict[str, object]:
    """Change a resource's tags, and its expiry where `expires_at` is given; returns it as it is afterwards.

    Without `clear_tags` it is read first, and the given tags are merged into its own. With `etag` it is
    changed only if it still has that one.

    Raises:
        Problem: PRECONDITION_FAILED when it does not, or the daemon's own.
    """
    merged = dict(tags)
    if not clear_tags:
        current = invocation.ask("GET", path, query=query)
        if etag is not None and current.get("eTag") != etag:
            raise errors.Problem(
                errors.PRECONDITION_FAILED, "the server's ETag does not match the provided ETag"
            )
        merged = {**session.as_object(current.get("tags") or {}), **tags}
        expires_at = expires_at or current.get("expiresAt")
    body = {"tags": merged, **({"expiresAt": expires_at} if expires_at else {})}
    headers = {"If-Match": etag} if etag is not None else {}
    return invocation.ask("PUT", path, query=query, body=body, headers=headers)


def tag_filters(tags: Mapping[str, str], exclude: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Tags as the query parameters of lists and bulk calls (rest-api.md 2.2)."""
    wanted = [(f"tag[{key}]", value) for key, value in tags.items()]
    return wanted + [(f"excludeTag[{key}]", value) for key, value in (exclude or {}).items()]


def each(
    invocation: session.Session,
    table: fields.Table,
    names: Sequence[str],
    change: Callable[[str], dict[str, Any]],
) -> None:
    """One call a name, in order; prints one object, or an array where there are several names.

    What was done before a failure is printed before the failure is raised.
    """
    changed: list[dict[str, Any]] = []
    try:
        for name in names:
            changed.append(change(name))  # noqa: PERF401 - what was done before a failure counts
    finally:
        if changed and len(names) == 1:
            invocation.console.one(table, changed[0])
        elif changed:
            invocation.console.several(table, changed)
