"""The demo as a newcomer runs it, and its video with the daemon killed in the middle."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from examples import demo, images
from tests.support import podman as podman_support

TYGER = pathlib.Path(sys.executable).with_name("tyger")

pytestmark = [
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg"),
    pytest.mark.skipif(not TYGER.exists(), reason="needs the installed programs (./just setup)"),
]


@pytest.fixture
def scratch() -> Iterator[demo.Scratch]:
    made = demo.Scratch([str(TYGER)], keep=False)
    yield made
    made.close()


def daemon_of(path: pathlib.Path) -> int:
    """The process id of the daemon that listens on a socket, from the kernel."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


def make_video(path: pathlib.Path, seconds: float) -> bytes:
    pattern = f"testsrc2=size=640x480:rate=30:duration={seconds}"
    encode = ["-pix_fmt", "yuv420p", "-c:v", "rawvideo", "-f", "nut", str(path)]
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", pattern, *encode], check=True)
    return path.read_bytes()


def frames(path: pathlib.Path) -> bytes:
    return demo.run_quietly(["ffmpeg", "-v", "error", "-i", str(path), "-f", "framemd5", "-"])


def passes(tmp_path: pathlib.Path, *arguments: str) -> str:
    """Run the demo: both parts have passed, and there is a picture. What it said."""
    pytest.importorskip("mrd")
    done = subprocess.run(
        [sys.executable, "examples/demo.py", "--seconds", "1", "--output", str(tmp_path), *arguments],
        cwd=demo.ROOT,
        env={**os.environ, "TMPDIR": "/tmp"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "the same 30 frames" in done.stdout
    assert "byte for byte" in done.stdout
    assert '{ "succeeded": 2 }' in done.stdout
    assert (tmp_path / "phantom_0000.png").read_bytes().startswith(b"\x89PNG")
    return done.stdout


@pytest.mark.long
def test_the_demo_passes_in_containers(tmp_path: pathlib.Path, podman: podman_support.Podman) -> None:
    """The same run files; the images are made of this host's files, which takes a while."""
    said = passes(tmp_path, "--engine", "container", "--engine-socket", podman.socket)
    assert f"executed by the container engine at {podman.socket}" in said
    deadline = time.monotonic() + 60
    while [one for one in podman.containers() if "tyger-run" in str(one["Names"])]:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # nothing tells when a container of a run that has ended is gone
    podman.cli("rmi", "--force", images.FFMPEG, images.MRD)


def test_the_demo_passes_and_leaves_a_picture(tmp_path: pathlib.Path) -> None:
    before = set(pathlib.Path("/tmp").glob("tyger-demo-*"))
    said = passes(tmp_path)
    # Other demos may run meanwhile; ours must have cleaned up.
    named = next(word.rstrip(",") for word in said.split() if "/tyger-demo-" in word)
    assert pathlib.Path(named) not in before
    assert not pathlib.Path(named).exists()


def test_a_daemon_killed_in_the_middle_loses_no_byte_and_hangs_nobody(
    scratch: demo.Scratch, tmp_path: pathlib.Path
) -> None:
    video = make_video(tmp_path / "video.nut", 2)
    with (
        open(tmp_path / "stderr", "wb") as log,
        subprocess.Popen(
            [TYGER, "run", "exec", "-f", demo.EXAMPLES / "negate.yml"],
            env=scratch.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as run,
    ):
        assert run.stdin is not None
        assert run.stdout is not None
        half = len(video) // 2
        run.stdin.write(video[:half])
        run.stdin.flush()
        # A byte of the result: capture, job and delivery are all under way.
        out = os.read(run.stdout.fileno(), 1)
        assert out
        os.kill(daemon_of(scratch.socket), signal.SIGKILL)
        run.stdin.write(video[half:])
        run.stdin.close()
        out += run.stdout.read()
        code = run.wait(60)
    shown = json.loads(scratch.output("run", "list"))
    assert len(shown) == 1
    job = shown[0]
    kept = subprocess.run(
        [TYGER, "buffer", "read", job["job"]["buffers"]["input"]],
        env=scratch.environ,
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    ).stdout
    assert hashlib.sha256(kept).hexdigest() == hashlib.sha256(video).hexdigest()
    if code == 0:
        assert job["status"] == "Succeeded"
        (tmp_path / "out.nut").write_bytes(out)
        negate = ["-vf", "negate", "-f", "nut", str(tmp_path / "direct.nut")]
        demo.run_quietly(["ffmpeg", "-v", "error", "-i", str(tmp_path / "video.nut"), *negate])
        assert frames(tmp_path / "out.nut") == frames(tmp_path / "direct.nut")
    else:
        assert job["status"] == "Failed", (tmp_path / "stderr").read_text()
        assert job["statusReason"]
