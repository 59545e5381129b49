from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tygerd import quantity


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (1, "1"),
        ("1", "1"),
        ("0", "0"),
        ("-0", "0"),
        ("0Ki", "0"),
        ("+5", "5"),
        ("-5", "-5"),
        (1.5, "1500m"),
        (0.1, "100m"),
        ("1.", "1"),
        (".5", "500m"),
        ("00100m", "100m"),
        ("1000m", "1"),
        ("1001m", "1001m"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("1000000", "1M"),
        ("1G", "1G"),
        ("1024", "1024"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1536Ki", "1536Ki"),
        ("1000Mi", "1000Mi"),
        ("1.0001Ki", "1024102400u"),
        ("1e3", "1e3"),
        ("1000e0", "1e3"),
        ("1E3", "1e3"),
        ("1E", "1E"),
        ("12e-3", "12e-3"),
        ("1e-1", "100e-3"),
        ("1e0", "1"),
        ("0.0000000001", "1n"),
        ("0.0000000011", "2n"),
        ("-0.0000000011", "-2n"),
        ("1e-99999", "1e-9"),
        ("9223372036854775807", "9223372036854775807"),
        ("7.5Ei", "7680Pi"),
    ],
)
def test_canonical(text, canonical):
    assert quantity.canonical(quantity.parse(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        ".",
        "m",
        "1 ",
        " 1",
        "1mm",
        "1ki",
        "1K",
        "1KB",
        "1e",
        "1e3m",
        "1.2.3",
        "0x1",
        "\u0661",
        "1i",
        "1\n",
    ],
)
def test_no_quantities(text):
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse(text)


@pytest.mark.parametrize(
    "text", ["9223372036854775808", "8Ei", "1e19", "1e99999999999", "-1e19", "10E", 1e300]
)
def test_too_large(text):
    with pytest.raises(ValueError, match="too large"):
        quantity.parse(text)


def test_a_very_long_text_is_refused_quickly():
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse("1" * 100_000)


@given(
    st.integers(min_value=-(2**63 - 1) * 10**9, max_value=(2**63 - 1) * 10**9),
    st.sampled_from(["binary", "decimal", "exponent"]),
)
def test_canonical_text_keeps_the_value_and_is_stable(nanos, family):
    text = quantity.canonical(quantity.Quantity(nanos, family))
    again = quantity.parse(text)
    assert again.nanos == nanos
    assert "." not in text
    # A binary amount that no suffix divides is written as a plain number, which reads as a decimal one.
    if family == again.family:
        assert quantity.canonical(again) == text


UNITS = {
    "": 1,
    "m": Fraction(1, 1000),
    "k": 1000,
    "Ki": 1024,
    "Mi": 1 << 20,
    "G": 10**9,
    "e2": 100,
    "E-2": Fraction(1, 100),
}


@given(st.decimals(min_value=0, max_value=10**6, places=3), st.sampled_from(sorted(UNITS)))
def test_values(number, unit):
    assert quantity.parse(f"{number:f}{unit}").nanos == Fraction(number) * UNITS[unit] * 10**9
