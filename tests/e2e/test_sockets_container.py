"""Servers in containers, through the installed commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import containers

PATIENCE = 60

PORT = {"port": 8080, "inputBuffer": "in", "outputBuffer": "out"}


@pytest.fixture(scope="module")
def host(podman) -> Iterator[containers.Host]:
    with containers.host(podman) as made:
        yield made


def shouting(host, *arguments):
    """A server that answers in capitals and goes on when its connection has ended."""
    script = "nc -l -p 8080 -e tr a-z A-Z; exec sleep 600"
    return host.commands.start(
        "run", "exec", "-f", host.run_file(script, codespec={"sockets": [PORT]}), *arguments
    )


def test_two_servers_on_one_port(host):
    """Each container has ports of its own."""
    runs = [shouting(host), shouting(host, "-b", "in=_", "-b", "out=_")]
    for number, run in enumerate(runs):
        run.stdin.write(b"hello %d\n" % number)
        run.stdin.close()
    assert [run.stdout.read() for run in runs] == [b"HELLO 0\n", b"HELLO 1\n"]
    assert [run.wait(PATIENCE) for run in runs] == [0, 0]
    host.clean()


def test_a_server_that_ends_with_its_last_byte(host):
    """On a port that elsewhere takes a capability, which it has not."""
    script = "nc -l -p 80 -e head -c 4000000 /dev/zero"
    file = host.run_file(script, inputs=(), codespec={"sockets": [{"port": 80, "outputBuffer": "out"}]})
    done = host.commands.run("run", "exec", "-f", file, "-b", "out=_")
    assert (done.returncode, len(done.stdout)) == (0, 4_000_000), done.stderr
    host.clean()
