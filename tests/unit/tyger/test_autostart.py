"""Commands that find no daemon, with real ones: started once, alone, or refused with the reason."""

import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess

import pytest

from tests.support import daemon
from tyger import autostart, errors, paths

WAIT = 120


@pytest.fixture
def place():
    """An empty home; what was started there is ended."""
    with daemon.directory() as path:
        yield path
        for pid in daemons(path):
            ended = os.pidfd_open(pid)
            os.kill(pid, signal.SIGKILL)
            signal_end(ended)


def daemons(path):
    """The processes that hold the state directory's lock, as it says itself."""
    lock = path / "xdg-state/tyger/lock"
    return [int(text) for text in lock.read_text().split() if alive(int(text))] if lock.exists() else []


def alive(pid):
    return pathlib.Path(f"/proc/{pid}").exists()


def signal_end(pidfd):
    import select

    select.select([pidfd], [], [], WAIT)
    os.close(pidfd)


def status(path, **environ):
    """`tyger status` as a script would run it: both streams captured until end of file."""
    done = subprocess.run(
        [*daemon.TYGER, "status", "--format", "json"],
        env=daemon.environment(path) | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WAIT,
        check=False,
    )
    return done.returncode, done.stdout


def pid_of(path):
    code, text = status(path)
    assert code == 0, text
    return json.loads(text)["pid"]


def test_a_command_starts_a_daemon_and_returns(place):
    pid = pid_of(place)
    assert pid_of(place) == pid
    links = {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1)}
    assert links == {"/dev/null"}
    assert os.readlink(f"/proc/{pid}/fd/2") == str(place / "xdg-state/tyger/tygerd.log")
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) != os.getsid(0)
    assert (place / "xdg-state/tyger").stat().st_mode & 0o777 == 0o700


def test_a_login_at_this_machines_daemon_starts_it(place):
    environ = daemon.environment(place)
    for word in ("--local", f"unix://{environ['XDG_RUNTIME_DIR']}/tyger/tyger.sock"):
        done = subprocess.run(
            [*daemon.TYGER, "login", word], env=environ, capture_output=True, timeout=WAIT, check=True
        )
        assert (done.stdout, done.stderr) == (b"", b"")
        (pid,) = daemons(place)
        assert pid_of(place) == pid
        ended = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        signal_end(ended)
    assert pid_of(place) != pid, "a command starts it again: it is the user's own"


def test_a_daemon_inherits_neither_descriptors_nor_the_shells_variables(place):
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    with os.fdopen(reading) as end:
        done = subprocess.run(
            [*daemon.TYGER, "status"],
            env=daemon.environment(place)
            | {"TYGER_RUN_ID": "7", "SECRET": "x", "LC_TIME": "C"}
            | {"HTTPS_PROXY": "http://proxy", "no_proxy": "here", "SSL_CERT_FILE": "/etc/ssl/own.pem"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=[writing],
            timeout=WAIT,
            check=True,
        )
        os.close(writing)
        # End of file: nobody has the writing end any more.
        assert end.read() == ""
    assert done.stderr == b""
    (pid,) = daemons(place)
    names = {item.split("=")[0] for item in pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0")}
    assert not names & {"TYGER_RUN_ID", "SECRET"}
    assert {"HOME", "PATH", "LC_TIME", "HTTPS_PROXY", "no_proxy", "SSL_CERT_FILE"} <= names


def test_racing_commands_start_one_daemon(place):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        pids = set(pool.map(lambda _: pid_of(place), range(3)))
    assert len(pids) == 1


def test_a_command_without_a_session_finds_the_sessions_daemon(place):
    """cron has no XDG_RUNTIME_DIR: it looks for another socket, but there is one state directory."""
    pid = pid_of(place)
    code, text = status(place, XDG_RUNTIME_DIR=str(place / "elsewhere"))
    assert code == 0, text
    assert json.loads(text)["pid"] == pid


def test_a_named_socket_is_taken_at_its_word(place):
    pid = pid_of(place)
    code, text = status(place, TYGER_SOCKET=str(place / "named"))
    assert code == errors.CONFIG.exit_code
    assert f"another daemon (process {pid}) uses the state directory" in text
    assert f"it listens on {place / 'run/tyger/tyger.sock'}: name that with --socket, or end it" in text


def test_a_mistyped_socket_makes_nothing(place):
    code, text = status(place, TYGER_SOCKET=str(place / "typo/s"))
    assert code == errors.UNAVAILABLE.exit_code
    assert "its directory does not exist" in text
    assert not (place / "typo").exists()
    assert not (place / "xdg-state").exists()


def test_it_may_be_forbidden(place):
    code, text = status(place, TYGER_AUTOSTART="0")
    assert code == errors.UNAVAILABLE.exit_code
    assert "TYGER_AUTOSTART=0 forbids" in text
    assert text.count("\n") == 1
    assert not (place / "xdg-state").exists()


def test_the_systems_daemon_is_never_started(place):
    where = paths.Paths(system=True, socket=str(place / "s"), state=str(place), config="")
    with pytest.raises(errors.Problem, match="systemctl status tygerd") as caught:
        autostart.ensure(where)
    assert caught.value.kind is errors.UNAVAILABLE


def test_the_reason_why_it_does_not_start_is_told(place):
    config = place / "xdg-config/tyger/tygerd.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[store]\nblock_siez = 1\n")
    code, text = status(place)
    assert code == errors.CONFIG.exit_code
    assert f"{config}, line 2: unknown key store.block_siez" in text
    assert text.count("\n") == 1


def test_a_daemon_that_dies_at_once_is_told_with_its_last_line(place):
    state = place / "xdg-state/tyger"
    state.mkdir(parents=True)
    (state / "catalog.sqlite3").mkdir()
    code, text = status(place)
    assert code != 0
    assert text.count("\n") == 1
    assert "catalog" in text


def test_a_state_directory_that_cannot_be_used(place):
    (place / "xdg-state").write_text("a file")
    code, text = status(place)
    assert code == errors.CONFIG.exit_code
    assert "cannot use the state directory" in text


def test_an_old_log_is_put_aside(place):
    state = place / "xdg-state/tyger"
    state.mkdir(parents=True)
    with open(state / "tygerd.log", "wb") as log:
        log.truncate(autostart.LOG_LIMIT + 1)
    pid_of(place)
    assert (state / "tygerd.log.1").stat().st_size > autostart.LOG_LIMIT
    assert "ready on" in (state / "tygerd.log").read_text()
