"""Kubernetes resource quantities: parse, compare, print in canonical form. Pure.

    quantity = [sign] digits [. digits] [suffix]
    suffix   = Ki | Mi | Gi | Ti | Pi | Ei  |  n | u | m | k | M | G | T | P | E  |  (e|E) [sign] digits

Canonical: no fraction, the largest suffix of the same family that leaves a whole number. A fraction finer
than 10^-9 is rounded away from zero; more than 2^63-1 is refused.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Family = Literal["binary", "decimal", "exponent"]

_QUANTITY = re.compile(
    r"(?P<sign>[-+]?)(?P<whole>\d*)(?:\.(?P<fraction>\d*))?(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[-+]?\d+))?",
    re.ASCII,
)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_NAMES = {power: name for name, power in _DECIMAL.items()}
_BINARY_NAMES = {power: name for name, power in _BINARY.items()} | {0: ""}
_NANO = 10**9
_LARGEST = 2**63 - 1
_LONGEST_TEXT = 64  # far more digits than any quantity in range needs
_LARGEST_EXPONENT = 40  # beyond it every digit but zeros is out of range or rounded


class Quantity(NamedTuple):
    """A number of billionths and the family of suffixes it was written with, which printing keeps."""

    nanos: int
    family: Family


def parse(value: str | float) -> Quantity:
    """Read a quantity, as text or as a JSON number.

    Raises:
        ValueError: with what is wrong, in a form that follows the text.
    """
    text = value if isinstance(value, str) else repr(value)
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None or not (match["whole"] or match["fraction"]):
        raise ValueError("is not a quantity such as 1, 500m, 1.5G or 512Mi")
    digits = int((match["whole"] or "") + (match["fraction"] or ""))
    places = len(match["fraction"] or "")
    suffix = match["suffix"] or ""
    family: Family = "decimal"
    binary, power = 0, 0
    if match["exponent"] is not None:
        family, power = "exponent", int(match["exponent"])
    elif suffix in _BINARY:
        family, binary = "binary", _BINARY[suffix]
    else:
        power = _DECIMAL[suffix]
    power = max(-_LARGEST_EXPONENT - _LONGEST_TEXT, min(power, _LARGEST_EXPONENT + _LONGEST_TEXT))
    nanos = _rounded_away(digits * 1024**binary, power - places + 9)
    if nanos > _LARGEST * _NANO:
        raise ValueError("is too large a quantity")
    return Quantity(-nanos if match["sign"] == "-" else nanos, family)


def canonical(quantity: Quantity) -> str:
    """The one text of this quantity within its family."""
    nanos, family = quantity
    if nanos == 0:
        return "0"
    # As Kubernetes: small or fractional amounts are not written with binary suffixes.
    if family == "binary" and nanos % _NANO == 0 and abs(nanos) >= 1024 * _NANO:
        amount, power = _without_factor(nanos // _NANO, 1024, max(_BINARY_NAMES))
        return f"{amount}{_BINARY_NAMES[power]}"
    amount, thousands = _without_factor(nanos, 1000, (18 + 9) // 3)
    exponent = thousands * 3 - 9
    if family == "exponent":
        return f"{amount}e{exponent}" if exponent else str(amount)
    return f"{amount}{_DECIMAL_NAMES[exponent]}"


def _rounded_away(digits: int, power: int) -> int:
    """`digits * 10**power`, rounded up to a whole number."""
    if power >= 0:
        scale: int = 10**power
        return digits * scale
    divisor: int = 10**-power
    return -(-digits // divisor)


def _without_factor(number: int, factor: int, most: int) -> tuple[int, int]:
    """`number` divided by `factor` as often as it goes, `most` times at most; and how often."""
    times = 0
    while times < most and number % factor == 0:
        number //= factor
        times += 1
    return number, times
