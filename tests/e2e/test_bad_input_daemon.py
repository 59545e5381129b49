"""A daemon that is missing, forbidden, in somebody else's hands or stopped; state that is taken."""

import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys

import pytest

from tests.support import commands as support
from tests.support import daemon, ending
from tests.support.commands import complaint, run_file, until


def run(environment, *words):
    return subprocess.run(words, env=environment, capture_output=True, timeout=daemon.PATIENCE, check=False)


# --- none, and one that a command starts -----------------------------------------------------------------


@pytest.fixture
def nobody():
    """A place where no daemon runs and none may be started."""
    with daemon.daemon(start=False) as it:
        yield it


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["buffer", "create"],
        ["buffer", "write", "x"],
        ["buffer", "read", "x"],
        ["run", "exec", "-c", "x"],
        ["run", "watch", "1"],
        ["run", "logs", "--follow", "1"],
        ["transfer", "list"],
    ],
)
def test_none_and_none_may_be_started(nobody, arguments):
    done = run(nobody.env, *daemon.TYGER, *arguments)
    assert (done.returncode, done.stdout) == (69, b"")
    assert f"no daemon answers on {nobody.socket}, and TYGER_AUTOSTART=0 forbids" in complaint(done)
    assert complaint(done).rstrip('"').endswith("start it with: tygerd serve")


def test_a_shell_that_takes_all_output_returns():
    """The daemon that the command starts must hold none of its descriptors."""
    with daemon.directory() as path:
        environment = daemon.environment(path)
        script = 'said=$("$@" 2>&1); code=$?; echo "$code"; echo "$said"'
        done = run(environment, "sh", "-c", script, "sh", *daemon.TYGER, "status")
        code, *said = done.stdout.decode().splitlines()
        assert code == "0"
        pid = int(next(line for line in said if line.startswith("pid: ")).removeprefix("pid: "))
        ended = os.pidfd_open(pid)
        os.kill(pid, signal.SIGTERM)
        assert select.select([ended], [], [], daemon.PATIENCE)[0]
        os.close(ended)


@pytest.mark.parametrize("what", ["/tmp", "/dev/null", "file"])
def test_a_socket_that_is_none(nobody, what):
    path = nobody.path / "file"
    path.write_text("no socket")
    done = run(nobody.env, *daemon.TYGER, "--socket", str(path) if what == "file" else what, "status")
    assert done.returncode == 69
    assert "no daemon answers on" in complaint(done)


# --- one that is not ours --------------------------------------------------------------------------------


def without_override(*words):
    """A command that must obey the modes of files, also where the tests run as root."""
    if os.geteuid() != 0:
        return list(words)
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv, to obey the modes of files")
    kept = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}", *words]


def test_a_socket_one_may_not_open():
    with daemon.daemon() as it:
        os.chmod(it.socket, 0)
        for autostart in ("0", "1"):
            environment = it.env | {"TYGER_AUTOSTART": autostart}
            for arguments in (["status"], ["buffer", "create"], ["buffer", "write", "x"]):
                done = run(environment, *without_override(*daemon.TYGER, *arguments))
                assert (done.returncode, done.stdout) == (77, b"")
                assert f"cannot open {it.socket}: permission denied" in complaint(done)


def test_a_state_directory_one_may_not_enter(nobody):
    os.mkdir(nobody.state, 0o000)
    done = run(nobody.env, *without_override(*nobody.command()))
    assert done.returncode == 78
    assert f"cannot use the state directory {nobody.state}: Permission denied" in complaint(done)


def test_a_state_directory_that_is_removed_under_its_daemon():
    """It ends within seconds, and its log says why in one line."""
    with daemon.daemon(config=support.HOST) as it:
        ended = os.pidfd_open(it.pid)
        daemon.remove(pathlib.Path(it.state))
        assert select.select([ended], [], [], daemon.PATIENCE)[0]
        os.close(ended)
        said = (it.path / "log").read_text()
        assert f"the state directory {it.state} was removed" in said
        assert "Traceback" not in said


def test_a_user_without_a_name(nobody):
    """As in a container that is started with a bare number."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to become another user")
    become = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    if run(nobody.env, *become, sys.executable, "-c", "").returncode != 0:
        pytest.skip("this Python is not for other users")
    os.chown(nobody.path, 54321, 54321)
    with ending.Popen([*become, *nobody.command()], env=nobody.env, stderr=subprocess.PIPE) as started:
        until(started, b"ready on")
        assert b"uid: 54321" in run(nobody.env, *become, *daemon.TYGER, "status").stdout
        started.terminate()
        assert started.wait(daemon.PATIENCE) == 0


# --- two, and none any more ------------------------------------------------------------------------------


def test_two_daemons_on_one_state_directory():
    """The second one leaves with a reason, and the first one's socket and streams stay."""
    with daemon.daemon() as it, support.commands(it) as commands:
        buffer = commands.buffer()
        writing = commands.start("buffer", "write", buffer)
        writing.stdin.write(b"before")
        writing.stdin.flush()
        for socket in (it.socket, it.socket + "2"):
            places = ["--state", it.state, "--socket", socket]
            done = run(it.env, *daemon.TYGERD, "serve", *places, "--log-format", "human")
            assert done.returncode == 78
            said = f"tygerd: another daemon (process {it.pid}) uses the state directory {it.state}"
            assert complaint(done).startswith(said)
        assert not os.path.exists(it.socket + "2")
        out, _ = writing.communicate(b" and after", timeout=daemon.PATIENCE)
        assert (writing.returncode, out) == (0, b"")
        assert commands.run("buffer", "read", buffer).stdout == b"before and after"


@pytest.fixture
def stubborn(tmp_path):
    """A daemon, and a `run exec` whose job does not end when it is told."""
    with daemon.daemon(config=support.HOST) as it, support.commands(it) as commands:
        file = run_file(tmp_path, "trap '' TERM INT; while :; do sleep 1; done", (), ())
        executing = commands.start("run", "exec", "-f", file)
        until(executing, b"status=Running")
        yield it, commands, executing


def test_ctrl_c_twice_ends_the_command_at_once(stubborn):
    it, _, executing = stubborn
    os.kill(it.pid, signal.SIGSTOP)  # so that the first one cannot be obeyed
    executing.send_signal(signal.SIGINT)
    until(executing, b"WRN Canceling...")
    executing.send_signal(signal.SIGINT)
    assert executing.wait(daemon.PATIENCE) == -signal.SIGINT
    os.kill(it.pid, signal.SIGCONT)


def test_ctrl_c_while_the_daemon_is_away(stubborn):
    it, commands, executing = stubborn
    it.kill()
    executing.send_signal(signal.SIGINT)
    assert executing.wait(daemon.PATIENCE) == -signal.SIGINT
    assert "Failed to cancel the run" in complaint(executing.stderr.read())
    it.start()
    assert commands.show(1)["status"] == "Running"  # it was said that it goes on
    commands.run("run", "cancel", 1)
    assert commands.ended(1)["status"] == "Canceled"


def test_ctrl_c_while_a_command_waits_for_an_answer(nobody):
    """No traceback, and the signal's own end."""
    nobody.start()
    os.kill(nobody.pid, signal.SIGSTOP)
    with support.commands(nobody) as commands:
        asking = commands.start("--log-level", "trace", "status")
        until(asking, b"Sending request")
        asking.send_signal(signal.SIGINT)
        assert asking.wait(daemon.PATIENCE) == -signal.SIGINT
        assert asking.stderr.read() == b""
    os.kill(nobody.pid, signal.SIGCONT)
