"""An API server that is away in the middle of an ephemeral buffer: nothing is lost, and nothing comes twice.

The cluster is one of this module's own: `./just test-cluster -m long -k ephemeral_parts`.
"""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from tests.support import cluster as cluster_support
from tests.support import commands, daemon, pods

pytestmark = pytest.mark.long

NUMBER = 9
"""Of the cluster: nobody else's."""

AWAY = 12
"""Seconds: longer than anything waits before it is tried again."""

DATA = os.urandom(6_000_000)


@pytest.fixture
def own(tmp_path):
    """A cluster with the pump's image."""
    archive = tmp_path / "pump.tar"
    script = daemon.ROOT / "packaging/container/image.py"
    subprocess.run(
        [sys.executable, str(script), "--name", "localhost/tyger-pump", "--output", str(archive)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with cluster_support.another(NUMBER) as made:
        made.image(made.busybox, {})
        made.load(archive)
        yield made


def run_file(own, it):
    codespec = {
        "image": own.busybox,
        "command": ["sh", "-c", "cat <$IN_PIPE >$OUT_PIPE"],
        "buffers": {"inputs": ["in"], "outputs": ["out"]},
    }
    path = pathlib.Path(it.path, "run.yml")
    path.write_text(json.dumps({"job": {"codespec": codespec, "buffers": {"in": "_", "out": "_"}}}))
    return path


def test_the_api_server_is_away(own):
    with own.namespace() as namespace:
        text = pods.CONFIG.format(
            host=own.host, kubeconfig=own.kubeconfig, namespace=namespace, registry=own.registry
        )
        with daemon.daemon(config=text) as it:
            pods.answered(it)
            host = commands.Commands(it.env)
            going = host.start("run", "exec", "-f", run_file(own, it), stderr=subprocess.DEVNULL)
            threading.Thread(target=feed, args=[going], daemon=True).start()
            found = bytearray()
            while len(found) < 1_000_000:
                found += going.stdout.read1(65536)
            own.script("stop", "apiserver")
            back = threading.Timer(AWAY, own.script, ["start", "apiserver"])
            back.start()
            found += going.stdout.read()
            back.join()
            assert going.wait(commands.PATIENCE) == 0
            assert found == DATA
            host.close()


def feed(going):
    """So slowly that the API server is stopped and started in the middle."""
    with going.stdin:
        for at in range(0, len(DATA), 100_000):
            going.stdin.write(DATA[at : at + 100_000])
            going.stdin.flush()
            time.sleep(0.4)
