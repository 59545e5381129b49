"""For the tests of the client's half of a write: what a scripted daemon says and hears in one."""

import json
import os

from tests.support import scripted
from tyger import access, client, writing


def events(connection, *said):
    connection.read_request().say(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
    for event in said:
        connection.chunk(json.dumps(event).encode() + b"\n")


def body(connection):
    return json.loads(connection.body)


def target(connection):
    return connection.head.split(b" ")[1].decode().partition("?")[0]


ATTACHED = {"event": "attached"}
BUF = access.Access(buffer="buf")
COMPLETE = {"event": "complete", "bytes": 5, "blocks": 2}


def completing(said, *before, to_the_end=False):
    """Two scripts: the attachment, and the outcome that lets it end; what was said is put in `said`.

    The first takes the pipe `to_the_end` before it says so; else it says so at once.
    """
    attachments = []

    def attachment(connection):
        if to_the_end:
            through(connection, *before)
        else:
            events(connection, ATTACHED, *before, {"event": "eof", "bytes": 5})
        # The outcome comes on a connection of its own, which this thread must play first.
        connection.sock = connection.sock.dup()
        attachments.append(connection)

    def outcome(connection):
        connection.read_request()
        said.append(body(connection))
        connection.say(scripted.answer(200, b"{}"))
        attachments[0].chunk(json.dumps(COMPLETE).encode() + b"\n")
        attachments[0].sock.close()

    return attachment, outcome


PATIENT = writing.Pace(eof_grace=3600, again=3600, remark=3600)
"""Nothing is said because time has gone by."""


def write(peer, fd, stop, verdict=lambda: ("complete", None), target=BUF, pace=PATIENT, **options):
    return writing.write(
        client.Client(peer.path), target, fd, verdict=verdict, stop=stop, pace=pace, **options
    )


def through(connection, *said):
    """A script's first half: attach, take the pipe to its end, say so."""
    events(connection, ATTACHED)
    with os.fdopen(os.dup(connection.fds[0]), "rb") as file:
        connection.taken = file.read()
    for event in (*said, {"event": "eof", "bytes": len(connection.taken)}):
        connection.chunk(json.dumps(event).encode() + b"\n")


class Held:
    """An open answer that outlives its script, which has to end before the next connection is played."""

    def __init__(self):
        self.sock = None

    def hold(self, connection):
        self.sock = connection.sock = connection.sock.dup()
        self._chunk = connection.chunk

    def say(self, *said):
        for event in said:
            self._chunk(json.dumps(event).encode() + b"\n")


def taking(held, *said):
    """A script: attach, take the pipe to its end, say that and more."""

    def attachment(connection):
        through(connection, *said)
        held.hold(connection)

    return attachment


def attaching(held, *said):
    """A script: attach, and say something, without a look at the pipe."""

    def attachment(connection):
        events(connection, ATTACHED, *said)
        held.hold(connection)

    return attachment


def hearing(held, said, *last, answer=b"{}", status=200):
    """A script: hear the outcome, or another access URL, then let the open answer say `last`."""

    def hear(connection):
        connection.read_request()
        said.append(body(connection))
        connection.say(scripted.answer(status, answer))
        held.say(*(event or {"event": "failed", "reason": said[-1]["reason"]} for event in last))

    return hear


AS_TOLD = None
"""For `hearing`: fail for the reason that was told."""
