"""Access URLs: the four forms, what is refused, and where a fresh one comes from."""

import contextlib
import datetime as dt
import email.utils
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tyger import errors
from tygerd.stores import access, serverclock

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


# --- expiry ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "end", "length"),
    [
        ("st=2026-01-02T03%3A04%3A05Z&se=2026-01-02T04%3A04%3A05Z", "2026-01-02T04:04:05", 3600),
        ("se=2026-01-02T04:04Z", "2026-01-02T04:04:00", None),
        ("se=2026-01-02", "2026-01-02T00:00:00", None),
        ("se=2026-01-02T04:04:05.1234567Z", "2026-01-02T04:04:05.123456", None),
        ("se=2026-01-02T05:04:05%2B01:00&st=soon", "2026-01-02T04:04:05", None),
        ("se=never", None, None),
        ("sig=x", None, None),
    ],
)
def test_what_a_query_says_about_its_life(query, end, length):
    found = access.life(access.parse(f"http://h/b?{query}"))
    assert found.end == (end and dt.datetime.fromisoformat(end).replace(tzinfo=dt.UTC))
    assert found.length == (length and dt.timedelta(seconds=length))


class Account:
    """A server with a clock in the test's hands, and URLs for its container."""

    START = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)

    def __init__(self, life):
        self.life = life
        self.boot = 0.0
        self.clock = serverclock.ServerClock(boottime=lambda: self.boot)
        self.asked = 0
        self.refusal = None
        self.opened = access.Access(access.parse(self.url()), self.source, clock=self.clock)
        self.clock.learn(email.utils.format_datetime(self.START, usegmt=True))

    def url(self):
        begin = self.START + dt.timedelta(seconds=self.boot)
        end = begin + dt.timedelta(seconds=self.life)
        return f"http://h/b?st={begin:%Y-%m-%dT%H:%M:%SZ}&se={end:%Y-%m-%dT%H:%M:%SZ}&sig={self.boot}"

    def source(self):
        self.asked += 1
        if self.refusal:
            raise self.refusal
        return self.url()


@pytest.mark.parametrize(("life", "due"), [(30, 23), (3600, 3301), (86400, 86101)])
def test_a_url_is_due_before_it_expires(life, due):
    account = Account(life)
    for boot, expected in [(0, False), (due - 2, False), (due, True), (life + 1, True)]:
        account.boot = boot
        assert account.opened.is_due() is expected, boot
        assert account.opened.is_expired() is (boot > life)
    account.opened.renew_ahead()
    assert not account.opened.is_due()
    assert not account.opened.is_expired()
    assert (account.asked, account.opened.current()[0]) == (1, 1)
    account.opened.renew_ahead()
    assert account.asked == 1


def test_nothing_is_judged_before_the_servers_time_is_known():
    """This host's own clock may be wrong by an hour."""
    opened = access.Access(access.parse("http://h/b?se=2001-01-01"), lambda: "http://h/b?new")
    assert not opened.is_due()
    assert not opened.is_expired()
    assert opened.left() is None


def test_a_literal_url_is_never_due():
    account = Account(30)
    opened = access.Access(access.parse(account.url()), clock=account.clock)
    account.boot = 29
    assert not opened.is_due()
    account.boot = 31
    assert opened.is_expired()


def test_a_source_that_fails_ahead_of_time_is_not_asked_at_every_request():
    account = Account(3600)
    account.boot = 3400
    account.refusal = errors.Problem(errors.TRY_AGAIN, "not now")
    with pytest.raises(errors.Problem, match="not now"):
        account.opened.renew_ahead()
    assert not account.opened.is_due()
    account.opened.renew_ahead()
    assert account.asked == 1
    account.boot += access.AHEAD_PAUSE
    assert account.opened.is_due()


def test_while_one_asks_the_others_go_on():
    """And the URL as it is can be read: it is still valid."""
    account = Account(30)
    account.boot = 25
    asking, answer = threading.Event(), threading.Event()
    ask = account.opened._source

    def slowly():
        asking.set()
        assert answer.wait(60)
        return ask()

    account.opened._source = slowly
    thread = threading.Thread(target=account.opened.renew_ahead)
    thread.start()
    assert asking.wait(60)
    account.opened.renew_ahead()
    assert account.opened.current()[0] == 0
    answer.set()
    thread.join(60)
    assert (account.asked, account.opened.current()[0]) == (1, 1)


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
