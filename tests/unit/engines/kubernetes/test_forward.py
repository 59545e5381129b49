"""Ephemeral buffers between a user here and a pod: real streams of a daemon, a real pump's server.

The way there is a connection on this host instead of a port-forward; `tests/cluster` has that.
"""

import contextlib
import dataclasses
import os
import socket
import threading

import pytest
import trio

from tests.unit.engines.kubernetes import pods as made
from tyger import errors
from tygerd.engines.kubernetes import forward, objects, refusals, rundir
from tygerd.identity import keys
from tygerd.stores import localurls
from tygerd.streams import hashing, podpipes, podrelay, relay, relays
from tygerd.supervisor import ending

PATIENCE = 60
DATA = os.urandom(3_000_000)
POD = "run-7-01234567-job-0"
RUNNING = {"status": {"initContainerStatuses": [{"name": "pumps", "state": {"running": {}}}]}}


class Pods:
    """What is known of the pods; `become` changes it."""

    def __init__(self):
        self.now = {}
        self.event = trio.Event()

    def become(self, pod):
        self.now = {POD: pod}
        self.event.set()
        self.event = trio.Event()

    def pods(self, _run):
        return self.now

    async def changed(self, _run, seen):
        await self.event.wait()
        return seen + 1


class Way:
    """Connections to the pump's server; `cut` breaks those that are there."""

    def __init__(self, server):
        self.server = server
        self.error = None
        self.refusals = []
        self.numbers = []

    def dial(self, _reached, pod, _port):
        assert pod == POD
        if self.refusals:
            raise self.refusals.pop(0)
        self.socket = socket.create_connection(("127.0.0.1", self.server.port))
        self.numbers.append(self.socket.fileno())
        return self

    def cut(self):
        # The socket object became trio's, but for its descriptor.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.numbers[-1])) as again:
            again.shutdown(socket.SHUT_RDWR)


class Scene:
    """A run with one ephemeral buffer: both of its ends, and everything in between."""

    def __init__(self, tmp_path, direction):
        self.ending = ending.Ending(0.05)
        self.over = trio.Event()
        self.path = tmp_path / "x"
        os.mkfifo(self.path)
        self.inputs, self.outputs = (["x"], []) if direction == "input" else ([], ["x"])
        job = made.job(inputs=self.inputs, outputs=self.outputs)
        job.buffers["x"] = self.buffer = "run-7-temp-abc"
        composed = objects.compose(dataclasses.replace(job), made.place())
        self.record = rundir.Record(namespace="ns", installation="i", job=job, objects=composed)
        self.server = podrelay.Server(0)
        scene = podpipes.Scene(
            self.ending, self.over, hashing.Hasher(), trio.CapacityLimiter(9), 2, 4096, 1.0
        )
        (self.transfer,) = podrelay.transfers(["x"], self.inputs, str(tmp_path), scene, self.server)
        self.session = self.server._buffers["x"].session
        signer = keys.load_or_create(str(tmp_path / "keys"))
        self.relays = relays.Relays(localurls.LocalUrls(signer, "/s"), reattach_grace=PATIENCE)
        self.pods = Pods()
        self.way = Way(self.server)

    def stream(self):
        return forward.Stream(None, self.record, POD, "x", self.pods, self.relays, self.way.dial)

    @contextlib.asynccontextmanager
    async def going(self):
        await self.server.listen()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.relays.run)
            self.relays.expect(7, self.record.job.buffers, self.inputs)
            nursery.start_soon(self.server.run)
            nursery.start_soon(self.transfer.run)
            nursery.start_soon(self.stream().run)
            self.pods.become(RUNNING)
            with trio.fail_after(PATIENCE):
                yield nursery
            nursery.cancel_scope.cancel()

    async def use(self, role, fd, outcome=None):
        """Be the user; what the stream has said last."""
        end = relay.End(role, fd)
        found = self.relays.find(self.buffer)
        found.claim(end)
        events = []

        async def report(event):
            events.append(event)
            if event["event"] == "eof":
                found.say(outcome or "complete", None)

        try:
            await found.follow(end, report)
        finally:
            with trio.CancelScope(shield=True):
                await found.leave(end, gone=True)
        return events[-1]

    async def ended(self):
        while not self.transfer.ended:
            await trio.lowlevel.wait_readable(self.ending.changed)
            self.ending.acknowledge()


