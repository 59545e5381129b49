"""`tyger buffer write` from pipes, files, sockets and terminals, with real processes and signals."""

import os
import pty
import select
import signal
import socket
import subprocess
import sys

import pytest

from tests.support import cli
from tyger.cli import data


def write(daemon, *arguments, **options):
    daemon.buffer("b")
    return cli.run(daemon.path, "buffer", "write", "b", *arguments, **options)


def state(daemon):
    buffer = daemon.buffers["b"]
    return buffer.state, bytes(buffer.data)


def test_standard_input_is_written(daemon):
    done = write(daemon, data=b"hello")
    assert (done.code, done.out) == (0, b"")
    assert state(daemon) == ("complete", b"hello")
    assert daemon.requests[0].body | {"id": ""} == {
        "id": "",
        "buffer": "b",
        "blockSize": 4 * 1024 * 1024,
        "flushInterval": 1.0,
    }
    assert "Transfer complete" in done.err
    assert "buffer=b" in done.err
    assert 'operation="buffer write"' in done.err


def test_empty_input_is_a_valid_empty_buffer(daemon):
    assert write(daemon).code == 0
    assert state(daemon) == ("complete", b"")


@pytest.mark.parametrize(
    ("arguments", "interval"), [([], 0.0), (["-f", "5ms"], 0.005), (["--flush-interval", ""], 0.0)]
)
def test_a_named_file_is_not_flushed_by_the_clock(daemon, tmp_path, arguments, interval):
    (tmp_path / "f").write_bytes(b"x" * 300_000)
    assert write(daemon, "-i", tmp_path / "f", "-b", "1M", "-p", "3", *arguments).code == 0
    assert state(daemon) == ("complete", b"x" * 300_000)
    assert daemon.requests[0].body["flushInterval"] == interval
    assert daemon.requests[0].body["blockSize"] == 1024 * 1024


def test_a_regular_file_as_standard_input(daemon, tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 300_000)
    with open(tmp_path / "f", "rb") as file:
        assert write(daemon, stdin=file, data=None).code == 0
    assert state(daemon) == ("complete", b"x" * 300_000)
    assert daemon.requests[0].body["flushInterval"] == 1.0


def test_a_socket_as_standard_input(daemon):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"through a socket")
        ours.shutdown(socket.SHUT_WR)
        assert write(daemon, stdin=theirs, data=None).code == 0
    assert state(daemon) == ("complete", b"through a socket")


def test_a_device_as_standard_input(daemon):
    assert write(daemon, stdin=subprocess.DEVNULL, data=None).code == 0
    assert state(daemon) == ("complete", b"")


def test_a_closed_standard_input(daemon):
    daemon.buffer("b")
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m tyger buffer write b <&-"],
        env=cli.environ(daemon.path),
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 74
    assert done.stderr.startswith(b"Error: standard input is closed")
    assert state(daemon) == ("new", b"")


def test_a_file_that_cannot_be_read_leaves_no_complete_buffer(daemon):
    done = write(daemon, "-i", "/proc/self/mem")
    assert done.code == 74
    assert "cannot read the input: Input/output error" in done.err
    assert state(daemon)[0] == "failed"


def test_writing_twice(daemon):
    write(daemon, data=b"1")
    done = cli.run(daemon.path, "buffer", "write", "b", data=b"2")
    assert done.code == 73
    assert "FTL Failed to write buffer error=\"Conflict: the buffer 'b' was already written\"" in done.err


def test_an_unknown_buffer(daemon):
    for verb in ("write", "read"):
        done = cli.run(daemon.path, "buffer", verb, "nope")
        assert done.code == 66
        assert 'FTL Unable to access buffer error="NotFound: The resource was not found" buffer=' in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_fails_the_buffer(daemon, number):
    buffer = daemon.buffer("b")
    with cli.start(daemon.path, "buffer", "write", "b") as process:
        process.stdin.write(b"half")
        process.stdin.flush()
        while b"Transfer starting" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(number)
        assert process.wait(10) == cli.ended_by(number)
        said = process.stderr.read().decode()
    buffer.wait(lambda: buffer.ended)
    assert state(daemon) == ("failed", b"half")
    assert buffer.reason == data.interrupted(number)
    assert "WRN Canceling..." in said
    assert "FTL Failed to write buffer" in said


