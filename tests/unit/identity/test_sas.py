from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tygerd.identity import sas

# Contract buffers.md 2.5.
PUBLIC_KEY = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3JDkIeJt+iNSYyGGPzlZdFkz4BuP
o7TqeefyKh9+K54MSdvRadtl4RYrbdY9mn4IwqduGDHfkfv4IeHVpXej5Q==
-----END PUBLIC KEY-----
"""
CONTAINER = "4xr6p5pdmy7ujanqhh7xkz2f3a"
VECTOR = {
    "sv": "0.1.0",
    "sp": "r",
    "st": "2026-01-02T03:04:05Z",
    "se": "2026-01-02T04:04:05Z",
    "sig": "MEYCIQDVNGk0EhA9+E6pSiRoXEtFAhcfBZcNoagfh1EKXdxmtgIhAKoC+IhXehhMqR1lsUoY5/1J+Y3vhtrOOKMLUKKpjOYT",
}
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = ec.generate_private_key(ec.SECP256R1())
SIGNER = sas.Signer(KEY)


def check_vector(now=START, needed="r", container=CONTAINER, **changes):
    key = serialization.load_pem_public_key(PUBLIC_KEY)
    query = {name: value for name, value in {**VECTOR, **changes}.items() if value is not None}
    return sas.check((key,), container, query, needed, now)


def test_the_contracts_vector():
    assert check_vector() is sas.Verdict.OK


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"now": START - timedelta(microseconds=1)}, "INVALID"),
        ({"now": START + HOUR}, "OK"),
        ({"now": START + HOUR + timedelta(microseconds=1)}, "INVALID"),
        ({"needed": "c"}, "NOT_ALLOWED"),
        ({"needed": "R"}, "NOT_ALLOWED"),
        ({"container": "4xr6p5pdmy7ujanqhh7xkz2f3b"}, "INVALID"),
        ({"sv": "0.2.0"}, "INVALID"),
        ({"sv": None}, "INVALID"),
        ({"sp": "cr"}, "INVALID"),
        ({"sp": ""}, "INVALID"),
        ({"sp": None}, "INVALID"),
        ({"st": "2026-01-02T03:04:04Z"}, "INVALID"),
        ({"st": "2026-01-02"}, "INVALID"),
        ({"se": "2027-13-02T04:04:05Z"}, "INVALID"),
        ({"se": None}, "INVALID"),
        ({"sig": None}, "INVALID"),
        ({"sig": "?"}, "INVALID"),
        ({"sig": "MEYC"}, "INVALID"),
        ({"sig": VECTOR["sig"].lower()}, "INVALID"),
        ({"container": "\ud800"}, "INVALID"),
    ],
)
def test_anything_else_is_refused(changes, verdict):
    assert check_vector(**changes) is sas.Verdict[verdict]


def test_emission():
    query = SIGNER.query("abc", "cr", START + timedelta(microseconds=999_999), HOUR)
    assert query.startswith(
        "api-version=1.0&sv=0.1.0&sp=cr&st=2026-01-02T03%3A04%3A05Z&se=2026-01-02T04%3A04%3A05Z&sig="
    )
    assert not set("+/:") & set(query)
    assert query.count("=") == 6


@given(
    st.from_regex(r"[a-zA-Z0-9]{3,63}", fullmatch=True),
    st.sampled_from(["r", "cr", "R", "CR", "D"]),
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
)
def test_what_was_signed_verifies(container, permissions, start):
    query = dict(parse_qsl(SIGNER.query(container, permissions, start, HOUR), strict_parsing=True))
    for letter in permissions:
        assert SIGNER.check(container, query, letter, start) is sas.Verdict.OK
    assert SIGNER.check(container, query, "x", start) is sas.Verdict.NOT_ALLOWED
    assert SIGNER.check(container + "x", query, permissions[0], start) is sas.Verdict.INVALID


def test_the_secondary_key_verifies_but_does_not_sign():
    new = ec.generate_private_key(ec.SECP256R1())
    both = sas.Signer(new, KEY.public_key())
    old_query = dict(parse_qsl(SIGNER.query("abc", "r", START, HOUR)))
    new_query = dict(parse_qsl(both.query("abc", "r", START, HOUR)))
    assert both.check("abc", old_query, "r", START) is sas.Verdict.OK
    assert both.check("abc", new_query, "r", START) is sas.Verdict.OK
    assert SIGNER.check("abc", new_query, "r", START) is sas.Verdict.INVALID
