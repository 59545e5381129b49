"""Access URLs: the four forms, what is refused, and where a fresh one comes from."""

import contextlib
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tyger import errors
from tygerd.stores import access

SAS = "sv=1&sp=r&sig=a%2Bb%3D&sig=x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"http://h/containers/b?{SAS}", access.Url(False, None, "h", 80, "/containers/b", SAS)),
        (
            f"https://acc.blob.core.windows.net/b?{SAS}",
            access.Url(True, None, "acc.blob.core.windows.net", 443, "/b", SAS),
        ),
        ("http://[::1]:8080/b?q", access.Url(False, None, "::1", 8080, "/b", "q")),
        ("http://h:81", access.Url(False, None, "h", 81, "", "")),
        (
            f"http+unix:///run/t.sock:/containers/b?{SAS}",
            access.Url(False, "/run/t.sock", "localhost", 80, "/containers/b", SAS),
        ),
        ("https+unix:///a%20b:/c:d?q", access.Url(True, "/a b", "localhost", 443, "/c:d", "q")),
        ("http+unix:///run/t.sock:", access.Url(False, "/run/t.sock", "localhost", 80, "", "")),
        ("HTTP://H/b/", access.Url(False, None, "h", 80, "/b", "")),
    ],
)
def test_forms(text, expected):
    assert access.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "temporary",
        "ftp://h/b",
        "http:///b",
        "http://" + 64 * "a" + "/b",
        "http://a..b/b",
        "http://h/b?q\n=x",
        "http://h:port/b",
        "http://h:70000/b",
        "http://[::1/b",
        "http+unix://relative:/b",
        "http+unix:",
        "http://h/b c",
        "http://h/b?q=\u00e9",
        "http+unix:///" + 107 * "x" + ":/b",
    ],
)
def test_what_is_no_access_url(text):
    with pytest.raises(errors.Problem) as caught:
        access.parse(text)
    assert caught.value.kind is errors.INVALID_INPUT


@given(st.text())
def test_any_text_is_a_url_or_refused(text):
    with contextlib.suppress(errors.Problem):
        assert access.parse(text).host


def test_a_blobs_target_keeps_the_query_as_it_was():
    url = access.parse(f"http://h/containers/b?{SAS}")
    assert url.target("00/000") == f"/containers/b/00/000?{SAS}"
    assert (url.name, url.place) == ("b", "h:80")
    assert access.parse("http+unix:///run/s:/b?sig").place == "/run/s"
    assert access.parse("http://h/b").target(".bufferend") == "/b/.bufferend"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("relay=true", True),
        ("a=1&relay=true", True),
        ("relay=false", False),
        ("relay=true&relay=true", False),
    ],
)
def test_relays(query, expected):
    assert access.parse(f"http://h/b?{query}").relayed is expected


# --- sources ---------------------------------------------------------------------------------------------


def test_a_literal_url_cannot_be_renewed():
    opened = access.locate("http://h/b?old")
    assert not opened.renewable
    assert opened.renew(0) is False


def test_a_file_is_read_again_and_only_the_query_counts(tmp_path):
    file = tmp_path / "b.access"
    file.write_text("http://h/b?old \r\n")
    opened = access.locate(str(file))
    generation, url = opened.current()
    assert (opened.renewable, url.query) == (True, "old")
    assert opened.renew(generation) is False
    (tmp_path / "new").write_text("http://elsewhere/c?new\n")
    (tmp_path / "new").rename(file)
    assert opened.renew(generation) is True
    assert opened.current() == (generation + 1, access.Url(False, None, "h", 80, "/b", "new"))


def test_one_renewal_serves_all_who_met_the_same_expiry():
    asked = []

    def renew():
        asked.append(1)
        return "http://h/b?new"

    opened = access.Access(access.parse("http://h/b?old"), renew)
    threads = [threading.Thread(target=opened.renew, args=(0,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1


def test_what_is_neither_url_nor_access_file(tmp_path):
    big = tmp_path / "big"
    big.write_text("http://h/b?" + "x" * 2048)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("something else")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, words in [
        ("big", "less than 2048 bytes"),
        ("text", "is invalid"),
        ("binary", "is invalid"),
        ("missing", "No such file"),
        (".", "must be a regular file"),
        ("pipe", "must be a regular file"),
    ]:
        with pytest.raises(errors.Problem, match=words) as caught:
            access.locate(str(tmp_path / name))
        assert caught.value.kind is errors.INVALID_INPUT
