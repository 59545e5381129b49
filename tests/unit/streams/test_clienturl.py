"""Access URLs of clients: kept, found again, replaced, asked for; never readable by others."""

import os

import pytest
import trio

from tyger import errors
from tygerd.streams import clienturl

URL = "http+unix:///run/other.sock:/containers/buffer1?sig=one"


def nobody():
    raise AssertionError("nobody should be asked")


def test_it_is_found_again_and_is_a_secret(tmp_path):
    clienturl.remember(str(tmp_path), URL, renewable=True)
    kept = clienturl.ClientUrl.recall(str(tmp_path), nobody)
    assert (kept.renewable, kept.access().url.query) == (True, "sig=one")
    assert os.stat(tmp_path / clienturl.FILE).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b'{"url": "x"}', b"[]"])
def test_one_that_cannot_be_read_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / clienturl.FILE).write_bytes(content)
    with pytest.raises(errors.Problem, match="access URL of the transfer cannot be read"):
        clienturl.ClientUrl.recall(str(tmp_path), nobody)


def test_another_one_is_kept_too_and_must_lead_to_the_same_buffer(tmp_path):
    url = clienturl.ClientUrl(str(tmp_path), URL, renewable=True, ask=nobody)
    with pytest.raises(errors.Problem, match="leads to another buffer"):
        url.replace(URL.replace("buffer1", "buffer2"))
    with pytest.raises(errors.Problem, match="must be a URL"):
        url.replace("nonsense")
    url.replace(URL.replace("one", "two"))
    assert clienturl.ClientUrl.recall(str(tmp_path), nobody).access().url.query == "sig=two"


async def test_the_client_is_asked_when_it_is_needed(tmp_path):
    asked = []
    url = clienturl.ClientUrl(str(tmp_path), URL, renewable=True, ask=lambda: asked.append(1))
    opened = url.access()
    generation, _ = opened.current()
    assert not await trio.to_thread.run_sync(opened.renew, generation)
    assert asked == [1]
    url.replace(URL.replace("one", "two"))
    assert await trio.to_thread.run_sync(opened.renew, generation)
    assert opened.url.query == "sig=two"


def test_a_literal_one_has_no_source(tmp_path):
    url = clienturl.ClientUrl(str(tmp_path), URL, renewable=False, ask=nobody)
    assert not url.access().renewable
