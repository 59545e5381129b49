"""Requests as handlers see them."""

import os

from tygerd.http import messages
from tygerd.osutil import fds


def test_names_are_compared_in_any_case_and_keep_their_order():
    query = messages.Fields([("tag[A]", "1"), ("Limit", "5"), ("TAG[a]", "2"), ("limit", "")])
    assert query.get("limit") == "5"
    assert query.all("tag[a]") == ["1", "2"]
    assert query.get("nothing") is None
    assert query.get("nothing", "x") == "x"
    assert "LIMIT" in query
    assert "x" not in query
    assert [name for name, _ in query] == ["tag[A]", "Limit", "TAG[a]", "limit"]


def test_values_are_not_shown_by_accident():
    assert "secret" not in repr(messages.Fields([("sig", "secret")]))


async def test_a_request_without_a_socket_has_nothing():
    request = messages.Request("GET", "/")
    assert [piece async for piece in request.data] == []
    assert request.peer.uid == 0xFFFFFFFF


def test_descriptors_are_taken_once():
    reading, writing = os.pipe()
    os.close(writing)
    with fds.OwnedFd(reading) as fd:
        request = messages.Request("POST", "/", fds=[fd])
        assert request.take_fds() == [fd]
        assert request.take_fds() == request.fds == []
