"""The login state file: where it is, what is read, and the very bytes that are written."""

import os
import socket
import stat

import hypothesis
import pytest
import yaml
from hypothesis import strategies

from tyger import errors, loginstate

HOME = {"HOME": "/home/u"}


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        (HOME, "/home/u/.cache/tyger/.tyger"),
        (HOME | {"XDG_CACHE_HOME": "/c"}, "/c/tyger/.tyger"),
        (HOME | {"XDG_CACHE_HOME": "c"}, "/home/u/.cache/tyger/.tyger"),
        (HOME | {"XDG_CACHE_HOME": "/c", "TYGER_CACHE_FILE": "/f"}, "/f"),
        (HOME | {"TYGER_CACHE_FILE": ""}, "/home/u/.cache/tyger/.tyger"),
        ({}, os.path.expanduser("~/.cache/tyger/.tyger")),
    ],
)
def test_where_it_is(environ, path):
    assert loginstate.path(environ) == path


def test_a_relative_path_is_the_working_directorys():
    assert loginstate.path({"TYGER_CACHE_FILE": "f"}) == os.path.join(os.getcwd(), "f")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {"serverUrl": ""}),
        ('serverUrl: ""\n', {"serverUrl": ""}),
        ("serverUrl: ''", {"serverUrl": ""}),
        ("serverUrl:\n", {"serverUrl": ""}),
        # as the contract writes it, and as YAML wants it
        ("serverUrl: http+unix:///opt/tyger/api.sock:\n", {"serverUrl": "http+unix:///opt/tyger/api.sock:"}),
        ("serverUrl: 'http+unix:///a:'\nproxy: auto\n", {"serverUrl": "http+unix:///a:", "proxy": "auto"}),
        ('serverUrl: "http+unix:///a:"\r\n', {"serverUrl": "http+unix:///a:"}),
        ("serverUri: https://a\n", {"serverUrl": "https://a"}),
        ("serverUri: https://a\nserverUrl: https://b\n", {"serverUrl": "https://b"}),
        ("serverUri: https://a\nserverUrl: ''\n", {"serverUrl": "https://a"}),
        ("# a\n---\n\nserverUrl: https://a # b\n", {"serverUrl": "https://a"}),
        (
            "lastTokenExpiration: 17\ngithub: true\nother: x\n",
            {"serverUrl": "", "lastTokenExpiration": 17, "github": True, "other": "x"},
        ),
        ("tlsCaCertificates: |\n  A\n  B\nserverUrl: x\n", {"tlsCaCertificates": "A\nB\n", "serverUrl": "x"}),
        ("tlsCaCertificates: |-\n  A\n", {"tlsCaCertificates": "A", "serverUrl": ""}),
        ("principal: it''s\n", {"principal": "it''s", "serverUrl": ""}),
        ("principal: 'it''s'\n", {"principal": "it's", "serverUrl": ""}),
        # what only a parser of all YAML understands
        ('principal: "a\\u00e9"\n', {"principal": "a\u00e9", "serverUrl": ""}),
        ("principal: two\n  lines\n", {"principal": "two lines", "serverUrl": ""}),
        ("other: {a: b}\nserverUrl: x\n", {"serverUrl": "x"}),
        ("other:\n- a\nserverUrl: x\n", {"serverUrl": "x"}),
        ("other:\n  a: b\nserverUrl: x\n", {"serverUrl": "x"}),
        ("{serverUrl: x}", {"serverUrl": "x"}),
        ("\ufeffserverUrl: x\n", {"serverUrl": "x"}),
    ],
)
def test_what_is_read(tmp_path, text, values):
    file = tmp_path / "f"
    file.write_bytes(text.encode())
    assert loginstate.read(str(file)) == values