def test_a_killed_writer_fails_the_buffer(daemon):
    buffer = daemon.buffer("b")
    with cli.start(daemon.path, "buffer", "write", "b") as process:
        process.stdin.write(b"half")
        process.stdin.flush()
        buffer.wait(lambda: buffer.data)
        process.kill()
    buffer.wait(lambda: buffer.ended)
    assert buffer.state == "failed"


def test_an_ignored_hangup_stays_ignored(daemon):
    buffer = daemon.buffer("b")
    with cli.start(
        daemon.path, "buffer", "write", "b", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ) as process:
        process.stdin.write(b"whole")
        process.stdin.flush()
        buffer.wait(lambda: buffer.data)
        process.send_signal(signal.SIGHUP)
        process.stdin.close()
        assert process.wait(10) == 0
    assert state(daemon) == ("complete", b"whole")


@pytest.mark.parametrize("round_", range(5))
def test_ctrl_c_at_a_terminal_never_leaves_a_complete_buffer(daemon, round_):
    buffer = daemon.buffer("b")
    child, leader = pty.fork()
    if child == 0:
        line = f"(printf half; cat) | {sys.executable} -m tyger buffer write b"
        os.execvpe("bash", ["bash", "-c", line], cli.environ(daemon.path))
    try:
        buffer.wait(lambda: buffer.data)
        os.write(leader, b"\x03")
        while True:  # read what the terminal shows, until all have let go of it
            select.select([leader], [], [], 10)
            try:
                if not os.read(leader, 4096):
                    break
            except OSError:
                break
        _, status = os.waitpid(child, 0)
    finally:
        os.close(leader)
    assert os.waitstatus_to_exitcode(status) in (-signal.SIGINT, 128 + signal.SIGINT)
    buffer.wait(lambda: buffer.ended)
    assert state(daemon) == ("failed", b"half")


# --- a producer of ours ----------------------------------------------------------------------------------


def test_what_a_command_prints_is_written(daemon):
    done = write(daemon, "--", "sh", "-c", 'cat; printf " %s" "$1"', "sh", "--flag", data=b"given")
    assert (done.code, done.out) == (0, b"")
    assert state(daemon) == ("complete", b"given --flag")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 3", "exited with code 3"),
        ("exit 130", "exited with code 130"),
        ("kill -9 $$", "was ended by SIGKILL"),
    ],
)
def test_a_producer_that_fails(daemon, script, why):
    done = write(daemon, "--", "sh", "-c", f"printf half; {script}")
    assert done.code == 74
    assert done.err.endswith(f'FTL Failed to write buffer error="the producer sh {why}"\n')
    assert state(daemon) == ("failed", b"half")
    assert daemon.buffers["b"].reason == f"the producer sh {why}"


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["--"], 64, "a command is required behind --"),
        (["--input", "/dev/null", "--", "true"], 64, "--input and a command behind -- exclude each other"),
        (["--", "no-such-command"], 66, "cannot start no-such-command: there is no such command in PATH"),
        (["--", "/"], 77, "cannot start /: it is a directory"),
        (["--", "/etc/passwd"], 77, "cannot start /etc/passwd: it is not executable; see chmod(1)"),
    ],
)
def test_a_producer_that_cannot_be_begins_nothing(daemon, arguments, code, why):
    done = write(daemon, *arguments)
    assert (done.code, done.err) == (code, f"Error: {why}\n")
    assert daemon.requests == []


def test_a_producer_for_an_unknown_buffer_is_not_started(daemon, tmp_path):
    done = cli.run(daemon.path, "buffer", "write", "nope", "--", "touch", tmp_path / "started")
    assert done.code == 66
    assert not (tmp_path / "started").exists()