@pytest.fixture
def scene(tmp_path, request):
    it = Scene(tmp_path, request.param)
    yield it
    it.ending.close()


into = pytest.mark.parametrize("scene", ["input"], indirect=True)
out_of = pytest.mark.parametrize("scene", ["output"], indirect=True)


async def in_thread(*call):
    return await trio.to_thread.run_sync(*call, abandon_on_cancel=True)


async def filled(got):
    """A thread that reads is a moment behind."""
    with trio.fail_after(PATIENCE):
        while not got:
            await trio.lowlevel.checkpoint()


def read_all(fd):
    with open(fd, "rb") as file:
        return file.read()


def feed(fd, data):
    """In a thread: write and close."""

    def run():
        with contextlib.suppress(BrokenPipeError), open(fd, "wb") as file:
            file.write(data)

    threading.Thread(target=run, daemon=True).start()


@into
@pytest.mark.parametrize("cuts", [False, True])
async def test_a_user_writes_to_a_job(scene, cuts, monkeypatch):
    monkeypatch.setattr(forward, "FIRST_PAUSE", 0.001)
    async with scene.going() as nursery:
        if cuts:
            nursery.start_soon(cut_now_and_then, scene)
        got = []
        nursery.start_soon(lambda: in_thread(lambda: got.append(scene.path.read_bytes())))
        reader, writer = os.pipe()
        feed(writer, DATA)
        last = await scene.use("writer", reader)
        await scene.ended()
        await filled(got)
        os.close(reader)
    assert (last["event"], last["bytes"], scene.transfer.state) == ("complete", len(DATA), "complete")
    assert got == [DATA]
    assert not cuts or len(scene.way.numbers) > 1


@out_of
@pytest.mark.parametrize("cuts", [False, True])
async def test_a_job_writes_to_a_user(scene, cuts, monkeypatch):
    monkeypatch.setattr(forward, "FIRST_PAUSE", 0.001)
    async with scene.going() as nursery:
        if cuts:
            nursery.start_soon(cut_now_and_then, scene)
        feed(await in_thread(os.open, scene.path, os.O_WRONLY), DATA)
        reader, writer = os.pipe()
        got = []
        nursery.start_soon(lambda: in_thread(lambda: got.append(read_all(reader))))
        last = await scene.use("reader", writer)
        os.close(writer)
        scene.over.set()
        await scene.ended()
        await filled(got)
    assert (last["event"], last["bytes"], scene.transfer.state) == ("complete", len(DATA), "complete")
    assert got == [DATA]
    assert not cuts or len(scene.way.numbers) > 1


async def cut_now_and_then(scene):
    """Whenever some more of it has gone through, so that it comes to an end however slow all this is."""
    session = scene.session
    while True:
        seen = session.arrived_in_all
        while session.arrived_in_all < seen + 100_000:
            await session.changed.wait()
        scene.way.cut()


@into
async def test_a_user_whose_producer_fails(scene):
    async with scene.going():
        fd = os.open(scene.path, os.O_RDONLY | os.O_NONBLOCK)
        reader, writer = os.pipe()
        feed(writer, b"some")
        last = await scene.use("writer", reader, "failed")
        await scene.ended()
        os.close(reader)
        os.close(fd)
    assert last["event"] == "failed"
    assert scene.ending.result()[1] == "buffer 'x': its writer failed"


@into
async def test_a_job_that_takes_no_more(scene):
    async with scene.going() as nursery:
        nursery.start_soon(take_a_little, scene)
        reader, writer = os.pipe()
        feed(writer, DATA)
        last = await scene.use("writer", reader)
        await scene.ended()
        os.close(reader)
    assert (last["event"], last["reason"]) == ("closed", relay.JOB_HAD_ENOUGH)
    assert (scene.transfer.state, scene.ending.failed) == ("closed", False)


async def take_a_little(scene):
    fd = await in_thread(os.open, scene.path, os.O_RDONLY)
    await in_thread(os.read, fd, 1000)
    os.close(fd)
    scene.over.set()


