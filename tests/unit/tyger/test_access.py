"""What names a buffer, and a file whose URL is renewed, or is not."""

import pytest

from tyger import access, errors

BASE = "http+unix:///run/other.sock:/containers/abc"


def test_an_id():
    it = access.Access(buffer="abc")
    assert (it.name, it.is_url, it.fields()) == ("abc", False, {"buffer": "abc"})


@pytest.mark.parametrize(
    "base", [BASE, "https://me.blob.core.windows.net/abc", "http://127.0.0.1:1/devstoreaccount1/abc"]
)
def test_a_url_is_named_without_its_signature(base):
    it = access.Access(url=base + "?sig=secret")
    assert (it.name, it.is_url, it.fields()) == ("abc", True, {"url": base + "?sig=secret"})


def test_a_literal_url_is_not_renewed():
    with pytest.raises(errors.Problem, match="its own words; get another access URL") as caught:
        access.Access(url=BASE + "?sig=1").renewed("its own words")
    assert caught.value.exit_code == 77


def test_a_file_is_read_again(tmp_path):
    file = tmp_path / "url"
    file.write_text(BASE + "?sig=1&x=%2F\n")
    it = access.Access(url=BASE + "?sig=1&x=%2F", file=str(file))
    assert not it.renewed()
    assert str(file) in it.waiting
    assert "sig=" not in it.waiting
    file.write_text("https://elsewhere/def?sig=2&x=%2F \r\n")
    assert it.renewed()
    assert it.fields() == {"url": BASE + "?sig=2&x=%2F"}  # the buffer stays the one that was begun


@pytest.mark.parametrize("content", [None, "", "no url", BASE])
def test_a_file_that_has_none_for_now_has_not_changed(tmp_path, content):
    file = tmp_path / "url"
    if content is not None:
        file.write_text(content)
    assert not access.Access(url=BASE + "?sig=1", file=str(file)).renewed()


def test_patience_with_a_file_ends(tmp_path, monkeypatch):
    file = tmp_path / "url"
    file.write_text(BASE + "?sig=1")
    it = access.Access(url=BASE + "?sig=1", file=str(file))
    assert not it.renewed()
    monkeypatch.setattr(access, "PAUSE", 0)
    assert not it.renewed(ahead=access.AHEAD)
    with pytest.raises(errors.Problem, match=r"^access URL from file .*/url has not changed after 10 att"):
        it.renewed()
    file.write_text(BASE + "?sig=2")
    assert it.renewed()
    monkeypatch.undo()
    assert not it.renewed()
