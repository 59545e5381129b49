"""Numbers as people read them, records and the live line's parts."""

import pytest

from tyger.cli import output, progress


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0B"),
        (999, "999B"),
        (1024, "1.0KiB"),
        (3.4 * 2**30, "3.4GiB"),
        (34 * 2**30, "34GiB"),
        (2**70, "1024EiB"),
    ],
)
def test_bytes(count, shown):
    assert progress.binary(count) == shown


@pytest.mark.parametrize(
    ("rate", "shown"), [(0, "0bps"), (150e6, "1.2Gbps"), (1e6, "8.0Mbps"), (125, "1.0kbps")]
)
def test_rates(rate, shown):
    assert progress.bits(rate) == shown


def test_a_transfer_in_records(capfd):
    board = progress.Board(output.Console({}), drawn=True)
    assert not board.drawn  # standard error is no terminal here
    meter = progress.Meter(board, "write", buffer="b")
    meter(0, None)
    assert capfd.readouterr().err == ""
    meter(10, None)
    assert capfd.readouterr().err.endswith(" INF Transfer starting buffer=b\n")
    meter(20, "the disk is full")
    meter(20, "the disk is full")
    assert capfd.readouterr().err.endswith(' WRN Transfer waits buffer=b reason="the disk is full"\n')
    meter.complete(2048)
    assert "Transfer complete avgThroughput=" in (said := capfd.readouterr().err)
    assert "totalCompletedData=2.0KiB" in said


def test_progress_is_recorded_once_a_second_and_only_on_change(capfd):
    meter = progress.Meter(progress.Board(output.Console({}), drawn=False), "read")
    meter(1, None)
    capfd.readouterr()
    meter._recorded = (meter._recorded[0] - 2, 1)
    meter(1, None)
    assert capfd.readouterr().err == ""
    meter(4097, None)
    assert "INF Transfer progress throughput=" in capfd.readouterr().err


class Screen(output.Console):
    """A console that remembers its live line instead of drawing it."""

    def __init__(self):
        super().__init__({})
        self.shown = []

    has_live_line = True

    def live(self, text):
        self.shown.append(text)


def test_the_live_line_has_all_parts():
    screen = Screen()
    board = progress.Board(screen, drawn=True)
    board.set("run", "run 7 Running")
    meter = progress.Meter(board, "input")
    meter(1024, None)
    meter.complete(2048)
    board.set("run", "")
    board.close()
    board.set("run", "too late")
    assert screen.shown == [
        "run 7 Running",
        "run 7 Running  input 1.0KiB 0bps",
        "run 7 Running  input 2.0KiB done",
        "input 2.0KiB done",
        "",
    ]
