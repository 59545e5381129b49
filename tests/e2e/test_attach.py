"""A run that is left and come back to: every byte and every line once, over a restart of the daemon, too."""

import json
import re
import subprocess

import pytest

from tests.support import commands as support
from tests.support import daemon as daemons

PATIENCE = 60


@pytest.fixture(scope="module")
def host():
    """A daemon of its own: it is killed here."""
    with daemons.daemon(config=support.HOST) as it:
        yield it


def created(commands, directory, script, **parameters):
    done = commands.run("run", "create", "-f", support.run_file(directory, script, **parameters))
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def test_the_output_from_its_first_byte_after_a_detach(host, commands, tmp_path):
    go = commands.buffer()
    script = "(seq 100000; cat $GO_PIPE; seq 100001 200000) > $OUT_PIPE; echo said"
    file = support.run_file(tmp_path, script, inputs=("go",))
    first = commands.start("run", "exec", "-f", file, "-b", f"go={go}", "--on-exit", "detach")
    run = support.run_of(first)
    begun = first.stdout.read(100_000)  # then the terminal is lost
    first.send_signal(1)
    assert first.wait(PATIENCE) == 128 + 1
    begun += first.stdout.read()
    again = commands.start("run", "attach", run, "--logs")
    assert again.stdout.read(100_000) == begun[:100_000]
    host.restart()
    assert commands.run("buffer", "write", go).returncode == 0
    rest = again.stdout.read()
    assert again.wait(PATIENCE) == 0
    wanted = b"".join(b"%d\n" % number for number in range(1, 200_001))
    assert begun[:100_000] + rest == wanted
    said = again.stderr.read()
    assert b"Attached to the run" in said
    assert b"status=Succeeded" in said
    assert b"\n[main] said\n" in said
    part = commands.run("run", "attach", run, "--range", f"{len(begun)}-")
    assert begun + part.stdout == wanted
    assert part.returncode == 0


def test_its_input(commands, tmp_path):
    run = created(commands, tmp_path, "tr a-z A-Z < $IN_PIPE > $OUT_PIPE")
    done = commands.run("run", "attach", run, data=b"hello")
    assert (done.returncode, done.stdout) == (0, b"HELLO")
    done = commands.run("run", "attach", run, data=b"once more")
    assert (done.returncode, done.stdout) == (0, b"HELLO")


def test_an_input_that_another_has_written(commands, tmp_path):
    go = commands.buffer()
    file = support.run_file(tmp_path, "cat $IN_PIPE > $OUT_PIPE; cat $GO_PIPE", inputs=("in", "go"))
    run = commands.run("run", "create", "-f", file, "-b", f"go={go}").stdout.decode().strip()
    buffers = json.loads(commands.run("run", "show", run).stdout)["job"]["buffers"]
    assert commands.run("buffer", "write", buffers["in"], data=b"first").returncode == 0
    again = commands.start("run", "attach", run)
    again.stdin.write(b"second")
    again.stdin.close()
    assert again.stdout.read(5) == b"first"
    assert commands.run("buffer", "write", go).returncode == 0
    assert again.stdout.read() == b""
    assert again.wait(PATIENCE) == 0


def test_a_run_that_fails(commands, tmp_path):
    run = created(commands, tmp_path, "echo bad >&2; exit 7", inputs=(), outputs=())
    commands.ended(run)
    done = commands.run("run", "attach", run, "--logs", "--errors", "json")
    assert done.returncode == 1
    said = json.loads(done.stderr.splitlines()[-1])
    assert said["code"] == "RunFailed"
    assert re.search("Main exited with code 7", said["message"])
    assert b"bad" in done.stderr


def test_it_is_left_alone_unless_it_is_to_be_cancelled(commands, tmp_path):
    run = created(commands, tmp_path, "sleep 600", inputs=(), outputs=())
    for flags, status in (([], "Running"), (["--on-exit", "cancel"], "Canceled")):
        process = commands.start("run", "attach", run, *flags, stdin=subprocess.DEVNULL)
        support.until(process, b"status=Running")
        process.terminate()
        assert process.wait(PATIENCE) == 128 + 15
        assert commands.show(run)["status"] == status
