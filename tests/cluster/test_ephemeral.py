"""Ephemeral buffers of runs in a cluster: through the API server to the pod and back, whatever breaks."""

import json
import os
import pathlib
import threading

import pytest

from tests.support import commands, daemon, pods, tcpgate
from tygerd.streams import podrelay

DATA = os.urandom(20_000_000)


class Host:
    """A daemon whose way to the cluster is a gate."""

    def __init__(self, it, gate, image):
        self.daemon = it
        self.gate = gate
        self.commands = commands.Commands(it.env)
        self._image = image

    def file(self, script, inputs=("in",), outputs=("out",), **more):
        """A run file of a job that is a line of shell."""
        names = {"inputs": list(inputs), "outputs": list(outputs)}
        codespec = {"image": self._image, "command": ["sh", "-c", script], "buffers": names, **more}
        job = {"codespec": codespec, "buffers": dict.fromkeys((*inputs, *outputs), "_")}
        path = pathlib.Path(self.daemon.path, "run.yml")
        path.write_text(json.dumps({"job": job, "timeoutSeconds": 600}))
        return path

    def exec(self, script, data=b"", **more):
        return self.commands.run("run", "exec", "-f", self.file(script, **more), data=data)


@pytest.fixture
def host(cluster, namespace, pump_image):
    with daemon.directory() as place, tcpgate.gate(cluster, place) as gate:
        text = pods.CONFIG.format(
            host=cluster.host, kubeconfig=gate.kubeconfig, namespace=namespace, registry=cluster.registry
        )
        assert pump_image in text
        with daemon.daemon(config=text) as it:
            pods.answered(it)
            made = Host(it, gate, cluster.busybox)
            yield made
            made.commands.close()


def test_into_a_job_and_out_of_it(host):
    done = host.exec("tr a-z A-Z <$IN_PIPE >$OUT_PIPE", b"hello\n" * 1000)
    assert (done.returncode, done.stdout) == (0, b"HELLO\n" * 1000), done.stderr.decode()


def test_it_flows_while_the_job_runs(host):
    """What was written comes out before there is more."""
    going = host.commands.start("run", "exec", "-f", host.file("cat <$IN_PIPE >$OUT_PIPE"))
    for line in (b"one\n", b"two\n", b"three\n"):
        going.stdin.write(line)
        going.stdin.flush()
        assert going.stdout.readline() == line
    going.stdin.close()
    assert going.wait(commands.PATIENCE) == 0


def test_a_port_of_the_job(host):
    """What a user writes goes to the port on which the job listens, and what that says comes back."""
    sockets = [{"port": 8080, "inputBuffer": "in", "outputBuffer": "out"}]
    done = host.exec("nc -l -p 8080 -e tr a-z A-Z", b"hello\n" * 1000, sockets=sockets)
    assert (done.returncode, done.stdout) == (0, b"HELLO\n" * 1000), done.stderr.decode()


def test_connections_that_break(host):
    """Every byte, once, in order; a restarted API server is no more than that."""
    going = host.commands.start("run", "exec", "-f", host.file("cat <$IN_PIPE >$OUT_PIPE"))

    def feed():
        with going.stdin:
            going.stdin.write(DATA)

    threading.Thread(target=feed, daemon=True).start()
    found, cut = bytearray(), 0
    while data := going.stdout.read1(65536):
        if len(found) // 2_000_000 < (len(found) + len(data)) // 2_000_000:
            cut += host.gate.cut()  # both ways, and the watch, nine times
        found += data
    assert going.wait(commands.PATIENCE) == 0, going.stderr.read().decode()
    assert found == DATA
    assert cut > 9


def test_a_daemon_that_is_killed_in_the_middle(host):
    """What it had in hand is lost, and that is said: by the run, and to the user."""
    going = host.commands.start("run", "exec", "-f", host.file("cat <$IN_PIPE >$OUT_PIPE; sleep 60"))
    going.stdin.write(b"one\n")
    going.stdin.flush()
    assert going.stdout.readline() == b"one\n"
    host.daemon.kill()
    host.daemon.start()
    going.stdin.close()
    assert going.wait(commands.PATIENCE) != 0
    assert podrelay.NOT_BACK in going.stderr.read().decode()
    assert podrelay.NOT_BACK in host.commands.ended(1)["statusReason"]


def test_a_daemon_that_is_killed_before_anything_flows(host):
    """The next one goes on."""
    going = host.commands.start(
        "run", "exec", "-f", host.file("sleep 5; tr a-z A-Z <$IN_PIPE >$OUT_PIPE"), "--logs"
    )
    going.stdin.write(b"some\n")
    going.stdin.flush()
    assert any(b"status=Running" in line for line in going.stderr)
    host.daemon.kill()
    host.daemon.start()
    going.stdin.close()
    assert going.wait(commands.PATIENCE) == 0, going.stderr.read().decode()
    assert going.stdout.read() == b"SOME\n"


def test_a_job_that_never_opens_its_pipes(host):
    done = host.exec("true", b"some\n")
    assert done.returncode != 0
    assert b"the job has ended without opening its pipe" in done.stderr


def test_a_job_that_fails(host):
    done = host.exec("head -c 4 <$IN_PIPE >$OUT_PIPE; exit 3", b"some more")
    assert done.returncode != 0
    assert b"Main exited with code 3" in done.stderr


def test_a_user_who_goes(host):
    """The run fails by the buffer's name: nobody has what it made."""
    going = host.commands.start(
        "run", "exec", "-f", host.file("cat /dev/zero >$OUT_PIPE", inputs=()), "--on-exit", "detach"
    )
    assert going.stdout.read(10) == bytes(10)
    going.kill()
    last = host.commands.ended(1)
    assert last["status"] == "Failed"
    assert last["statusReason"].startswith("buffer 'out': its reader went away")