@out_of
async def test_a_user_who_takes_no_more(scene):
    async with scene.going():
        feed(await in_thread(os.open, scene.path, os.O_WRONLY), DATA)
        reader, writer = os.pipe()
        os.close(reader)
        last = await scene.use("reader", writer)
        await scene.ended()
        os.close(writer)
    assert last["event"] == "closed"
    assert scene.ending.result()[1] == f"buffer 'x': {relay.READER_GONE}"


@out_of
async def test_a_job_that_fails(scene):
    async with scene.going():
        fd = await in_thread(os.open, scene.path, os.O_WRONLY)
        os.write(fd, b"some")
        scene.ending.fail("Main exited with code 3")
        os.close(fd)
        reader, writer = os.pipe()
        last = await scene.use("reader", writer)
        os.close(writer)
        os.close(reader)
    assert (last["event"], last["reason"]) == ("failed", "Main exited with code 3")


@out_of
async def test_somebody_else_is_the_jobs_end(scene):
    """Another replica of the job, say."""
    async with scene.going():
        reader, writer = os.pipe()
        scene.relays.find(scene.buffer).claim(relay.End("writer", reader, of_job=True))
        feed(await in_thread(os.open, scene.path, os.O_WRONLY), b"some")
        await scene.ended()
        os.close(reader)
        os.close(writer)
    assert scene.ending.result()[1] == f"buffer 'x': {relay.ALREADY_CALLED}"


@into
async def test_a_daemon_that_comes_second_finds_it_lost(scene):
    async with scene.going() as nursery:
        fd = os.open(scene.path, os.O_RDONLY | os.O_NONBLOCK)
        reader, writer = os.pipe()
        os.write(writer, b"some")
        nursery.start_soon(scene.use, "writer", reader)
        while scene.relays.find(scene.buffer).phase is not relay.Phase.MOVING:
            await trio.lowlevel.checkpoint()
        nursery.start_soon(scene.stream().run)  # of another life
        await scene.ended()
        for each in (fd, writer):
            os.close(each)
        nursery.cancel_scope.cancel()
    assert scene.ending.result()[1] == f"buffer 'x': {podrelay.NOT_BACK}"


@into
async def test_the_way_is_tried_until_it_is_open(scene, monkeypatch):
    monkeypatch.setattr(forward, "FIRST_PAUSE", 0.001)
    scene.way.refusals = [
        refusals.NotFound("no such pod", status=404),
        refusals.Transient("busy", status=503),
        refusals.Refused("forbidden", status=403),
        OSError("reset"),
    ]
    async with scene.going() as nursery:
        got = []
        nursery.start_soon(lambda: in_thread(lambda: got.append(scene.path.read_bytes())))
        reader, writer = os.pipe()
        feed(writer, b"hello")
        await scene.use("writer", reader)
        await scene.ended()
        await filled(got)
        os.close(reader)
    assert got == [b"hello"]


@pytest.mark.parametrize(
    "pod",
    [
        {},
        {"status": {}},
        {"status": {"initContainerStatuses": None}},
        {"status": {"initContainerStatuses": [{"name": "prepare", "state": {"running": {}}}]}},
        {"status": {"initContainerStatuses": [{"name": "pumps", "state": {"waiting": {}}}]}},
    ],
)
def test_a_pod_whose_pump_does_not_run(pod):
    assert not forward._is_running(pod)
    assert forward._is_running(RUNNING)


async def test_nothing_ephemeral_needs_nothing():
    job = made.job(inputs=["in"])
    record = rundir.Record(
        namespace="ns", installation="i", job=job, objects=objects.compose(job, made.place())
    )
    with trio.fail_after(PATIENCE):
        await forward.join(None, record, None, None)


@into
async def test_a_buffer_that_is_unknown_here(scene):
    async with scene.going():
        del scene.relays._relays["abc"]
        fd = await in_thread(os.open, scene.path, os.O_RDONLY)
        await scene.ended()
        os.close(fd)
    assert "buffer relay server does not exist" in scene.ending.result()[1]
    with pytest.raises(errors.Problem):
        scene.relays.find(scene.buffer)