def test_a_terminal_as_standard_input_is_the_producers(daemon):
    leader, follower = os.openpty()
    try:
        done = write(daemon, "--", "sh", "-c", "tty; exit 0", stdin=follower, data=None)
    finally:
        os.close(leader)
        os.close(follower)
    assert done.code == 0
    assert state(daemon)[1].startswith(b"/dev/")


def pids_in(stderr, name=b"pid="):
    while name not in (line := stderr.readline()):
        assert line, "it ended"
    return int(line.rpartition(b"=")[2])


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_to_the_producer(daemon, number):
    buffer = daemon.buffer("b")
    trap = f"trap 'printf last >&2; exit 1' {number.name[3:]}"
    script = f"{trap}; echo pid=$$ >&2; printf half; while :; do sleep 0.01; done"
    with cli.start(daemon.path, "buffer", "write", "b", "--", "sh", "-c", script) as process:
        pid = pids_in(process.stderr)
        buffer.wait(lambda: buffer.data)
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        said = process.stderr.read()
    assert b"last" in said
    assert not is_there(pid)
    assert state(daemon) == ("failed", b"half")
    assert buffer.reason == data.interrupted(number)


def test_a_producer_that_does_not_obey_is_killed(daemon):
    """The grace is real time, so it is made small from outside."""
    buffer = daemon.buffer("b")
    script = "trap '' TERM HUP; echo pid=$$ >&2; printf half; while :; do sleep 0.01; done"
    code = (
        "from tyger import __main__ as program\n"
        "from tyger.cli import data\n"
        "data.PRODUCER_GRACE = 0.05\n"
        "program.main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "buffer", "write", "b", "--", "sh", "-c", script],
        env=cli.environ(daemon.path),
        stderr=subprocess.PIPE,
    ) as process:
        pid = pids_in(process.stderr)
        buffer.wait(lambda: buffer.data)
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM
    assert not is_there(pid)


def test_a_killed_command_leaves_its_producer_a_broken_pipe(daemon):
    buffer = daemon.buffer("b")
    script = "echo pid=$$ >&2; exec yes"
    with cli.start(daemon.path, "buffer", "write", "b", "--", "sh", "-c", script) as process:
        ended = os.pidfd_open(pids_in(process.stderr))
        buffer.wait(lambda: buffer.data)
        process.kill()
        assert select.select([ended], [], [], 10)[0]
    os.close(ended)
    buffer.wait(lambda: buffer.ended)
    assert buffer.state == "failed"


def test_a_buffer_that_fails_ends_its_producer(daemon):
    buffer = daemon.buffer("b")
    script = "echo pid=$$ >&2; printf half; while :; do sleep 0.01; done"
    with cli.start(daemon.path, "buffer", "write", "b", "--", "sh", "-c", script) as process:
        pid = pids_in(process.stderr)
        buffer.wait(lambda: buffer.data)
        buffer.say(event="failed", bytes=4, reason="no write permission", code="Forbidden")
        assert process.wait(10) == 77
        said = process.stderr.read().decode()
    assert 'FTL Failed to write buffer error="Forbidden: no write permission"' in said
    assert not is_there(pid)


def on_a_terminal(daemon, line, ready, keys=b"\x03"):
    """Run a line of shell at a terminal, press `keys` once `ready`; what it shows, and its end."""
    child, leader = pty.fork()
    if child == 0:
        os.execvpe("bash", ["bash", "-c", line], cli.environ(daemon.path, TERM="xterm"))
    shown = b""
    try:
        ready()
        os.write(leader, keys)
        while True:
            select.select([leader], [], [], 10)
            try:
                if not (piece := os.read(leader, 4096)):
                    break
            except OSError:
                break
            shown += piece
        _, status = os.waitpid(child, 0)
    finally:
        os.close(leader)
    return shown, os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize(
    "script", ["printf half; sleep 1000", "trap 'exit 0' INT; printf half; sleep 1000 & wait"]
)
def test_ctrl_c_reaches_both_and_never_leaves_a_complete_buffer(daemon, script):
    """Also where the producer takes it for a good end."""
    buffer = daemon.buffer("b")
    line = f'exec {sys.executable} -m tyger buffer write b -- sh -c "{script}"'
    shown, code = on_a_terminal(daemon, line, lambda: buffer.wait(lambda: buffer.data))
    assert code == -signal.SIGINT
    assert b"was interrupted by SIGINT" in shown
    buffer.wait(lambda: buffer.ended)
    assert state(daemon) == ("failed", b"half")


