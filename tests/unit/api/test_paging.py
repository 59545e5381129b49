import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tyger import errors
from tygerd.api import paging
from tygerd.http import messages


def test_the_contracts_examples():
    assert paging.token("klamath") == "mctgs5dbpioze4bnmw"
    assert paging.parse("mctgs5dbpioze4bnmw", tuple[str]) == ("klamath",)
    text = "mc5dgqbwgrhdyc3sgohu1pjtge5drcbcgr3dgze"
    assert paging.token(638418036499512620, 123) == text
    assert paging.parse(text, tuple[int, int]) == (638418036499512620, 123)


@given(st.binary(max_size=40))
def test_z_base_32_round_trips(data):
    text = paging.encode(data)
    assert set(text) <= set("ybndrfg8ejkmcpqxot1uwisza345h769")
    assert paging.decode(text) == data


@given(st.text(alphabet="ybndrfg8ejkmcpqxot1uwisza345h769l0", max_size=20))
def test_what_was_never_made_is_refused(text):
    try:
        data = paging.decode(text)
    except ValueError:
        return
    assert paging.encode(data) == text


@given(st.integers(min_value=-62135596800 * 10**6, max_value=253402300799 * 10**6), st.text(max_size=30))
def test_moments_round_trip(micros, item_id):
    query = messages.Fields([("_ct", paging.moment_token((micros, item_id)))])
    assert paging.after_moment(query, tuple[int, str]) == (micros, item_id)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "é",
        "mctgs5dbpioze4bnm",
        paging.encode(b"[1"),
        paging.encode(b'[1,"a",2]'),
        paging.encode(b'["1","a"]'),
        paging.encode(b'[-1,"a"]'),
        paging.encode(b'[1e30,"a"]'),
        paging.encode(b'[9223372036854775807,"a"]'),
        paging.encode(b'[99999999999999999999,"a"]'),
        paging.encode(b'[true,"a"]'),
        paging.encode(b"[" * 5000),
        paging.encode(b'[1,"\xff"]'),
    ],
)
def test_bad_tokens(text):
    with pytest.raises(errors.Problem, match="Invalid continuation token") as caught:
        paging.after_moment(messages.Fields([("_ct", text)]), tuple[int, str])
    assert caught.value.kind is errors.INVALID_INPUT


def test_no_token_is_the_beginning():
    assert paging.after_moment(messages.Fields(), tuple[int, str]) is None


def test_links():
    query = messages.Fields([("limit", "5"), ("tag[a b]", "c&d"), ("api-version", "1.0"), ("_ct", "old")])
    request = messages.Request("GET", "/buffers", query=query)
    assert paging.page(request, [1], None) == {"items": [1]}
    body = paging.page(request, [1], "new")
    assert body["nextLink"] == "/buffers?limit=5&tag%5Ba%20b%5D=c%26d&api-version=1.0&_ct=new"
    assert msgspec.json.encode(body).startswith(b'{"items":[1],')
