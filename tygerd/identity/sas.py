"""Signatures of access URLs of the local data plane, contract buffers.md 2.5.

    string to sign = sv LF container LF sp LF st LF se        (UTF-8, no LF at the end)
    sig            = base64(ECDSA P-256, DER, over SHA-256)

One signature opens a whole container: neither blob nor method is signed, and `api-version` isn't either.
Pure computation on keys and a moment that the caller names; no I/O.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

import cryptography.exceptions
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

API_VERSION = "1.0"
SIGNATURE_VERSION = "0.1.0"
_DATA_FIELDS = ("sp", "st", "se", "sig")
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)


class Verdict(enum.Enum):
    """What a signature is worth."""

    OK = "ok"
    INVALID = "invalid"
    NOT_ALLOWED = "not allowed"


class Signer:
    """Signs with the primary key; accepts signatures of either, so that a key can be replaced in peace."""

    def __init__(
        self, private: ec.EllipticCurvePrivateKey, secondary: ec.EllipticCurvePublicKey | None = None
    ) -> None:
        self._private = private
        public = private.public_key()
        self._accepted = (public,) if secondary is None else (public, secondary)

    def query(self, container: str, permissions: str, start: datetime, lifetime: timedelta) -> str:
        """The query of an access URL, percent-encoded, in the contract's order.

        `start` is cut to the second, so that the URL is valid at once.
        """
        st, se = _print(start), _print(start + lifetime)
        text = _string_to_sign(SIGNATURE_VERSION, container, permissions, st, se)
        signature = self._private.sign(text, ec.ECDSA(hashes.SHA256()))
        fields = (
            ("api-version", API_VERSION),
            ("sv", SIGNATURE_VERSION),
            ("sp", permissions),
            ("st", st),
            ("se", se),
            ("sig", base64.b64encode(signature).decode("ascii")),
        )
        return urlencode(fields, quote_via=quote, safe="")

    def check(self, container: str, query: Mapping[str, str], needed: str, now: datetime) -> Verdict:
        """Whether `query` (decoded values) opens `container` for the letter `needed` at `now`."""
        return check(self._accepted, container, query, needed, now)


def check(
    keys: tuple[ec.EllipticCurvePublicKey, ...],
    container: str,
    query: Mapping[str, str],
    needed: str,
    now: datetime,
) -> Verdict:
    """The same for whoever has only public keys; a signature by any of them counts."""
    if query.get("sv") != SIGNATURE_VERSION or not all(query.get(name) for name in _DATA_FIELDS):
        return Verdict.INVALID
    permissions, st, se = query["sp"], query["st"], query["se"]
    start, end = _parse(st), _parse(se)
    # No allowance for clocks that differ: `st` and `se` are inclusive, the contract has no more.
    if start is None or end is None or not start <= now <= end:
        return Verdict.INVALID
    try:
        signature = base64.b64decode(query["sig"], validate=True)
    except (binascii.Error, ValueError):
        return Verdict.INVALID
    text = _string_to_sign(SIGNATURE_VERSION, container, permissions, st, se)
    if not any(_verifies(key, signature, text) for key in keys):
        return Verdict.INVALID
    return Verdict.OK if needed in permissions else Verdict.NOT_ALLOWED


def _string_to_sign(version: str, container: str, permissions: str, st: str, se: str) -> bytes:
    # A lone surrogate cannot be encoded; it cannot have been signed either.
    return f"{version}\n{container}\n{permissions}\n{st}\n{se}".encode("utf-8", "surrogatepass")


def _verifies(key: ec.EllipticCurvePublicKey, signature: bytes, text: bytes) -> bool:
    try:
        key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
    except cryptography.exceptions.InvalidSignature:
        return False
    return True


def _print(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse(text: str) -> datetime | None:
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
