"""A write by access URL, and the URL renewed while it lasts."""

import pytest

from tests.support import scripted, scriptedwrites
from tyger import access, client, errors, writing

ATTACHED = scriptedwrites.ATTACHED
COMPLETE = scriptedwrites.COMPLETE

URL = "http+unix:///run/other.sock:/containers/abc"
EXPIRED = scripted.answer(403, b'{"error":{"code":"AccessExpired","message":"Signature not valid"}}')


@pytest.fixture
def renewable(tmp_path):
    """A file with an access URL, which is renewed as soon as somebody waits for that."""
    file = tmp_path / "url"
    file.write_text(f"{URL}?sig=1")
    there = access.Access(url=f"{URL}?sig=1", file=str(file), look=0.001)
    return there, lambda moved: _renew(file, moved)


def _renew(file, moved):
    if moved.waiting and "the access URL has expired" in moved.waiting:
        assert "sig=" not in moved.waiting
        file.write_text(f"{URL}?sig=2")


def write_url(peer, there, fd, stop, **options):
    return writing.write(
        client.Client(peer.path), there, fd, verdict=lambda: ("complete", None), stop=stop, **options
    )


RENEW = {"event": "renew"}


def test_a_url_that_has_expired_is_renewed_from_its_file(pipe, stop, renewable, held):
    there, on_progress = renewable
    with scripted.Peer(
        scriptedwrites.attaching(held, RENEW), scriptedwrites.hearing(held, [], COMPLETE)
    ) as peer:
        assert write_url(peer, there, pipe[0], stop, on_progress=on_progress).state == "complete"
    begun = scriptedwrites.body(peer.requests[0])
    assert (begun["url"], begun["renewable"]) == (f"{URL}?sig=1", True)
    assert scriptedwrites.target(peer.requests[1]) == f"/transfers/{begun['id']}/access"
    assert scriptedwrites.body(peer.requests[1]) == {"url": f"{URL}?sig=2"}


def test_a_new_daemon_is_offered_the_url_that_we_have(pipe, stop, renewable, held):
    there, on_progress = renewable

    def cut(connection):
        scriptedwrites.events(connection, ATTACHED)

    with scripted.Peer(
        cut, scriptedwrites.attaching(held, RENEW), scriptedwrites.hearing(held, [], COMPLETE)
    ) as peer:
        write_url(peer, there, pipe[0], stop, on_progress=on_progress)
    assert scriptedwrites.body(peer.requests[-1]) == {"url": f"{URL}?sig=1"}


def test_a_url_that_had_expired_before(pipe, stop, renewable):
    there, on_progress = renewable
    with scripted.Peer(scripted.replying(EXPIRED), *scriptedwrites.completing([])) as peer:
        assert write_url(peer, there, pipe[0], stop, on_progress=on_progress).state == "complete"
    assert [scriptedwrites.body(request)["url"] for request in peer.requests[:2]] == [
        f"{URL}?sig=1",
        f"{URL}?sig=2",
    ]


def test_a_literal_url_that_expires(pipe, stop, held):
    with (
        scripted.Peer(scriptedwrites.attaching(held, RENEW), scriptedwrites.hearing(held, [])) as peer,
        pytest.raises(errors.Problem, match="the access URL has expired") as caught,
    ):
        write_url(peer, access.Access(url=f"{URL}?sig=1"), pipe[0], stop)
    assert caught.value.exit_code == 77
    assert scriptedwrites.body(peer.requests[1])["outcome"] == "failed"
    assert "renewable" not in scriptedwrites.body(peer.requests[0])


def test_stopping_while_a_url_is_waited_for(pipe, stop, tmp_path):
    file = tmp_path / "url"
    file.write_text(f"{URL}?sig=1")
    there = access.Access(url=f"{URL}?sig=1", file=str(file))
    refused = scripted.answer(404, b"{}")
    with scripted.Peer(scripted.replying(EXPIRED), scripted.replying(refused)) as peer:
        result = write_url(peer, there, pipe[0], stop, on_progress=lambda _: stop.request("enough"))
    assert result[:3] == ("stopped", 0, "enough")
