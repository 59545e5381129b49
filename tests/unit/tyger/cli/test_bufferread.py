"""`tyger buffer read` to pipes and files, with real processes and signals."""

import signal

import pytest

from tests.support import cli


def test_a_buffer_is_read(daemon):
    daemon.buffer("b", b"x" * 200_000)
    done = cli.run(daemon.path, "buffer", "read", "b")
    assert (done.code, done.out) == (0, b"x" * 200_000)
    assert "Transfer complete" in done.err


def test_into_a_file(daemon, tmp_path):
    daemon.buffer("b", b"abc")
    (tmp_path / "f").write_bytes(b"longer than before")
    done = cli.run(daemon.path, "buffer", "read", "b", "--output", str(tmp_path / "f"))
    assert (done.code, done.out, (tmp_path / "f").read_bytes()) == (0, b"", b"abc")


def test_appended_to_a_file(daemon, tmp_path):
    daemon.buffer("b", b"abc")
    (tmp_path / "f").write_bytes(b"0")
    with open(tmp_path / "f", "ab") as file:
        assert cli.run(daemon.path, "buffer", "read", "b", stdout=file).code == 0
    assert (tmp_path / "f").read_bytes() == b"0abc"


def test_a_failed_buffer(daemon):
    daemon.buffer("b", b"abc", "failed")
    done = cli.run(daemon.path, "buffer", "read", "b")
    assert (done.code, done.out) == (74, b"abc")
    assert "FTL Failed to read buffer" in done.err


def test_a_full_disk_under_the_output(daemon):
    daemon.buffer("b", b"abc")
    with open("/dev/full", "wb") as full:
        done = cli.run(daemon.path, "buffer", "read", "b", stdout=full)
    assert done.code == 74
    assert "cannot write the output: No space left on device" in done.err


def test_a_reader_that_goes_away_while_nothing_comes(daemon):
    daemon.buffer("b", b"abc", state=None)
    with cli.start(daemon.path, "buffer", "read", "b") as process:
        assert process.stdout.read(3) == b"abc"
        process.stdout.close()
        assert process.wait(60) == 128 + signal.SIGPIPE
        assert "FTL" not in process.stderr.read().decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_read(daemon, number):
    daemon.buffer("b", b"abc", state=None)
    with cli.start(daemon.path, "buffer", "read", "b") as process:
        assert process.stdout.read(3) == b"abc"
        process.send_signal(number)
        assert process.wait(60) == cli.ended_by(number)
        assert "FTL Failed to read buffer" in process.stderr.read().decode()


# --- parts -----------------------------------------------------------------------------------------------

DATA = bytes(range(256)) * 1000


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--head", "10"], slice(0, 10)),
        (["--head", "1KiB"], slice(0, 1024)),
        (["--head", "0"], slice(0, 0)),
        (["--head", "1GiB"], slice(0, None)),
        (["--range", "0-0"], slice(0, 1)),
        (["--range", "5-99"], slice(5, 100)),
        (["--range=100KiB-"], slice(102400, None)),
        (["--range", "1KiB-2KiB"], slice(1024, 2049)),
        (["--range", "255999-"], slice(255999, None)),
        (["--range", "256000-"], slice(0, 0)),
        (["--range", "1TiB-2TiB"], slice(0, 0)),
        (["--range", "255000-1TiB"], slice(255000, None)),
    ],
)
def test_a_part(daemon, arguments, part):
    daemon.buffer("b", DATA)
    done = cli.run(daemon.path, "buffer", "read", "b", *arguments)
    assert (done.code, done.out) == (0, DATA[part])


def test_the_head_of_a_buffer_that_goes_on_is_not_waited_for(daemon):
    daemon.buffer("b", b"abc", state=None)
    assert cli.run(daemon.path, "buffer", "read", "b", "--head", "2").out == b"ab"
    assert cli.run(daemon.path, "buffer", "read", "b", "--no-follow").out == b"abc"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--head", "1", "--range", "0-1"], "--head and --range exclude each other"),
        (["--head", "-1"], 'invalid argument "-1" for "--head" flag: it cannot be negative'),
        (["--head", "x"], "units: "),
        (["--range", "5"], "give FROM-TO, such as 0-99"),
        (["--range=-5"], "give FROM-TO"),
        (["--range", "9-5"], "it ends before it begins: byte 5 comes before byte 9"),
        (["--range", "1-2-3"], "units: "),
        (["--range", "a-b"], "units: "),
    ],
)
def test_no_part(daemon, arguments, why):
    done = cli.run(daemon.path, "buffer", "read", "b", *arguments)
    assert done.code == 64
    assert why in done.err
    assert daemon.requests == []


# --- waiting, coming back, access URLs -------------------------------------------------------------------


def test_what_a_quiet_read_waits_for_is_told(daemon):
    buffer = daemon.buffer("b", b"abc", state=None)
    with cli.start(daemon.path, "buffer", "read", "b") as process:
        assert process.stdout.read(3) == b"abc"
        (reading,) = daemon.transfers
        daemon.change(reading, waiting="its writer is away: it has not come back yet")
        while b"Transfer waits" not in (line := process.stderr.readline()):
            assert line
        assert b'reason="its writer is away: it has not come back yet"' in line
        buffer.update(b"def", "complete")
        assert process.stdout.read() == b"def"
        assert process.wait(60) == 0
    assert len(daemon.asked("GET", f"/transfers/{reading}/watch")) == 1


URL = "https://account.blob.core.windows.net/b"


def test_an_access_url(daemon):
    daemon.buffer("b", DATA)
    daemon.access[f"{URL}?sig=secret"] = "b"
    done = cli.run(daemon.path, "buffer", "read", f"{URL}?sig=secret", "--range", "5-9")
    assert (done.code, done.out) == (0, DATA[5:10])
    assert daemon.requests[0].body == {"url": f"{URL}?sig=secret", "offset": 5, "length": 5}
    assert "secret" not in done.err


def test_an_access_url_that_has_expired(daemon):
    done = cli.run(daemon.path, "buffer", "read", f"{URL}?sig=secret", "--log-level", "trace")
    assert done.code == 77
    assert "FTL Failed to read buffer" in done.err
    assert "secret" not in done.err


def test_a_daemon_that_stays_away(daemon):
    daemon.buffer("b", b"abc", state=None)
    with cli.start(daemon.path, "buffer", "read", "b", "--retry-for", "50ms") as process:
        assert process.stdout.read(3) == b"abc"
        daemon.go_away()
        assert process.wait(60) == 69
        assert "it was waited for 0.05 s" in process.stderr.read().decode()
