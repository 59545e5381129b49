"""What keeps a daemon from leaving by itself."""

import dataclasses

from tygerd.api import context
from tygerd.streams import transfers


class Service:
    """Transfers and runs with so much to do."""

    def __init__(self, *figures):
        self.figures = figures

    def statistics(self):
        return transfers.Statistics(*self.figures, shipping=5, bytes_written=5, bytes_read=5, bytes_spooled=5)

    def unfinished(self):
        return self.figures[0]


def app(writing, reading, suspended, runs):
    names = [field.name for field in dataclasses.fields(context.App)]
    parts = dict.fromkeys(names) | {"transfers": Service(writing, reading, suspended), "runs": Service(runs)}
    return context.App(**parts)


def test_transfers_and_runs_count():
    assert app(0, 0, 0, 0).unfinished() == 0
    assert app(1, 2, 3, 4).unfinished() == 10
