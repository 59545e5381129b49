"""The demo: a video and an MRI scan go through runs; nothing is mocked, and every result is checked.

It owns a state directory, which it removes together with the daemon in it (`--keep` leaves both). It uses
the commands as a user would, and the standard library only. What it prints was measured here and now. With
`--engine container` the same run files are executed by Docker or Podman, with `--engine kubernetes` by the
nodes of a cluster (`clusters.py`); images that these lack are made of this host's own programs (`images.py`),
and stay.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

sys.path.insert(0, os.path.dirname(__file__))  # tests import this module as one of a package

import clusters
import images

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
CHUNK = 1024 * 1024
PROCESS = '[engine]\nuse = "process"\n'


class DemoError(Exception):
    """The demo cannot go on; the text is one line for the user."""


class Flow(NamedTuple):
    """One stream through a run: bytes that came out, and seconds since its commands were started."""

    received: int
    first: float
    total: float


class Scratch:
    """A place for a daemon and its files that no other daemon shares, and the commands in it.

    `use` is what its configuration says of the engine.
    """

    def __init__(self, tyger: list[str], *, keep: bool, use: str = PROCESS) -> None:
        self.tyger = tyger
        self.keep = keep
        # Short: a Unix socket's path has room for 107 bytes.
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="tyger-demo-"))
        self.socket = self.path / "tyger.sock"
        for name in ("runtime", "state", "config/tyger"):
            (self.path / name).mkdir(parents=True, mode=0o700)
        text = (EXAMPLES / "tygerd.toml").read_text()
        # The demo has mrd-python where it runs itself.
        text = text.replace("/opt/mrd/bin", str(pathlib.Path(sys.executable).parent))
        (self.path / "config/tyger/tygerd.toml").write_text(use + text)
        self.environ = {
            **os.environ,
            "TYGER_SOCKET": str(self.socket),
            "XDG_RUNTIME_DIR": str(self.path / "runtime"),
            "XDG_STATE_HOME": str(self.path / "state"),
            "XDG_CONFIG_HOME": str(self.path / "config"),
        }
        self.environ.pop("TYGER_AUTOSTART", None)

    def output(self, *arguments: str) -> str:
        """What a `tyger` command prints."""
        return run_quietly([*self.tyger, *arguments], env=self.environ).decode()

    def run_exec(self, run_file: str) -> list[str]:
        """The command that executes one of our examples."""
        return [*self.tyger, "run", "exec", "--logs", "-f", str(EXAMPLES / run_file)]

    def close(self) -> None:
        """Stop the daemon that the commands started, and remove every file."""
        if self.keep:
            names = ("TYGER_SOCKET", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
            say(
                "kept; for a look around: export "
                + " ".join(f"{name}={self.environ[name]}" for name in names)
            )
            return
        stop_daemon(str(self.socket))
        shutil.rmtree(self.path, ignore_errors=True)


def stop_daemon(path: str) -> None:
    """End the daemon that listens on a socket, and wait until it is gone. None there: nothing to do."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            return
        # The kernel tells who called listen().
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], 20)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            raise DemoError("the daemon did not stop within 20 s and was killed")
    except ProcessLookupError:
        pass
    finally:
        os.close(process)


