"""Ids of buffers: made, and told apart (contract rest-api.md 2 and 4.10). Pure but for randomness."""

from __future__ import annotations

import base64
import re
import secrets
from typing import Literal

Kind = Literal["stored", "unstarted", "relayed"]
"""A buffer in the catalog; an ephemeral one whose run is not created yet; an ephemeral one of a run."""

_ID = re.compile(r"(?P<temporary>(run-(?P<run>\d+)-)?temp-)?(?P<id>[A-Za-z0-9_]+)", re.ASCII)


def new() -> str:
    """26 characters of `[a-z2-7]`: base32 of 16 random bytes."""
    return base64.b32encode(secrets.token_bytes(16)).decode("ascii").rstrip("=").lower()


def kind(buffer_id: str) -> Kind | None:
    """What an id stands for; None when it is none."""
    match = _ID.fullmatch(buffer_id)
    if match is None:
        return None
    if match["temporary"] is None:
        return "stored"
    return "unstarted" if match["run"] is None else "relayed"


def bare(buffer_id: str) -> str:
    """An ephemeral buffer's id without what stands before it, which is what its access is signed for.

    Raises:
        ValueError: it is none.
    """
    match = _ID.fullmatch(buffer_id)
    if match is None:
        raise ValueError("not the id of a buffer")
    return match["id"]
