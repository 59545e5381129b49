"""The image of the pump, made here and run by a real engine as a cluster would: nothing is missing in it."""

import json
import os
import pathlib
import subprocess
import sys
import tarfile
import time

import pytest

from tests.house import sources
from tests.support import blobserver, certificates, podapi

pytestmark = pytest.mark.long  # to compress it takes half of the ten seconds

SCRIPT = sources.ROOT / "packaging/container/image.py"
DATA = os.urandom(3_000_000)

PLACES = {
    "fifos": "/etc/buffer-fifos",
    "access": "/etc/buffer-sas-tokens",
    "state": "/var/lib/tyger-pump",
}

CONTAINERS = ("container", "dockerapi", "handle", "lifeline", "locallog", "memory", "output")
NOT_FOR_PODS = {"tyger.relayhttp", *(f"tygerd.supervisor.{name}" for name in CONTAINERS)}
"""What modules that the pump shares with a supervisor import when they are to do other things."""

ROOTS = (
    "tygerd.streams.pump",
    "tygerd.streams.pumpprepare",
    "tygerd.streams.pumpready",
    "tygerd.supervisor.sockets",
)


def make(place):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--name", "localhost/tyger-test-pump", "--output", place],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "localhost/tyger-test-pump:latest" in done.stdout
    return place


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make(tmp_path_factory.mktemp("image") / "pump.tar")


@pytest.fixture(scope="module")
def image(archive, podman):
    podman.cli("load", "--input", str(archive))
    return "localhost/tyger-test-pump:latest"


def run(podman, image, *argv, options=()):
    """As a pod runs it: nobody's user, and a root file system that cannot be written."""
    return podman.cli(
        "run", "--rm", "--read-only", "--cap-drop=all", "--network=host", *options, image, *argv
    )


def test_it_is_small_and_knows_no_machine(archive):
    assert archive.stat().st_size < 12_000_000
    with tarfile.open(archive) as whole:
        layer = whole.extractfile(json.load(whole.extractfile("manifest.json"))[0]["Layers"][0])
        with tarfile.open(fileobj=layer) as files:
            owners = {(each.uid, each.gid, each.mtime) for each in files}
            names = files.getnames()
            modules = [name for name in names if name.endswith(".pyc")]
            texts = b"".join(files.extractfile(name).read() for name in modules)
    assert owners == {(0, 0, 0)}
    assert str(sources.ROOT).encode() not in texts
    parts = {name.split("/")[4] for name in modules if "/tygerd/" in name and name.count("/") > 4}
    assert not parts & {"api", "catalog", "engines", "runs", "http"}


def test_it_starts(podman, image):
    assert run(podman, image, "version") == "tygerd 0.1.0"
    assert "--socket" in run(podman, image, "pump", "pod", "--help")


def test_it_leaves_whatever_its_threads_do(podman, image):
    """There is no libgcc_s in it, without which glibc aborts a process whose thread is ended."""
    script = (
        "import threading, time\n"
        "from tygerd import __main__ as program\n"
        "def idle():\n"
        "    while True: time.sleep(0.0001)\n"
        "def main():\n"
        "    for _ in range(8): threading.Thread(target=idle, daemon=True).start()\n"
        "    time.sleep(0.02)\n"
        "    print('said')\n"
        "    return 0\n"
        "program.main = main\n"
        "program.program()\n"
    )
    assert run(podman, image, "-ISc", script, options=("--entrypoint=/usr/bin/python3",)) == "said"


def test_everything_that_it_could_import_is_there(podman, image):
    ours = set().union(*map(sources.closure, ROOTS)) - NOT_FOR_PODS
    wanted = ours.union(*map(sources.imports, ours)) - NOT_FOR_PODS
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try: importlib.import_module(name)\n"
        "    except ImportError as error: print(name, error)\n"
    )
    python = ("--entrypoint=/usr/bin/python3",)
    assert run(podman, image, "-ISc", script, *sorted(wanted), options=python) == ""


def test_a_pod_with_tls(podman, image, tmp_path):
    """Pipes, stores with a certificate of their own, the API server, the state: as in a cluster."""
    places = {
        "fifos": "/etc/buffer-fifos",
        "access": "/etc/buffer-sas-tokens",
        "state": "/var/lib/tyger-pump",
    }
    for name in (*places, "api", "tls"):
        (tmp_path / name).mkdir()
    for name in ("fifos", "state"):
        (tmp_path / name).chmod(0o777)
    tmp_path.chmod(0o755)
    volumes = [f"--volume={tmp_path / name}:{place}" for name, place in PLACES.items()]
    run(podman, image, "pump", "prepare", "--fifo=out", options=volumes)
    certificate = certificates.make(tmp_path / "tls")
    (tmp_path / "access/ca.pem").write_bytes(pathlib.Path(certificate).read_bytes())
    with (
        podapi.PodApi(tmp_path / "api") as api,
        blobserver.BlobServer(tls=certificates.server_context(certificate), tcp=True) as server,
    ):
        (tmp_path / "access/out").write_text(server.url())
        volumes.append(f"--volume={api.directory}:/var/run/secrets/kubernetes.io/serviceaccount")
        environ = [f"--env={name}={value}" for name, value in api.environ.items()]
        name = f"pump-{os.getpid()}-{time.monotonic_ns()}"
        options = ("--detach", f"--name={name}", "--stop-timeout=50", *volumes, *environ)
        run(podman, image, "pump", "pod", "--output=out", options=options)
        with open(tmp_path / "fifos/out", "wb", buffering=0) as job:
            job.write(DATA)
        api.main = 0
        podman.cli("stop", name)
        blobs = sorted(server.blobs.items())
        assert b"".join(blob.data for name, blob in blobs if not name.startswith(".")) == DATA
        assert server.stored(".bufferend") == b'{"status":"complete"}'
    assert (tmp_path / "state/life").read_text() == "done "


def test_a_system_that_lacks_something_is_told(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--output", "/proc/nowhere/x.tar"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("container: ")
