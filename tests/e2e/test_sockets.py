"""Runs whose program listens on a port, through the installed commands."""

from __future__ import annotations

import json
import socket

import pytest

from tests.support import commands as support
from tests.support import daemon as daemons
from tests.support import freeport

PATIENCE = 60

SHOUT = daemons.ROOT / "examples/shout.yml"


@pytest.fixture(scope="module")
def host():
    """A daemon of its own: it is killed here."""
    with daemons.daemon(config=support.HOST.replace('"host"', '"localhost/host"')) as it:
        yield it


@pytest.fixture
def port():
    with freeport.freeport() as number:
        yield number


@pytest.fixture
def shout(tmp_path, port):
    """The example, on a port that is free here."""
    file = tmp_path / "shout.yml"
    file.write_text(SHOUT.read_text().replace("18080", str(port)))
    return file


def test_the_example(commands, shout):
    done = commands.run("run", "exec", "-f", shout, data=b"hello\nworld\n")
    assert (done.returncode, done.stdout) == (0, b"HELLO\nWORLD\n"), done.stderr
    run = json.loads(commands.run("run", "list", "--limit", "1").stdout)[0]
    assert (run["status"], run.get("exitCode")) == ("Succeeded", None)


@pytest.mark.parametrize("buffers", [[], ["-b", "input=_", "-b", "output=_"]], ids=["kept", "ephemeral"])
def test_a_trickle_comes_out_as_a_trickle(commands, shout, buffers):
    """A message goes there and back before the next one is sent."""
    process = commands.start("run", "exec", "-f", shout, *buffers)
    for number in range(3):
        process.stdin.write(b"line %d\n" % number)
        process.stdin.flush()
        assert process.stdout.readline() == b"LINE %d\n" % number
    process.stdin.close()
    assert process.stdout.read() == b""
    assert process.wait(PATIENCE) == 0


def test_streams_go_on_while_the_daemon_restarts(host, commands, shout):
    process = commands.start("run", "exec", "-f", shout)
    process.stdin.write(b"before\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"BEFORE\n"
    host.restart()
    process.stdin.write(b"after\n")
    process.stdin.close()
    assert process.stdout.read() == b"AFTER\n"
    assert process.wait(PATIENCE) == 0


def test_a_port_that_is_taken(commands, shout):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        file = shout.with_name("taken.yml")
        file.write_text(SHOUT.read_text().replace("18080", str(number)))
        done = commands.run("run", "exec", "-f", file, data=b"x")
    assert done.returncode != 0
    assert f"sockets: another program listens on port {number} of this host".encode() in done.stderr


def test_a_server_that_crashes(commands, shout, tmp_path):
    text = shout.read_text().replace("self.wfile.write(line.upper())", "import os; os._exit(3)")
    shout.write_text(text)
    done = commands.run("run", "exec", "-f", shout, data=b"x\n")
    assert done.returncode != 0
    assert b"Main exited with code 3" in done.stderr