# --- spools, waiting, codes ------------------------------------------------------------------------------


def test_detaching(daemon):
    buffer = daemon.buffer("b")
    buffer.spooled = True
    done = cli.run(daemon.path, "buffer", "write", "b", "--detach", data=b"hello")
    assert (done.code, done.out) == (0, b"")
    assert f"transfer={buffer.transfer}\n" in done.err
    assert "INF Transfer detached" in done.err
    assert state(daemon) == ("spooled", b"hello")


def test_detaching_from_a_store_that_has_it_already(daemon):
    done = write(daemon, "--detach", data=b"hello")
    assert (done.code, done.out) == (0, b"")
    assert state(daemon) == ("complete", b"hello")


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
        assert process.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_behind_the_spool(daemon, number):
    """A shutdown and a closed terminal leave the rest to the daemon; a Ctrl-C gives it up."""
    buffer = daemon.buffer("b")
    buffer.spooled = True
    with cli.start(daemon.path, "buffer", "write", "b") as process:
        process.stdin.close()
        buffer.wait(lambda: buffer.told)
        process.send_signal(number)
        assert process.wait(10) == cli.ended_by(number)
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
    assert write(daemon, *given).code == 0
    assert daemon.requests[0].body.get("priority") == priority  # live is what the daemon takes anyway


# --- a daemon that is away -------------------------------------------------------------------------------


def test_a_daemon_that_stays_away(daemon):
    """It goes away for good in the middle, and a file can be sent again: its command gives up, in words."""
    buffer = daemon.buffer("b")
    with cli.start(daemon.path, "buffer", "write", "b", "--retry-for", "0.1s") as process:
        process.stdin.write(b"half")
        process.stdin.flush()
        buffer.wait(lambda: buffer.data)
        daemon._listening.close()
        os.unlink(daemon.path)
        buffer.leave()
        assert process.wait(10) == 69
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
    done = write(daemon, f"--retry-for={duration}")
    assert done.code == (64 if duration else 0)


# --- access URLs -----------------------------------------------------------------------------------------

URL = "https://account.blob.core.windows.net/b"


def test_an_access_url(daemon):
    daemon.buffer("b")
    daemon.access[f"{URL}?sig=secret"] = "b"
    done = cli.run(daemon.path, "buffer", "write", f"{URL}?sig=secret", data=b"hello")
    assert done.code == 0
    assert state(daemon) == ("complete", b"hello")
    assert daemon.requests[0].body["url"] == f"{URL}?sig=secret"
    assert "secret" not in done.err
    assert "buffer=b " in done.err


def test_an_access_url_that_has_expired(daemon):
    done = cli.run(daemon.path, "buffer", "write", f"{URL}?sig=secret", "--log-level", "trace")
    assert done.code == 77
    assert "Signature not valid in the specified time frame; get another access URL, name a file" in done.err
    assert "secret" not in done.err


def test_an_access_file_is_renewed_while_it_is_written(daemon, tmp_path):
    buffer = daemon.buffer("b")
    file = tmp_path / "url"
    file.write_text(f"{URL}?sig=1\n")
    daemon.access[f"{URL}?sig=1"] = "b"
    with cli.start(daemon.path, "buffer", "write", file) as process:
        process.stdin.write(b"half")
        process.stdin.flush()
        buffer.wait(lambda: buffer.data)
        file.write_text(f"{URL}?sig=2\n")
        daemon.access = {f"{URL}?sig=2": "b"}
        buffer.say(event="renew")
        while not (asked := daemon.asked("POST", f"/transfers/{buffer.transfer}/access")):
            assert process.poll() is None
        process.stdin.close()
        assert process.wait(10) == 0
    assert asked[0].body == {"url": f"{URL}?sig=2"}
    assert state(daemon) == ("complete", b"half")
