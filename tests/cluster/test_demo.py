"""The demo in a cluster, and data that stream both ways while a job runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support import daemon, ending, pods

CONFIG = """
[store.local]
listen = "{host}:0"
[engine]
use = "kubernetes"
[engine.kubernetes]
kubeconfig = "{kubeconfig}"
namespace = "{namespace}"
node_selector = {{}}
pump_image = "{pump}"
cancel_grace = 1
"""

CAT = """
job:
  codespec:
    image: {image}
    buffers: {{inputs: [input], outputs: [output]}}
    command: [sh, -c, "cat $(INPUT_PIPE) > $(OUTPUT_PIPE)"]
"""


def test_what_is_written_comes_back_while_the_job_runs(cluster, namespace, pump_image, tmp_path):
    """A line goes in when the one before has come out."""
    run_file = tmp_path / "cat.yml"
    run_file.write_text(CAT.format(image=cluster.busybox))
    config = CONFIG.format(
        host=cluster.host, kubeconfig=cluster.kubeconfig, namespace=namespace, pump=pump_image
    )
    with daemon.daemon(config=config) as server:
        pods.answered(server)
        command = [*daemon.TYGER, "run", "exec", "-f", str(run_file)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": server.env}
        with ending.Popen(command, **pipes) as process:
            for number in range(5):
                process.stdin.write(b"%d\n" % number)
                process.stdin.flush()
                assert process.stdout.readline() == b"%d\n" % number
            process.stdin.close()
            assert process.stdout.read() == b""
            assert process.wait(daemon.PATIENCE) == 0


def test_the_demo(cluster, tmp_path):
    """Both parts of it, with images that are made here."""
    if cluster.own is None:
        pytest.skip("images are given to the nodes of our own cluster only")
    script = daemon.ROOT / "examples/demo.py"
    command = [sys.executable, str(script), "--engine", "kubernetes", "--namespace", "tyger-demo"]
    done = subprocess.run(
        [*command, "--seconds", "3", "--output", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "phantom_0000.png").read_bytes().startswith(b"\x89PNG")
    assert '"succeeded": 2' in done.stdout
