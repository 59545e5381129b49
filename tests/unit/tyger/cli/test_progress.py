"""Numbers as people read them, records and the live line's parts."""

import pytest

from tyger import streams
from tyger.cli import output, progress


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0B"),
        (999, "999B"),
        (1024, "1.0KiB"),
        (3.4 * 2**30, "3.4GiB"),
        (34 * 2**30, "34GiB"),
        (9.96 * 2**20, "10MiB"),
        (9.94 * 2**20, "9.9MiB"),
        (1023.99 * 2**20, "1024MiB"),
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


def moved(count, waiting=None, shipped=None):
    return streams.Moved(count, waiting, shipped)


def test_a_transfer_in_records(capfd):
    board = progress.Board(output.Console({}), drawn=True)
    assert not board.drawn  # standard error is no terminal here
    meter = progress.Meter(board, "write", buffer="b")
    meter(moved(0))
    assert capfd.readouterr().err == ""
    meter(moved(10))
    assert capfd.readouterr().err.endswith(" INF Transfer starting buffer=b\n")
    meter(moved(20, "the disk is full"))
    meter(moved(20, "the disk is full"))
    assert capfd.readouterr().err.endswith(' WRN Transfer waits buffer=b reason="the disk is full"\n')
    meter.complete(2048)
    assert "Transfer complete avgThroughput=" in (said := capfd.readouterr().err)
    assert "totalCompletedData=2.0KiB" in said


def test_progress_is_recorded_once_a_second_and_only_on_change(capfd):
    meter = progress.Meter(progress.Board(output.Console({}), drawn=False), "read")
    meter(moved(1))
    capfd.readouterr()
    meter._recorded -= 2
    meter(moved(4097))
    assert "INF Transfer progress throughput=" in capfd.readouterr().err
    meter(moved(9000))
    meter._recorded -= 2
    meter(moved(4097))
    assert capfd.readouterr().err == ""


def test_shipping_goes_on_when_all_is_captured(capfd):
    meter = progress.Meter(progress.Board(output.Console({}), drawn=False), "write")
    for shipped in (10, 10, 2048):
        meter(moved(4096, shipped=shipped))
        meter._recorded -= 2
    said = capfd.readouterr().err.splitlines()
    assert [line.rpartition("shippedData=")[2].split()[0] for line in said[1:]] == ["10B", "2.0KiB"]


def test_what_it_waits_for_is_told_once_a_kind(capfd):
    meter = progress.Meter(progress.Board(output.Console({}), drawn=False), "write")
    for number in range(50):
        meter(moved(0, f"retrying block {number} after 503 ServerBusy"))
        meter(moved(0))
    meter(moved(0, "offline since 13:04:12 UTC: connection refused"))
    said = capfd.readouterr().err
    assert said.count("WRN Transfer waits") == 2
    assert "offline since 13:04:12 UTC: connection refused" in said
    meter._warned = (meter._warned[0], meter._warned[1] - progress.REPEAT_EVERY)
    meter(moved(0, "offline since 13:04:12 UTC: no route to host"))
    assert capfd.readouterr().err == ""  # it still does
    meter(moved(0))
    meter(moved(0, "offline since 13:06:00 UTC: connection refused"))
    assert "offline since 13:06:00" in capfd.readouterr().err


def test_a_reader_that_waits_for_its_writer_is_no_warning(capfd):
    screen = Screen()
    meter = progress.Meter(progress.Board(screen, drawn=True), "read")
    meter(moved(0, "its writer"))
    assert capfd.readouterr().err == ""
    assert screen.shown == ["read 0B 0bps waits: its writer"]


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
    meter(moved(1024, shipped=1))
    meter.complete(2048)
    board.set("run", "")
    board.close()
    board.set("run", "too late")
    assert screen.shown == [
        "run 7 Running",
        "run 7 Running  input 1.0KiB 0bps shipped 1B",
        "run 7 Running  input 2.0KiB done",
        "input 2.0KiB done",
        "",
    ]
