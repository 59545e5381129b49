"""The clock by which a connection judges silence, in a test's hands: a busy machine is no dead peer.

A connection looks at it when something has moved, and again and again while nothing does.
"""

import threading

from tygerd.stores import connection


class Clock:
    """Stands still, but for `step` seconds at each look and for what the test lets pass."""

    def __init__(self):
        self.step = 0.0
        self.now = 0.0
        self._looks = 0
        self._looked = threading.Condition()
        self._watched = True

    def monotonic(self):
        """For the connection."""
        with self._looked:
            self.now += self.step
            self._looks += 1
            self._looked.notify_all()
            return self.now

    def passes(self, seconds):
        """Let time pass once the connection has seen what has moved; at once when it sees to nothing more."""
        with self._looked:
            looks = self._looks + 2
            assert self._looked.wait_for(lambda: self._looks >= looks or not self._watched, 60)
            self.now += seconds

    def watch(self, watched):
        """Say whether the connection looks."""
        with self._looked:
            self._watched = watched
            self._looked.notify_all()


def clock(monkeypatch):
    """One for all connections of this process, which look at it a hundred times a second."""
    made = Clock()
    monkeypatch.setattr(connection, "time", made)
    monkeypatch.setattr(connection, "TICK", 0.01)
    return made
