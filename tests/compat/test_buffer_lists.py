"""Lists, pages and counts of buffers, contract rest-api.md sections 2.2, 2.3, 4.3, 4.4."""

from datetime import datetime, timedelta

import pytest

from tests.support import exchanges
from tests.support.bufferexchanges import JSON, refusal

LIST = "> GET /buffers?api-version=1.0"
COUNT = "> GET /buffers/count?api-version=1.0"


BAD_TOKEN = refusal("400 Bad Request", "InvalidInput", "Invalid continuation token.")
BAD_LIMIT = refusal("400 Bad Request", "InvalidInput", "Limit must be a non-negative integer.")


def number(value):
    """A bare JSON integer."""
    return f"\n< 200 OK\n< {JSON}\n<\n< {value}\n"


def page(*items, link=None):
    """A page of items written out, perhaps with a link to the next one."""
    more = f',"nextLink":"{link}"' if link else ""
    return f"\n< 200 OK\n< {JSON}\n<\n< {{" + f'"items":[{",".join(items)}]{more}}}\n'


def item(name, tags=""):
    return (
        f'{{"id":"[[{name}]]","location":"local","createdAt":"[[{name}_made]]"'
        f',"tags":{{{tags}}},"eTag":"[[{name}_etag]]"}}'
    )


@pytest.fixture(scope="module")
def made(host):
    """Five buffers, `a` to `e`, the last the newest: every one with the tag n of its name, `d` without any."""
    with exchanges.talk(host.socket) as talk:
        for name in "abcde":
            tags = "{}" if name == "d" else f'{{"z":"1","n":"{name}"}}'
            talk.hold(f"""
                > POST /buffers?api-version=1.0
                >
                > {{"tags":{tags}}}
                < 201 Created
                < {JSON}
                < ETag: [[{name}_etag:etag]]
                < Location: /buffers/[[{name}:buffer]]
                <
                < {{"id":"[[{name}]]","location":"local","createdAt":"[[{name}_made:time]]"[[:any]]
            """)
        return talk.values


@pytest.fixture
def talk(talk, made):
    talk.values.update(made)
    return talk


def tags(name):
    return "" if name == "d" else f'"n":"{name}","z":"1"'


def items(names):
    return [item(name, tags(name)) for name in names]


# --- pages -------------------------------------------------------------------------------------------------


def test_newest_first_tags_in_order_and_always_there(talk):
    """The ETag of every item is that of GET and POST, also of the last one (13, items 12 and 13)."""
    talk.hold(LIST + page(*items("edcba")))


def test_pages(talk):
    """A page knows whether another one follows: none is empty."""
    talk.hold(
        LIST + "&limit=2" + page(*items("ed"), link="/buffers?api-version=1.0&limit=2&_ct=[[one:token]]")
    )
    talk.hold(f"""
        > GET /buffers?api-version=1.0&limit=2&_ct=[[one]]
        {page(*items("cb"), link="/buffers?api-version=1.0&limit=2&_ct=[[two:token]]")}
        > GET /buffers?api-version=1.0&limit=2&_ct=[[two]]
        {page(*items("a"))}
        > GET /buffers?limit=5&api-version=1.0
        {page(*items("edcba"))}
        > GET /buffers?limit=4&api-version=1.0
        {page(*items("edcb"), link="/buffers?limit=4&api-version=1.0&_ct=[[:token]]")}
    """)


