"""What a fake daemon is made of: requests, refusals, and buffers in memory."""

import json
import os
import queue
import threading
from urllib.parse import parse_qsl, unquote, urlsplit

CREATED = "2026-01-02T03:04:05.678901+00:00"


class Request:
    def __init__(self, method, target, headers, body, fds, sock):
        parts = urlsplit(target)
        self.method, self.path = method, unquote(parts.path)
        self.query = [
            pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "api-version"
        ]
        self.headers, self.raw_body, self.fds, self.sock = headers, body, fds, sock

    @property
    def body(self):
        return json.loads(self.raw_body) if self.raw_body else None

    def asked(self, name, default=None):
        return dict(self.query).get(name, default)


class Failure(Exception):  # noqa: N818 - an answer, not an error of the test
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.body = status, {"error": {"code": code, "message": message}}


def not_found():
    return Failure(404, "NotFound", "The resource was not found")


class Gone(Exception):  # noqa: N818 - the test is over
    """Ends a thread that still waited for something."""


class Buffer:
    """Bytes that grow until the buffer is complete or failed."""

    def __init__(self, name):
        self.name, self.data, self.state, self.reason = name, bytearray(), "new", None
        self.changed = threading.Condition()
        self.gone = False
        self.spooled = self.told = False
        self.transfer, self.sayings = "", queue.SimpleQueue()
        self.nudge = os.eventfd(0, os.EFD_NONBLOCK)
        """Readable once anything has changed, for whoever waits for descriptors, too."""

    def __del__(self):
        os.close(self.nudge)

    def say(self, **event):
        """Let the open answer of its write say this next; `failed` is its last word."""
        self.sayings.put(event)
        os.eventfd_write(self.nudge, 1)

    def ship(self):
        """All of it has arrived at its store."""
        self.update(state="complete")

    def update(self, data=b"", state=None, reason=None):
        with self.changed:
            self.data += data
            if state and self.state not in ("complete", "failed"):
                self.state, self.reason = state, reason
            self.changed.notify_all()
        os.eventfd_write(self.nudge, 1)

    def wait(self, ready):
        with self.changed:
            assert self.changed.wait_for(lambda: ready() or self.gone, 60)
            if not ready():
                raise Gone

    def leave(self):
        with self.changed:
            self.gone = True
            self.changed.notify_all()
        os.eventfd_write(self.nudge, 1)

    @property
    def ended(self):
        return self.state in ("complete", "failed")
