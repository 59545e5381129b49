"""A pod without a cluster: the directories that its pump is given, its store, and its API server.

A pump lives in the test's process, or as the program that a pod starts; main is a thread or nobody, and the
kubelet is a channel of signals.
"""

import contextlib
import os
import signal
import subprocess
import sys

import trio

from tests.house import sources
from tests.support import ending
from tygerd.streams import pumpoptions, pumppod

COMPLETE, FAILED = '{"status":"complete"}', '{"status":"failed"}'
"""How a buffer ends, in its marker."""

PATIENCE = 60
"""Seconds until a pump counts as stuck."""


class Pod:
    """The directories of a pod, its store, and its API server."""

    def __init__(self, path, server, api):
        self.path = path
        self.server = server
        self.api = api
        for name in ("fifos", "access", "state"):
            (path / name).mkdir()
        self.stop, self.signals = trio.open_memory_channel(9)

    def buffer(self, name, container, sig="good"):
        """Give a parameter a buffer; main's end of its pipe."""
        self.server.containers.setdefault(container, {})
        (self.path / "access" / name).write_text(self.server.url(container, sig))
        os.mkfifo(self.path / "fifos" / name)
        return str(self.path / "fifos" / name)

    def argv(self, *argv):
        places = {name: self.path / name for name in ("fifos", "access", "state")}
        places |= {"last-words": self.path / "last-words", "service-account": self.api.directory}
        return ["pod", *argv, *(f"--{name}={path}" for name, path in places.items())]

    def options(self, *argv):
        return pumpoptions.parser().parse_args(self.argv(*argv))

    def start(self, *argv):
        """The program, as a pod starts it."""
        return ending.Popen(
            [sys.executable, "-m", "tygerd", "pump", *self.argv(*argv), "--log-format", "human"],
            env={"PYTHONPATH": str(sources.ROOT), **self.api.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def pump(self, *argv):
        return pumppod.Pump(self.options(*argv), self.api.environ)

    def ended(self, code, **status):
        """Main has ended, and the kubelet stops us."""
        self.api.main, self.api.more = code, status
        self.stop.send_nowait(signal.SIGTERM)

    async def live(self, *argv):
        with trio.fail_after(PATIENCE):
            return await self.pump(*argv).run(self.signals)

    def heard(self, container, name):
        """Block until a buffer's blob is there."""
        self.server.wait(lambda: name in self.server.containers[container])

    def stored(self, container):
        """The bytes of a buffer, and its end."""
        blobs = self.server.containers[container]
        data = b"".join(blob.data for name, blob in sorted(blobs.items()) if not name.startswith("."))
        end = blobs.get(".bufferend")
        return data, end and end.data.decode()


def write(path, *pieces):
    with open(path, "wb") as file:
        file.writelines(pieces)


def read(path, most=-1):
    with open(path, "rb", buffering=0) as file:
        return file.read(most)


async def in_thread(*call):
    return await trio.to_thread.run_sync(*call)


@contextlib.asynccontextmanager
async def living(pod, *argv):
    """A pump that lives while the block goes on; what became of it is appended to the list."""
    ends = []

    async def live():
        ends.append(await pod.live(*argv))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        yield ends


async def filled(pod, name, data):
    """An input of the pod with this content; main's end of its pipe."""
    pipe = pod.buffer(f"made-{name}", name)
    async with living(pod, f"--output=made-{name}"):
        await in_thread(write, pipe, data)
        pod.ended(0)
    pod.api.main = None
    os.unlink(pipe)
    return pod.buffer(name, name, "reader")


def finish(process):
    """The exit code and the standard error of a pump that ends."""
    out, err = process.communicate(timeout=PATIENCE)
    assert out == ""
    return process.returncode, err