def zbase32(data):
    """As the contract has it: the most significant bit first, no padding."""
    bits = "".join(f"{byte:08b}" for byte in data.encode())
    bits += "0" * (-len(bits) % 5)
    alphabet = "ybndrfg8ejkmcpqxot1uwisza345h769"
    return "".join(alphabet[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


def test_a_token_is_the_originals(talk):
    """z-base-32 of `[ticks,"id"]`; either server continues the other's list."""
    moment = datetime.fromisoformat(talk["d_made"]) - datetime.fromisoformat("0001-01-01T00:00:00+00:00")
    token = zbase32(f'[{moment // timedelta(microseconds=1) * 10},"{talk["d"]}"]')
    talk.hold(
        LIST + "&limit=2" + page(*items("ed"), link="/buffers?api-version=1.0&limit=2&_ct=[[token]]"),
        token=token,
    )


def test_a_link_has_every_parameter_of_the_request_but_the_old_prefix(talk):
    """Its version is in it: a link of a `/v1` list can be followed as it is."""
    query = "limit=1&tag%5Bz%5D=1&excludeTag%5Bn%5D=e&softDeleted=false&other=a%20b%2Fc"
    talk.hold(f"""
        > GET /buffers?limit=1&tag[z]=1&excludeTag[n]=e&softDeleted=false&other=a+b/c&api-version=1.0
        {page(*items("c"), link=f"/buffers?{query}&api-version=1.0&_ct=[[one:token]]")}
        > GET /buffers?{query}&api-version=1.0&_ct=[[one]]
        {page(*items("b"), link=f"/buffers?{query}&api-version=1.0&_ct=[[:token]]")}
        > GET /v1/buffers?limit=4
        {page(*items("edcb"), link="/buffers?limit=4&api-version=1.0&_ct=[[two:token]]")}
        > GET /buffers?limit=4&api-version=1.0&_ct=[[two]]
        {page(*items("a"))}
    """)


@pytest.mark.parametrize(
    ("limit", "answer"),
    [
        ("0", page()),
        ("-1", BAD_LIMIT),
        ("-2147483648", BAD_LIMIT),
        *(
            (
                text,
                refusal(
                    "400 Bad Request",
                    "BadRequest",
                    f'Failed to bind parameter "Nullable<int> limit" from "{text}".',
                ),
            )
            for text in ("", "x", "1.5", "1e1", "2147483648", "-2147483649", "0x10")
        ),
    ],
)
def test_limits(talk, limit, answer):
    for resource in ("buffers", "runs", "codespecs"):
        talk.hold(f"> GET /{resource}?api-version=1.0&limit={limit}\n{answer}")


def test_a_limit_above_what_is_allowed_is_that(talk):
    talk.hold(LIST + "&limit=2147483647" + page(*items("edcba")))


BUFFERS, RUNS, CODESPECS = '[638418036499512620,"x"]', "[638418036499512620,123]", '["klamath"]'
NOBODYS = [
    "",
    "null",
    "{}",
    "[]",
    "[1]",
    "[null,null]",
    '[1,"x",2]',
    '["1","x"]',
    '[1.5,"x"]',
    '[-1,"x"]',
    "[1e30,1]",
    '[3155378976000000000,"x"]',
    '[99999999999999999999,"x"]',
    "[" * 3000,
    '[1,"x"',
    '[1,"x"] 2',
    '[1,"\\ud800"]',
]


@pytest.mark.parametrize(
    ("resource", "tokens"),
    [
        ("buffers", [RUNS, CODESPECS, *NOBODYS]),
        ("runs", [BUFFERS, CODESPECS, *NOBODYS[1:]]),
        ("codespecs", [BUFFERS, RUNS, *NOBODYS]),
    ],
)
def test_tokens_made_up_and_of_other_lists(talk, resource, tokens):
    for token in tokens:
        talk.hold(f"> GET /{resource}?api-version=1.0&_ct={zbase32(token)}\n{BAD_TOKEN}")


@pytest.mark.parametrize(
    "token", ["y", "0", "l", "MCTGS5DBPIOZE4BNMW", "mctgs5dbpioze4bnmw=", "%C3%A4", "%00", "..", "y" * 5000]
)
def test_tokens_that_are_not_z_base_32(talk, token):
    for resource in ("buffers", "runs", "codespecs"):
        talk.hold(f"> GET /{resource}?api-version=1.0&_ct={token}\n{BAD_TOKEN}")


def test_tokens_of_nobody_are_a_place_in_the_list(talk):
    """Behind all, before all; an empty one is none to the list of runs."""
    talk.hold(f"""
        {LIST}&_ct={zbase32('[0,"x"]')}
        {page()}
        {LIST}&_ct={zbase32('[3155378975999999999,"x"]')}
        {page(*items("edcba"))}
        > GET /runs?api-version=1.0&_ct=
        {page()}
        > GET /codespecs?api-version=1.0&_ct={zbase32('["klamath"]')}
        {page()}
    """)


# --- filters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("&tag[z]=1", "ecba"),
        ("&tag%5Bz%5D=1&tag%5Bn%5D=c", "c"),
        ("&tag[z]=1&tag[n]=x", ""),
        ("&tag[n]=C", ""),
        ("&tag[N]=c", ""),
        ("&tag[n]=c&tag[n]=b", "c"),
        ("&tag[unknown]=1", ""),
        ("&tag[z]=", ""),
        ("&tag[]=1", ""),
        ("&excludeTag[z]=1", "d"),
        ("&excludeTag[n]=a&excludeTag[unknown]=1", "edcb"),
        ("&excludeTag[n]=a&excludeTag[z]=1", "d"),
        ("&tag[z]=1&excludeTag[n]=b", "eca"),
        ("&excludeTag[unknown]=1", "edcba"),
        ("&TAG[z]=2", "edcba"),
        ("&tag[z=2&tag=2&tagz=2&excludetag[z]=1", "edcba"),
        ("&softDeleted=true", ""),
        ("&softDeleted=False", "edcba"),
    ],
)
def test_filters(talk, query, found):
    """And the count agrees with the list."""
    talk.hold(f"{LIST}{query}{page(*items(found))}{COUNT}{query}{number(len(found))}")


def test_filters_with_a_great_many_tags(talk):
    """As many as a buffer can have, and more; a filter that no statement could hold is refused."""
    tags, excluded = ("".join(f"&{name}[k{at}]=v" for at in range(200)) for name in ("tag", "excludeTag"))
    talk.hold(f"""
        {LIST}{tags}{excluded}
        {page()}
        {COUNT}{tags}{excluded}
        {number(0)}
        > DELETE /buffers?api-version=1.0{tags}{excluded}
        {number(0)}
        > POST /buffers/restore?api-version=1.0{tags}{excluded}
        {number(0)}
        {LIST}{tags}&tag[more]=v
        {refusal("400 Bad Request", "BadRequest", "no more than 200 tag parameters may be given")}
    """)


def test_a_state_that_is_none_is_refused_by_the_list_and_ignored_by_the_count(talk):
    bad = refusal("400 Bad Request", "BadRequest", "softDeleted must be true or false")
    for text in ("", "1", "yes"):
        talk.hold(f"{LIST}&softDeleted={text}{bad}{COUNT}&softDeleted={text}{number(5)}")


def test_storage_accounts(talk):
    talk.hold(
        f"""
        > GET /buffers/storage-accounts?api-version=1.0
        < 200 OK
        < {JSON}
        <
        < [{{"name":"local","location":"local","endpoint":"http+unix://[[socket]]:/"}}]
        """,
        socket=talk.path,
    )
