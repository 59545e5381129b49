"""How `tyger buffer write` ends: in the spool, by a signal, with a code, without a daemon."""

import signal

import pytest

from tests.support import bufferwrites, cli

# --- spools, waiting, codes ------------------------------------------------------------------------------


def test_detaching(daemon):
    buffer = daemon.buffer("b")
    buffer.spooled = True
    done = cli.run(daemon.path, "buffer", "write", "b", "--detach", data=b"hello")
    assert (done.code, done.out) == (0, b"")
    assert f"transfer={buffer.transfer}\n" in done.err
    assert "INF Transfer detached" in done.err
    assert bufferwrites.state(daemon) == ("spooled", b"hello")


def test_detaching_from_a_store_that_has_it_already(daemon):
    done = bufferwrites.write(daemon, "--detach", data=b"hello")
    assert (done.code, done.out) == (0, b"")
    assert bufferwrites.state(daemon) == ("complete", b"hello")


def test_without_detaching_the_store_is_waited_for(daemon):
    buffer = daemon.buffer("b")
    buffer.spooled = True
    with cli.start(daemon.path, "buffer", "write", "b") as process:
        process.stdin.close()
        buffer.wait(lambda: buffer.state == "spooled")
        buffer.say(event="progress", bytes=0, shipped=0, waiting="offline since 13:04:12 UTC: no route")
        while b"Transfer waits" not in (line := process.stderr.readline()):
            assert line
        assert b'reason="offline since 13:04:12 UTC: no route"' in line
        assert process.poll() is None
        buffer.ship()
        assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_behind_the_spool(daemon, number):
    """A shutdown and a closed terminal leave the rest to the daemon; a Ctrl-C gives it up."""
    buffer = daemon.buffer("b")
    buffer.spooled = True
    with cli.start(daemon.path, "buffer", "write", "b") as process:
        process.stdin.close()
        buffer.wait(lambda: buffer.told)
        process.send_signal(number)
        assert process.wait(60) == cli.ended_by(number)
        said = process.stderr.read().decode()
    given_up = bool(daemon.asked("POST", f"/transfers/{buffer.transfer}/cancel"))
    assert given_up is (number == signal.SIGINT)
    assert ("will be stored" in said) is not given_up


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        ("NotFound", 66, '"NotFound: it went wrong"'),
        ("Conflict", 73, '"Conflict: it went wrong"'),
        ("AccessExpired", 77, '"AccessExpired: it went wrong"'),
        ("InsufficientStorage", 74, '"InsufficientStorage: it went wrong"'),
        ("BufferFailed", 74, '"it went wrong"'),
        ("SomethingNew", 74, '"it went wrong"'),
    ],
)
def test_the_code_of_a_failure_decides_the_exit_code(daemon, code, exit_code, said):
    buffer = daemon.buffer("b")
    buffer.say(event="failed", bytes=0, reason="it went wrong", code=code)
    done = cli.run(daemon.path, "buffer", "write", "b")
    assert done.code == exit_code
    assert done.err.endswith(f"FTL Failed to write buffer error={said}\n")


@pytest.mark.parametrize(
    ("arguments", "priority"),
    [
        ([], None),
        (["-i", "FILE"], "bulk"),
        (["-i", "FILE", "--priority", "live"], None),
        (["--priority", "bulk"], "bulk"),
    ],
)
def test_files_give_way_to_what_is_live(daemon, tmp_path, arguments, priority):
    (tmp_path / "f").write_bytes(b"x")
    given = [str(tmp_path / "f") if word == "FILE" else word for word in arguments]
    assert bufferwrites.write(daemon, *given).code == 0
    assert daemon.requests[0].body.get("priority") == priority  # live is what the daemon takes anyway


# --- a daemon that is away -------------------------------------------------------------------------------


def test_a_daemon_that_stays_away(daemon):
    """It goes away for good in the middle, and a file can be sent again: its command gives up, in words."""
    buffer = daemon.buffer("b")
    with cli.start(daemon.path, "buffer", "write", "b", "--retry-for", "0.1s") as process:
        process.stdin.write(b"half")
        process.stdin.flush()
        buffer.wait(lambda: buffer.data)
        daemon.go_away()
        assert process.wait(60) == 69
        said = process.stderr.read().decode()
    assert "WRN Transfer waits" in said
    assert "it was waited for 0.1 s; the daemon marks the buffer as failed when it is back" in said


@pytest.mark.parametrize("duration", ["0", "0.05s"])
def test_one_that_was_never_there_is_waited_for_when_that_is_asked(tmp_path, duration):
    done = cli.run(str(tmp_path / "s"), "buffer", "write", "b", "--retry-for", duration)
    assert done.code == 69
    assert ("waited for 0.05 s" in done.err) is (duration != "0")


@pytest.mark.parametrize("duration", ["-1s", "10", "never", ""])
def test_no_duration(daemon, duration):
    done = bufferwrites.write(daemon, f"--retry-for={duration}")
    assert done.code == (64 if duration else 0)
