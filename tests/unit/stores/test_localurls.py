from datetime import timedelta
from urllib.parse import parse_qsl

import pytest

from tyger import errors
from tygerd import clock
from tygerd.identity import keys, sas
from tygerd.stores import localurls

ID = "4xr6p5pdmy7ujanqhh7xkz2f3a"
HOUR = timedelta(hours=1)


@pytest.fixture
def signer(tmp_path):
    return keys.load_or_create(str(tmp_path / "keys"))


@pytest.mark.parametrize(("writeable", "permissions"), [(True, "cr"), (False, "r")])
def test_a_url_opens_its_container(signer, writeable, permissions):
    url = localurls.LocalUrls(signer, "/run/tyger/tyger.sock").url(ID, writeable=writeable, ttl=HOUR)
    base, _, query = url.partition("?")
    assert base == f"http+unix:///run/tyger/tyger.sock:/containers/{ID}"
    fields = dict(parse_qsl(query))
    assert list(fields) == ["api-version", "sv", "sp", "st", "se", "sig"]
    assert fields["sp"] == permissions
    for letter in "rc":
        expected = sas.Verdict.OK if letter in permissions else sas.Verdict.NOT_ALLOWED
        assert signer.check(ID, fields, letter, clock.now()) is expected


def test_a_relay_is_opened_by_its_bare_id(signer):
    urls = localurls.LocalUrls(signer, "/s")
    base, _, query = urls.relay(f"run-7-temp-{ID}", ID, writeable=True, ttl=HOUR).partition("?")
    assert base == f"http+unix:///s:/relays/run-7-temp-{ID}"
    fields = dict(parse_qsl(query))
    assert fields.pop("relay") == "true"
    assert signer.check(ID, fields, "c", clock.now()) is sas.Verdict.OK


def test_one_for_another_machine(signer):
    urls = localurls.LocalUrls(signer, "/s", "https://10.77.0.1:8443")
    base, _, query = urls.over_tcp(ID, writeable=True, ttl=HOUR).partition("?")
    assert base == f"https://10.77.0.1:8443/containers/{ID}"
    assert signer.check(ID, dict(parse_qsl(query)), "c", clock.now()) is sas.Verdict.OK


def test_no_other_machine_can_come(signer):
    with pytest.raises(errors.Problem, match=f"buffer {ID} is kept by tygerd itself.* set listen") as caught:
        localurls.LocalUrls(signer, "/s").over_tcp(ID, writeable=False, ttl=HOUR)
    assert caught.value.kind is errors.CONFIG


def test_unusual_paths_are_escaped(signer):
    urls = localurls.LocalUrls(signer, "/tmp/a b?c%d/t.sock")
    assert urls.endpoint == "http+unix:///tmp/a%20b%3Fc%25d/t.sock:/"


def test_a_path_that_no_url_can_name(signer):
    with pytest.raises(errors.Problem, match="contains a colon") as caught:
        localurls.LocalUrls(signer, "/tmp/a:b").url(ID, writeable=False, ttl=HOUR)
    assert caught.value.kind is errors.CONFIG