def test_no_file_is_no_login(tmp_path):
    assert loginstate.read(str(tmp_path / "f")) is None
    assert loginstate.read(str(tmp_path / "d/f")) is None
    (tmp_path / "f").write_text("")
    assert loginstate.read(str(tmp_path / "f/g")) is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff", "not UTF-8"),
        (b"a: b: c\n", "line 1: mapping values are not allowed here"),
        (b"- a\n", "not a mapping"),
        (b"text", "not a mapping"),
        (b"serverUrl: 7\n", "serverUrl is no text"),
        (b"serverUrl: true\n", "serverUrl is no text"),
        (b"serverUrl: a\nserverUrl: b\n", "line 2: the key serverUrl stands twice"),
        (b"a: " + b"[" * 5000, "more brackets than any login file"),
        (b"a: \x01\n", "login file"),
        *(
            (b"a: !!" + value, "a value is not of the type that it names")
            for value in (b'int ""', b'float ""', b"bool x", b"timestamp x")
        ),
        (b" " * (loginstate.LARGEST + 1), "longer than 1 MiB"),
    ],
)
def test_a_file_that_says_nonsense(tmp_path, data, why):
    file = tmp_path / "f"
    file.write_bytes(data)
    with pytest.raises(errors.Problem, match=why) as caught:
        loginstate.read(str(file))
    assert caught.value.kind is errors.CONFIG
    assert "\n" not in caught.value.message
    assert "'tyger login' and 'tyger logout' write a new one" in caught.value.message


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    """A login of root's with TYGER_CACHE_FILE=/dev/null must not take the machine's /dev/null away."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for special in (fifo, tmp_path / "socket"):
            with pytest.raises(errors.Problem, match="it is no regular file; name another") as caught:
                loginstate.write(str(special), {"serverUrl": "unix:///s"})
            assert caught.value.kind is errors.CONFIG
    assert fifo.is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["fifo", "socket"]


def test_what_cannot_be_read_or_written(tmp_path):
    for read_or_write in (loginstate.read, lambda file: loginstate.write(file, {})):
        for name in (str(tmp_path), "a\0b"):
            with pytest.raises(errors.Problem, match="login file") as caught:
                read_or_write(name)
            assert caught.value.kind is errors.CONFIG
    assert os.listdir(tmp_path) == []


def test_what_is_written(tmp_path):
    file = tmp_path / "new/dir/.tyger"
    loginstate.write(
        str(file),
        {
            "serverUrl": "http+unix:///a:",
            "proxy": "auto",
            "authority": "",
            "github": False,
            "managedIdentity": True,
            "lastTokenExpiration": 7,
            "principal": "it's",
            "tlsCaCertificates": "A\nB\n",
            "audience": "yes",
            "aaa": "tab\there",
        },
    )
    assert file.read_text() == (
        'aaa: "tab\\x09here"\n'
        "audience: 'yes'\n"
        "lastTokenExpiration: 7\n"
        "managedIdentity: true\n"
        "principal: 'it''s'\n"
        "proxy: auto\n"
        "serverUrl: 'http+unix:///a:'\n"
        "tlsCaCertificates: |\n  A\n  B\n"
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == [".tyger"]


def test_logged_out(tmp_path):
    loginstate.write(str(tmp_path / "f"), {})
    assert (tmp_path / "f").read_text() == 'serverUrl: ""\n'


def test_a_file_that_is_replaced_keeps_no_mode_and_a_failure_keeps_the_file(tmp_path):
    file = tmp_path / "f"
    file.write_text("serverUrl: old\n")
    file.chmod(0o644)
    with pytest.raises(UnicodeEncodeError):
        loginstate.write(str(file), {"serverUrl": "\udcff"})
    assert (file.read_text(), os.listdir(tmp_path)) == ("serverUrl: old\n", ["f"])
    loginstate.write(str(file), {"serverUrl": "new"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


TEXTS = strategies.text(
    strategies.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff"), max_size=40
)
VALUES = strategies.one_of(TEXTS, strategies.booleans(), strategies.integers(-9, 10**12))


@hypothesis.given(strategies.dictionaries(strategies.sampled_from(loginstate.KEYS), VALUES))
@hypothesis.settings(max_examples=25, deadline=None)
def test_what_is_written_is_read_again_here_and_by_others(tmp_path_factory, values):
    file = tmp_path_factory.getbasetemp() / "login"
    values = values | {"serverUrl": str(values.get("serverUrl", ""))}
    loginstate.write(str(file), values)
    kept = {
        name: value for name, value in values.items() if value not in ("", 0, False) or name == "serverUrl"
    }
    assert loginstate.read(str(file)) == kept
    assert yaml.safe_load(file.read_text()) == kept
