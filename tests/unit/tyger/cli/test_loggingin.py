"""What the server is asked before a login is kept. The rest is in test_login.py."""

import pytest

from tests.support import scripted
from tyger import addresses, errors
from tyger.cli import loggingin


def test_metadata_of_a_server():
    with scripted.Peer(scripted.replying(scripted.answer(200, b'{"capabilities":["x"]}'))) as peer:
        assert loggingin.metadata(addresses.of_socket(peer.path)) == {"capabilities": ["x"]}


@pytest.mark.parametrize("body", [b"", b"[1]", b"[" * 100_000, b"\xff", b"{"])
def test_what_is_no_metadata(body):
    with (
        scripted.Peer(*[scripted.replying(scripted.answer(200, body))] * 2) as peer,
        pytest.raises(
            errors.Problem, match="does not appear to point to a valid tyger server: 200; "
        ) as caught,
    ):
        loggingin.metadata(addresses.of_socket(peer.path))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
