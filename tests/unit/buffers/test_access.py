from datetime import timedelta
from urllib.parse import parse_qsl

import pytest

from tyger import errors
from tygerd import clock
from tygerd.buffers import access
from tygerd.identity import sas

ID = "4xr6p5pdmy7ujanqhh7xkz2f3a"


@pytest.mark.parametrize(("writeable", "permissions"), [(True, "cr"), (False, "r")])
def test_a_url_opens_its_container(signer, writeable, permissions):
    url = access.AccessUrls(signer, "/run/tyger/tyger.sock").url(ID, writeable=writeable, ttl=None)
    base, _, query = url.partition("?")
    assert base == f"http+unix:///run/tyger/tyger.sock:/containers/{ID}"
    fields = dict(parse_qsl(query))
    assert list(fields) == ["api-version", "sv", "sp", "st", "se", "sig"]
    assert fields["sp"] == permissions
    for letter in "rc":
        expected = sas.Verdict.OK if letter in permissions else sas.Verdict.NOT_ALLOWED
        assert signer.check(ID, fields, letter, clock.now()) is expected


def test_unusual_paths_are_escaped(signer):
    url = access.AccessUrls(signer, "/tmp/a b?c%d/t.sock").endpoint()
    assert url == "http+unix:///tmp/a%20b%3Fc%25d/t.sock:/"


def test_a_path_that_no_url_can_name(signer):
    with pytest.raises(errors.Problem, match="contains a colon") as caught:
        access.AccessUrls(signer, "/tmp/a:b").url(ID, writeable=False, ttl=None)
    assert caught.value.kind is errors.CONFIG


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(29.9, "Access TTL must be at least 30 seconds."), (3600.1, "less than or equal to 01:00:00.")],
)
def test_lifetimes_out_of_range(signer, seconds, words):
    with pytest.raises(errors.Problem, match=words):
        access.AccessUrls(signer, "/s").url(ID, writeable=False, ttl=timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [30, 3600])
def test_lifetimes_in_range(signer, seconds):
    url = access.AccessUrls(signer, "/s").url(ID, writeable=False, ttl=timedelta(seconds=seconds))
    fields = dict(parse_qsl(url.partition("?")[2]))
    assert signer.check(ID, fields, "r", clock.now()) is sas.Verdict.OK
