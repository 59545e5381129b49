"""What a request's line and headers may be, and why h11 refuses others. Pure."""

from __future__ import annotations

import re

import h11

from tyger import errors

MAX_LENGTH = 64 * 1024
"""Bytes of a request's line and headers; the longest known, a listing by 100 tags, has about 40 KiB."""

MAX_HEADERS = 1000
"""A blob's metadata are headers, else nobody sends more than ten."""


def check(head: h11.Request) -> None:
    """Refuse another version, and a head that came whole, so that h11 did not bound it, and is too long.

    Raises:
        Problem: BAD_REQUEST.
    """
    if not head.http_version.startswith(b"1."):
        raise errors.Problem(errors.BAD_REQUEST, "this is not HTTP/1.1: it is another version")
    length = len(head.method) + len(head.target) + sum(len(name) + len(value) for name, value in head.headers)
    if length > MAX_LENGTH or len(head.headers) > MAX_HEADERS:
        raise _too_long()


def refusal(error: h11.RemoteProtocolError) -> errors.Problem:
    """What to say of what h11 does not take for a request's head."""
    if error.error_status_hint == 431:
        return _too_long()
    return errors.Problem(errors.BAD_REQUEST, f"this is not HTTP/1.1: {reason(error)}")


def reason(error: h11.RemoteProtocolError) -> str:
    """Why h11 refuses; not what it was sent, which may be long and binary."""
    return re.split(r":? (?=b'|bytearray)", str(error))[0]


def _too_long() -> errors.Problem:
    return errors.Problem(
        errors.BAD_REQUEST,
        f"the request's head is longer than {MAX_LENGTH} bytes, or has more than {MAX_HEADERS} headers",
    )
