"""What a storage account says no with, from a peer that says it; what it does is tested against Azurite."""

import base64
import datetime as dt
import email.utils
import socket

import pytest

from tests.support import scripted
from tyger import errors
from tygerd import clock
from tygerd.identity import azure as identity
from tygerd.identity import kinds
from tygerd.stores import azuresdk, network, serverclock

KEY = base64.b64encode(b"k" * 64).decode()
KIND = kinds.Key(key_file="/etc/tyger/key")


def account(port, *, credential=None, server=None):
    return azuresdk.Account(
        "account",
        f"http://127.0.0.1:{port}/account",
        credential or identity.SharedKey("account", KEY),
        network=network.Network(),
        clock=server or serverclock.ServerClock(),
        kind=KIND,
    )


def says(status, code="", message="Because.", detail="", date=None):
    """A script: an answer of the Blob service."""
    inner = f"<Code>{code}</Code><Message>{message}\nRequestId:1\nTime:2</Message>"
    if detail:
        inner += f"<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>"
    body = f"<?xml version='1.0'?><Error>{inner}</Error>".encode() if code else b""
    headers = [b"Content-Type: application/xml", b"x-ms-error-code: " + code.encode(), b"Connection: close"]
    if date is not None:
        headers.append(b"Date: " + email.utils.format_datetime(date, usegmt=True).encode())
    return scripted.replying(scripted.answer(status, body, *headers))


def refusal(*scripts, operation="create", arguments=("abc",)):
    with scripted.Peer(*scripts, tcp=True) as peer:
        opened = account(peer.port)
        with pytest.raises(errors.Problem) as caught:
            getattr(opened, operation)(*arguments)
        opened.close()
    assert "\n" not in caught.value.message
    return caught.value.kind.code, caught.value.message


ADVICE = "copy the account's key to /etc/tyger/key again, then restart tygerd"
PREFIX = "the storage account account does not let us make a container: Because"


@pytest.mark.parametrize(
    ("status", "code", "kind", "hint"),
    [
        (403, "AuthenticationFailed", "Config", f"; {ADVICE}"),
        (401, "InvalidAuthenticationInfo", "Config", f"; {ADVICE}"),
        (403, "KeyBasedAuthenticationNotPermitted", "Config", "; the account allows no keys: configure a"),
        (
            403,
            "AuthorizationPermissionMismatch",
            "Forbidden",
            "; give the daemon's identity the role Storage Bl",
        ),
        (403, "AuthorizationFailure", "Forbidden", "; check the account's network rules and"),
        (403, "AccountIsDisabled", "Forbidden", "; check the account's network rules and"),
        (404, "ResourceNotFound", "Config", "; check the account's name and its endpoint"),
        (429, "TooManyRequests", "Unavailable", "; try again later"),
        (503, "ServerBusy", "Unavailable", "; try again later"),
        (500, "OperationTimedOut", "Unavailable", "; try again later"),
        (400, "OutOfRangeInput", "IOError", ""),
    ],
)
def test_refusals(status, code, kind, hint):
    found, message = refusal(says(status, code))
    assert found == kind
    assert message.startswith(f"{PREFIX} ({code}){hint}")


def test_the_reason_for_a_wrong_signature_is_told():
    words = "The MAC signature found is not the same."
    _, message = refusal(says(403, "AuthenticationFailed", "Server failed to authenticate.", words))
    assert (
        "Server failed to authenticate. The MAC signature found is not the same (AuthenticationFailed)"
        in message
    )


def test_azurite_says_it_with_another_code():
    words = "Server failed to authenticate the request. Make sure the value is formed correctly."
    code, message = refusal(says(403, "AuthorizationFailure", words))
    assert code == "Config"
    assert message.endswith(ADVICE)


def test_a_container_that_is_being_deleted():
    assert refusal(says(409, "ContainerBeingDeleted")) == (
        "TryAgain",
        "the storage account account is still deleting the container abc; try again in half a minute",
    )
    with scripted.Peer(says(409, "ContainerBeingDeleted"), says(404, "ContainerNotFound"), tcp=True) as peer:
        opened = account(peer.port)
        opened.delete("abc")
        opened.delete("abc")
        opened.close()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (409, "BlobAlreadyExists"),
        (412, "ConditionNotMet"),
        (403, "UnauthorizedBlobOverwrite"),
        (404, "ContainerNotFound"),
        (409, "ContainerBeingDeleted"),
    ],
)
def test_what_has_ended_or_is_gone_is_not_marked(status, code):
    with scripted.Peer(says(status, code), tcp=True) as peer:
        opened = account(peer.port)
        opened.mark_failed("abc")
        opened.close()
    asked = peer.requests[0]
    assert asked.head.startswith(b"PUT /account/abc/.bufferend ")
    assert b"\r\nIf-None-Match: *\r\n" in asked.head
    assert asked.body == b'{"status":"failed"}'