def say(text: str) -> None:
    """One line for the user, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run_quietly(command: list[str], env: dict[str, str] | None = None) -> bytes:
    """Run a command to its end and return what it wrote to stdout."""
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=env)
    if done.returncode:
        raise DemoError(f"exit code {done.returncode} from {shlex.join(command)}")
    return done.stdout


def stream(
    producer: list[str], command: list[str], sink: pathlib.Path, env: dict[str, str] | None = None
) -> Flow:
    """`PRODUCER | COMMAND > SINK`; the `> SINK` is this process, which so takes the times.

    What the command says on stderr is shown only when it fails.
    """
    started = time.monotonic()
    first = 0.0
    received = 0
    with (
        tempfile.TemporaryFile() as log,
        sink.open("wb") as file,
        subprocess.Popen(producer, stdout=subprocess.PIPE) as source,
        subprocess.Popen(
            command, env=env, stdin=source.stdout, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        if source.stdout is None or process.stdout is None:
            raise DemoError("the pipes were not made")
        source.stdout.close()  # the command has its own; only so does its failure end the producer
        while chunk := os.read(process.stdout.fileno(), CHUNK):
            first = first or time.monotonic() - started
            received += len(chunk)
            file.write(chunk)
        code = process.wait()
        total = time.monotonic() - started
        if code:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise DemoError(f"exit code {code} from {shlex.join(command)}; its words are above")
    return Flow(received, first, total)


def report(name: str, sent: int, flow: Flow) -> None:
    """The figures of one stream."""
    mib = 1024 * 1024
    amount = f"{sent / mib:.1f} MiB in, {flow.received / mib:.2f} MiB out in {flow.total:.2f} s"
    rate = f"{sent / mib / flow.total:.1f} MiB/s"
    say(f"  {name}: {amount}, {rate}; first byte out after {flow.first:.2f} s")


def video(scratch: Scratch, seconds: float) -> None:
    """Part (a). The direct run has the same options, so every decoded frame has to be the same."""
    say("A video through ffmpeg")
    ffmpeg = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    source, out, direct = (scratch.path / name for name in ("video.nut", "out.nut", "direct.nut"))
    pattern = [
        "-f",
        "lavfi",
        "-i",
        f"testsrc2=size=640x480:rate=30:duration={seconds}",
        "-pix_fmt",
        "yuv420p",
    ]
    run_quietly([*ffmpeg, *pattern, "-c:v", "rawvideo", "-f", "nut", str(source)])
    say("  $ cat video.nut | tyger run exec -f examples/negate.yml > out.nut")
    producer = ["cat", str(source)]
    through_run = stream(producer, scratch.run_exec("negate.yml"), out, scratch.environ)
    alone = stream(
        producer, [*ffmpeg, "-i", "/dev/stdin", "-vf", "negate", "-f", "nut", "/dev/stdout"], direct
    )
    # The MD5 of every decoded frame, with its time stamps.
    frames, expected = (
        run_quietly([*ffmpeg, "-i", str(path), "-f", "framemd5", "-"]).splitlines() for path in (out, direct)
    )
    if frames != expected:
        raise DemoError("out.nut does not decode to the frames that ffmpeg -vf negate makes directly")
    size = source.stat().st_size
    report("through a run", size, through_run)
    report("ffmpeg alone", size, alone)
    count = sum(not line.startswith(b"#") for line in frames)
    say(f"  out.nut decodes to the same {count} frames as ffmpeg -vf negate run directly")


def scan(scratch: Scratch, output: pathlib.Path) -> pathlib.Path:
    """Part (b). Returns the picture's path. `tee` keeps the raw data, which are random, to compare with."""
    say("An MRI scan through a reconstruction")
    tools = [sys.executable, "-m"]
    raw, images, direct = (scratch.path / name for name in ("phantom.mrd", "images.mrd", "direct.mrd"))
    say("  $ python -m mrd.tools.phantom | tyger run exec -f examples/mrd-recon.yml > images.mrd")
    phantom = f"{shlex.join([*tools, 'mrd.tools.phantom'])} | tee {shlex.quote(str(raw))}"
    flow = stream(["sh", "-c", phantom], scratch.run_exec("mrd-recon.yml"), images, scratch.environ)
    run_quietly([*tools, "mrd.tools.stream_recon", "--input", str(raw), "--output", str(direct)])
    if images.read_bytes() != direct.read_bytes():
        raise DemoError("images.mrd differs from what the reconstruction makes directly")
    report("through a run, as fast as the phantom is made", raw.stat().st_size, flow)
    say("  images.mrd is byte for byte what the reconstruction makes directly")
    say("  $ python -m mrd.tools.export_png_images < images.mrd")
    output.mkdir(parents=True, exist_ok=True)
    picture = output / "phantom_0000.png"
    picture.unlink(missing_ok=True)
    export = [*tools, "mrd.tools.export_png_images"]
    run_quietly([*export, "-i", str(images), "-o", str(output / "phantom_")])
    if not picture.exists():
        raise DemoError("mrd.tools.export_png_images made no picture")
    return picture


