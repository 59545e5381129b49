"""Odd names, tokens, queries and headers over raw HTTP: each gets a 4xx in the usual form, or what it
asks for, and leaves no word in the log."""

import pytest

from tests.support import daemon
from tests.support.rawhttp import error, request, say, status
from tygerd.api import paging

pytestmark = pytest.mark.usefixtures("unharmed")

NAMES = [
    "%00", "a%00b", "%01", "%7f", "%0d%0aX-Y:%20z", ".", "..", "%2e", "%2e%2e", "%2f", "a%2fb",
    "%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fcatalog.sqlite3", "%5c", "%", "%zz", "%u0041",
    "%25%30%30", ";", "a;b", "%20", "a%20b", "*", "~", "'--", "%22", "%3cscript%3e", "%e2%80%ae",
    "%f0%9f%98%80", "%cc%81", "%ef%bb%bf", "%ed%9f%bf", "a" * 300, "a" * 60_000, "%f0%9f%98%80" *
    1000, "-", "-1", "+1", "0x1", "1.0", "1e3", "%d9%a3", "9" * 19, "9" * 5000, "null", "temp-",
    "run-1-temp-x", "_", "__proto__",
]  # fmt: skip
ROUTES = [
    ("GET", "/buffers/{}", b""),
    ("PUT", "/buffers/{}", b'{"tags":{}}'),
    ("DELETE", "/buffers/{}", b""),
    ("POST", "/buffers/{}/restore", b""),
    ("GET", "/codespecs/{}", b""),
    ("GET", "/codespecs/{}/versions/1", b""),
    ("GET", "/codespecs/x/versions/{}", b""),
    ("GET", "/runs/{}", b""),
    ("GET", "/runs/{}?watch=true", b""),
    ("GET", "/runs/{}/logs?follow=true", b""),
    ("PUT", "/runs/{}", b'{"tags":{}}'),
    ("POST", "/runs/{}/cancel", b""),
    ("GET", "/transfers/{}", b""),
    ("GET", "/transfers/{}/watch", b""),
    ("GET", "/transfers/read/{}", b""),
    ("POST", "/transfers/{}/pause", b""),
    ("POST", "/transfers/{}/outcome", b'{"outcome":"failed"}'),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_nothing_has_an_odd_name(host, method, path, body):
    for name in NAMES:
        heard = say(host, request(method, path.format(name), body))
        assert status(heard) in (400, 404), name
        if not heard.endswith(b"\r\n\r\n"):  # some answers about runs have no body
            assert error(heard)["code"] in ("NotFound", "BadRequest", "InvalidRoute", "InvalidInput"), name
        assert len(heard) < 1000, name


@pytest.fixture
def own():
    """A daemon of the test's own: in the others' nothing has these names."""
    with daemon.daemon() as it:
        yield it
        assert '"level": "error"' not in it.log
        assert '"level": "critical"' not in it.log


def test_no_codespec_gets_an_odd_name(own):
    for name in NAMES:
        heard = say(own, request("PUT", f"/codespecs/{name}", b'{"kind":"job","image":"x"}'))
        # Dots, dashes and any length are allowed.
        if status(heard) == 201:
            assert set(name.replace("%2e", ".")) <= set("abcdefghijklmnopqrstuvwxyz0123456789-._")
        else:
            assert status(heard) in (400, 404), name
            assert error(heard)["code"] in ("InvalidInput", "InvalidRoute", "BadRequest"), name


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT", "DELETE"])
def test_the_data_plane_lets_nobody_in_by_an_odd_name(host, method):
    for name in NAMES:
        for path in (f"/containers/{name}", f"/containers/{name}/x", f"/containers/abc/{name}"):
            if method == "DELETE" and path.count("/") > 2:
                continue
            assert status(say(host, request(method, path))) in (400, 403, 404), path


@pytest.mark.parametrize("path", ["/buffers/%ff", "/buffers/%c3%28", "/runs/%ed%a0%80", "/nowhere?x=%ff"])
def test_targets_that_are_not_utf8(host, path):
    heard = say(host, request("GET", path))
    assert (status(heard), error(heard)["message"]) == (400, "the request target is not UTF-8")


@pytest.mark.parametrize(
    "path", ["/a" * 20_000, "/" * 60_000, "/containers/abc" + "/" * 50_000, "/v1" * 20_000, "/%2f" * 15_000]
)
def test_paths_of_many_parts(host, path):
    assert status(say(host, request("GET", path))) in (400, 403)


# --- tokens ------------------------------------------------------------------------------------------------

TOKENS = {
    "no alphabet": "!!!",
    "unicode": "%e2%82%ac",
    "a number": paging.encode(b"1"),
    "nothing": paging.encode(b"[]"),
    "nulls": paging.encode(b"[null,null]"),
    "too many": paging.encode(b'[1,"a","b"]'),
    "ticks beyond the calendar": paging.encode(b"[9223372036854775807,1]"),
    "huge ticks": paging.encode(b"[99999999999999999999999,1]"),
    "negative ticks": paging.encode(b"[-1,1]"),
    "infinite ticks": paging.encode(b"[1e999,1]"),
    "truth values": paging.encode(b"[true,true]"),
    "a surrogate": paging.encode(b'[5,"\\ud800"]'),
    "no utf-8": paging.encode(b'["\xff"]'),
    "depth": paging.encode(b"[" * 20_000),
    "length": "y" * 60_000,
    "capitals": paging.token("a").upper(),
    "padding": paging.token("a") + "=",
    "more behind it": paging.encode(b'["a"] x'),
    "more bits": paging.token("a") + "y",
}
LISTS = {"/buffers": paging.token(5, "a"), "/runs": paging.token(5, 1), "/codespecs": paging.token("a")}


@pytest.mark.parametrize("path", LISTS)
def test_tokens_that_nobody_gave(host, path):
    others = {f"{other}'s": token for other, token in LISTS.items() if other != path}
    for name, token in (TOKENS | others).items():
        heard = say(host, request("GET", f"{path}?_ct={token}"))
        assert (status(heard), error(heard)["code"]) == (400, "InvalidInput"), name
        assert error(heard)["message"] == "Invalid continuation token.", name


# --- queries -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/buffers?limit=", "BadRequest"),
        ("/buffers?limit=%00", "BadRequest"),
        ("/buffers?limit=1e3", "BadRequest"),
        ("/buffers?limit=%d9%a3", "BadRequest"),
        ("/buffers?limit=2147483648", "BadRequest"),
        ("/buffers?limit=" + "9" * 50_000, "BadRequest"),
        ("/buffers?limit=-1", "InvalidInput"),
        ("/buffers?softDeleted=", "BadRequest"),
        ("/buffers?softDeleted=1", "BadRequest"),
        ("/buffers?" + "&".join(f"tag[k{i}]=v" for i in range(990)), "BadRequest"),
        ("/buffers?" + "&".join(["a=b"] * 2000), "BadRequest"),
        ("/runs?status=", "InvalidInput"),
        ("/runs?status=%00", "InvalidInput"),
        ("/runs?since=", "BadRequest"),
        ("/runs?since=%00", "BadRequest"),
        ("/runs?since=0000-01-01", "BadRequest"),
        ("/runs?since=99999999999999", "BadRequest"),
        ("/runs?since=2026-01-01T00:00:00%2b99:99", "BadRequest"),
        ("/runs/1?watch=maybe", None),
        ("/runs/1/logs?tailLines=2147483648", None),
        ("/transfers/read/x?offset=-1", "BadRequest"),
        ("/transfers/read/x?offset=99999999999999999999", "BadRequest"),
        ("/transfers/read/x?start=5&offset=3", "BadRequest"),
        ("/transfers/read/x?follow=maybe", "BadRequest"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_values_that_are_none(host, path, code):
    heard = say(host, request("GET", path))
    # Whether the run or its parameter is looked at first is nobody's concern.
    assert status(heard) in ((400,) if code else (400, 404))
    if code:
        assert error(heard)["code"] == code
    assert len(heard) < 1000


@pytest.mark.parametrize("ttl", ["", "%00", "-1", "x", "nan", "1.02", "1.24:00", "10675200", "9" * 30])
def test_spans_that_are_none(host, ttl):
    for method, path in (("DELETE", "/buffers"), ("POST", "/buffers/x/access"), ("DELETE", "/buffers/x")):
        heard = say(host, request(method, f"{path}?ttl={ttl}"))
        assert status(heard) == 400
        assert error(heard)["message"] == "ttl must be a valid, non-negative TimeSpan"


@pytest.mark.parametrize(
    "query",
    [
        "limit=1&limit=x", "softDeleted=false&softDeleted=x", "&&&&", "=", "%00=%00", "tag[=x", "tag]=x",
        "tag[]=x", "tag[a", "tag[a]=%00", "tag[%00]=x", "tag[a]=1&tag[a]=2", "excludeTag[%f0%9f%98%80]=x",
        "tag[" + "a" * 50_000 + "]=b", "Limit=1", "api-version=1.0",
    ],
    ids=lambda query: query[:40],
)  # fmt: skip
def test_the_first_of_several_counts_and_what_is_unknown_is_ignored(host, query):
    assert status(say(host, request("GET", f"/buffers?{query}"))) == 200


# --- headers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        "X: " + "y" * 70_000 + "\r\n",
        "X: " + "y" * 1_000_000 + "\r\n",
        "Y" * 70_000 + ": y\r\n",
        "X: y\r\n" * 1001,
        "X: y\r\n" * 100_000,
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "X : y\r\n",
        ": y\r\n",
        "XY\r\n",
        "Host: y\r\n",
        "Tyger-Fds: 1\r\n",
        "Tyger-Fds: x" + "9" * 50_000 + "\r\n",
        "Tyger-Fds: \xe9\r\n",
        "Transfer-Encoding: identity\r\n",
    ],
    ids=range(15),
)
def test_headers_that_are_none_or_too_much(host, headers):
    heard = say(host, request("GET", "/metadata", headers=headers))
    assert (status(heard), error(heard)["code"]) == (400, "BadRequest")
    assert len(heard) < 1000


def test_headers_that_are_many_and_long_and_still_fine(host):
    for headers in ("X: y\r\n" * 500, "X: " + "y" * 60_000 + "\r\n", "X: \xe9\r\n", "X: a\r\n b\r\n"):
        assert status(say(host, request("GET", "/metadata", headers=headers))) == 200


@pytest.mark.parametrize("tag", ["9" * 60_000, '"', "\xe9", "W/*", "*, *"])
def test_etags_that_nothing_has(host, tag):
    buffer = say(host, request("POST", "/buffers", b"{}")).partition(b'"id":"')[2][:26].decode()
    heard = say(host, request("PUT", f"/buffers/{buffer}", b'{"tags":{}}', f"If-Match: {tag}\r\n"))
    assert (status(heard), error(heard)["message"]) == (412, "ETag does not match")


@pytest.mark.parametrize("method", ["get", "HEAD", "TRACE", "OPTIONS", "A" * 5000, "PATCH"])
def test_methods_that_there_are_not(host, method):
    heard = say(host, request(method, "/metadata"))
    assert status(heard) == 400
    assert method == "HEAD" or error(heard)["code"] == "InvalidRoute"