def test_a_mark_that_is_refused():
    code, message = refusal(says(503, "ServerBusy"), operation="mark_failed")
    assert code == "Unavailable"
    assert "does not let us mark a buffer as failed: Because (ServerBusy); try again later" in message


def test_a_lease_of_another():
    lease = ("abc", "01234567-89ab-cdef-0123-456789abcdef")
    assert refusal(says(409, "LeaseAlreadyPresent"), operation="acquire", arguments=(*lease, 15)) == (
        "Conflict",
        "another writer writes this buffer: it holds the lease of its start marker",
    )
    code, _ = refusal(says(404, "BlobNotFound"), operation="acquire", arguments=(*lease, 15))
    assert code == "NotFound"
    code, _ = refusal(says(503, "ServerBusy"), operation="acquire", arguments=(*lease, 15))
    assert code == "Unavailable"
    code, _ = refusal(says(503, "ServerBusy"), operation="release", arguments=lease)
    assert code == "Unavailable"
    for status, answer in [(409, "LeaseIdMismatchWithLeaseOperation"), (404, "BlobNotFound")]:
        with scripted.Peer(says(status, answer), tcp=True) as peer:
            opened = account(peer.port)
            opened.release(*lease)
            opened.close()


def test_nobody_answers():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and nobody else's, but nobody listens
        port = bound.getsockname()[1]
        opened = account(port)
        with pytest.raises(errors.Problem) as caught:
            opened.create("abc")
        opened.close()
    assert caught.value.kind is errors.UNAVAILABLE
    assert caught.value.message == (
        f"cannot make a container: the storage account account (127.0.0.1:{port}) does not answer:"
        " Connection refused; check the network"
    )


def test_a_server_that_hangs_up_is_asked_twice():
    code, message = refusal(scripted.hanging_up, scripted.hanging_up)
    assert code == "Unavailable"
    assert "does not answer: Remote end closed connection without response" in message


def test_a_host_that_nobody_knows():
    opened = azuresdk.Account(
        "wrong",
        "https://wrong.invalid",
        identity.SharedKey("wrong", KEY),
        network=network.Network(),
        clock=serverclock.ServerClock(),
        kind=KIND,
    )
    with pytest.raises(errors.Problem) as caught:
        opened.exists("abc")
    opened.close()
    assert caught.value.kind is errors.UNAVAILABLE
    assert caught.value.message.startswith(
        "cannot look for a container: the storage account wrong (wrong.invalid)"
    )
    assert caught.value.message.endswith("; check the account's name and the network")


# --- time ------------------------------------------------------------------------------------------------


def dates(peer):
    """When each request said that it was made."""
    lines = [line for asked in peer.requests for line in asked.head.split(b"\r\n")]
    return [
        email.utils.parsedate_to_datetime(line.partition(b": ")[2].decode())
        for line in lines
        if line.startswith(b"x-ms-date:")
    ]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_host_whose_clock_is_wrong(hours):
    """The first request is refused and tells the time; no other is, and URLs are valid at the server."""
    now = clock.now()
    wrong = serverclock.ServerClock(wall=lambda: clock.now() + dt.timedelta(hours=hours))
    refused = says(403, "AuthenticationFailed", "Server failed.", "Request date header too old", date=now)
    done = says(201, date=now)
    with scripted.Peer(refused, done, done, tcp=True) as peer:
        opened = account(peer.port, server=wrong)
        opened.create("abc")
        opened.create("abc")
        url = opened.url("abc", writeable=True, ttl=dt.timedelta(seconds=30))
        opened.close()
    first, second, third = dates(peer)
    assert abs((first - now).total_seconds() / 3600 - hours) < 0.1
    assert abs(second - now) < dt.timedelta(minutes=1)
    assert abs(third - now) < dt.timedelta(minutes=1)
    fields = dict(part.split("=") for part in url.partition("?")[2].split("&"))
    start, end = (dt.datetime.fromisoformat(fields[name].replace("%3A", ":")) for name in ("st", "se"))
    assert start <= clock.now() < end <= clock.now() + dt.timedelta(seconds=32)


def test_a_clock_that_is_right_is_no_excuse():
    code, _ = refusal(says(403, "AuthenticationFailed", date=clock.now()))
    assert code == "Config"


class Source:
    """Gives numbered tokens."""

    def __init__(self):
        self.given = 0

    def __call__(self):
        return self

    def get_token(self, *_, **__):
        self.given += 1
        return identity.Token(f"token{self.given}", int(clock.now().timestamp()) + 3600)


def test_a_token_goes_over_https_only():
    source = Source()
    with pytest.raises(ValueError, match="only supported with HTTPS"):
        account(1, credential=identity.Tokens(source))
    assert source.given == 0