def find_engine(given: str | None) -> str:
    """The Unix socket of a container engine: the one that was named, or the first of the usual ones."""
    usual = [
        *(os.environ.get(name, "").removeprefix("unix://") for name in ("DOCKER_HOST", "CONTAINER_HOST")),
        os.path.join(os.environ.get("XDG_RUNTIME_DIR", "/run/user/0"), "podman/podman.sock"),
        "/run/podman/podman.sock",
        "/var/run/docker.sock",
    ]
    for path in [given] if given else usual:
        if path and os.path.exists(path):
            return path
    raise DemoError(
        f"there is no socket {given}"
        if given
        else "no container engine was found: start one (systemctl start podman.socket, or podman system"
        " service --time 0 unix:///run/podman/podman.sock), or say where it is (--engine-socket)"
    )


def make_images(path: str) -> None:
    """Give the engine the images that it lacks."""
    engine = images.Engine(path)
    for name, make in ((images.FFMPEG, images.ffmpeg), (images.MRD, images.mrd)):
        if not engine.has(name):
            say(f"  {name} is not in the engine; it is made of this host's files, and stays there")
            engine.load(name, make())


def give_images(cluster: clusters.Cluster, place: pathlib.Path) -> None:
    """Give the cluster's nodes what they would pull elsewhere."""
    for name, make in ((cluster.pump_image, None), (images.FFMPEG, images.ffmpeg), (images.MRD, images.mrd)):
        say(f"  {name} is made of this host's files, and given to the cluster's nodes")
        cluster.give(place, name, make and make())


def check_programs(program: str) -> None:
    """Refuse to start without what the demo needs."""
    if not os.access(program, os.X_OK):
        raise DemoError(f"{program} is missing; ./just setup installs tyger, ./just build makes the bundle")
    if shutil.which("ffmpeg") is None:
        raise DemoError("ffmpeg is missing; on Debian: apt-get install ffmpeg")


def main() -> int:
    """Run both parts; returns the exit code."""
    parser = argparse.ArgumentParser(prog="./just demo", description="A video and an MRI scan through runs.")
    parser.add_argument(
        "--bundle", action="store_true", help="use dist/tyger/tyger, which ./just build makes"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the daemon and its files for a look around"
    )
    parser.add_argument("--seconds", type=float, default=8, help="length of the video (default 8)")
    parser.add_argument(
        "--output", type=pathlib.Path, default=ROOT / "demo-output", help="where the picture goes"
    )
    parser.add_argument(
        "--engine",
        choices=("process", "container", "kubernetes"),
        default="process",
        help="what executes the runs",
    )
    parser.add_argument("--engine-socket", metavar="PATH", help="where the container engine listens")
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="a cluster (default: the tests', started for the demo)"
    )
    parser.add_argument("--namespace", default="tyger", help="where its runs are (default: tyger)")
    parser.add_argument("--host", metavar="ADDRESS", help="where its pods reach this machine")
    parser.add_argument(
        "--pump-image", metavar="IMAGE", help="what `./just container` makes, as nodes pull it"
    )
    parser.add_argument(
        "--load",
        metavar="COMMAND",
        help='what gives its nodes an image, such as "kind load image-archive"; unset: they pull all',
    )
    options = parser.parse_args()
    installed = pathlib.Path(sys.executable).with_name("tyger")
    program = os.environ.get("DEMO_TYGER") or str(ROOT / "dist/tyger/tyger" if options.bundle else installed)
    try:
        check_programs(program)
        cluster = engine = None
        use = PROCESS
        if options.engine == "container":
            engine = find_engine(options.engine_socket)
            use = f'[engine]\nuse = "container"\n[engine.container]\nsocket = "{engine}"\n'
        elif options.engine == "kubernetes":
            given = (options.kubeconfig, options.namespace, options.host, options.pump_image, options.load)
            cluster = clusters.find(*given)
            use = cluster.config()
        scratch = Scratch([program], keep=options.keep, use=use)
        try:
            say(f"A daemon of its own in {scratch.path}, started by the first command that needs it")
            say("  $ tyger status")
            scratch.output("status")
            if engine is not None:
                say(f"Runs are executed by the container engine at {engine}")
                make_images(engine)
            if cluster is not None:
                say(f"Runs are pods of the namespace {cluster.namespace}, by {cluster.kubeconfig}")
                if cluster.load is not None:
                    give_images(cluster, scratch.path)
            video(scratch, options.seconds)
            picture = scan(scratch, options.output.resolve())
            say("  $ tyger run counts")
            say("  " + " ".join(scratch.output("run", "counts").split()))
            say(f"picture: {picture}")
        finally:
            scratch.close()
    except (DemoError, clusters.ClusterError, images.ImageError, OSError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
