"""Pages of lists: continuation tokens and links to the next page (contract rest-api.md 2.3). Pure.

A token is z-base-32 of compact JSON that names the last item returned. Clients treat it as opaque; we write
it as the original does, so that either server continues the other's list.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from tyger import errors
from tygerd.http import messages

T = TypeVar("T")

NAME = "_ct"
_ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
_RFC4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_TO_RFC4648 = str.maketrans(_ALPHABET, _RFC4648)
_FROM_RFC4648 = str.maketrans(_RFC4648, _ALPHABET)

_TICKS_AT_1970 = 621_355_968_000_000_000  # 100 ns since the year 1
_TICKS_AT_10000 = 3_155_378_976_000_000_000


def token(*parts: str | int) -> str:
    """The token that stands for the last item: what parse gives back."""
    return encode(msgspec.json.encode(parts))


def parse(text: str, kind: type[T]) -> T:
    """The parts of a token, a tuple of type `kind`.

    Raises:
        Problem: INVALID_INPUT for what no `token` of this kind made.
    """
    try:
        return msgspec.json.decode(decode(text), type=kind)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        raise _invalid() from None


def after_moment(query: messages.Fields, kind: type[tuple[int, T]]) -> tuple[int, T] | None:
    """Where a list that is ordered by creation continues: microseconds and id; None at its beginning."""
    if (text := query.get(NAME)) is None:
        return None
    ticks, item_id = parse(text, kind)
    if not 0 <= ticks < _TICKS_AT_10000:
        raise _invalid()
    return (ticks - _TICKS_AT_1970) // 10, item_id


def moment_token(last: tuple[int, str | int]) -> str:
    """The token for the last item's (microseconds, id)."""
    return token(last[0] * 10 + _TICKS_AT_1970, last[1])


def page(request: messages.Request, items: Sequence[object], continuation: str | None) -> dict[str, object]:
    """The body of a page. `continuation` is the token of its last item, None on the last page.

    `nextLink` is relative: the path and all parameters of this request, with the new token.
    """
    if continuation is None:
        return {"items": items}
    pairs = [(name, value) for name, value in request.query if name.lower() != NAME]
    query = urlencode([*pairs, (NAME, continuation)], quote_via=quote)
    return {"items": items, "nextLink": f"{quote(request.path)}?{query}"}


def encode(data: bytes) -> str:
    """z-base-32, most significant bit first, without padding."""
    return base64.b32encode(data).decode("ascii").rstrip("=").translate(_FROM_RFC4648)


def decode(text: str) -> bytes:
    """The inverse of `encode`; ValueError for what it never makes."""
    if not set(text) <= set(_ALPHABET):
        raise ValueError("a character outside the alphabet")
    padding = "=" * (-len(text) % 8)
    try:
        data = base64.b32decode(text.translate(_TO_RFC4648) + padding)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if encode(data) != text:
        raise ValueError("bits after the last byte")
    return data


def _invalid() -> errors.Problem:
    return errors.Problem(errors.INVALID_INPUT, "Invalid continuation token.")
