"""Ephemeral buffers of a pod: whole over connections that break, and failed by name where they cannot be."""

import os
import threading

import msgspec
import pytest
import trio

from tyger import errors
from tygerd.osutil import resumed
from tygerd.streams import podrelay

Kind = resumed.Kind
DATA = os.urandom(400_000)
PATIENCE = 60


class Daemon:
    """Comes in as a daemon does."""

    def __init__(self, port, name, life="one"):
        self.port, self.name, self.life = port, name, life
        self.session = resumed.Session()
        self.broken = 0

    async def hello(self, said=None):
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.turn = self.session.begin()
        try:
            return stream, *await self._greet(stream, said)
        except BaseException:
            with trio.CancelScope(shield=True):
                await stream.aclose()
            raise

    async def _greet(self, stream, said):
        hello = said or msgspec.json.encode(resumed.Hello(self.name, self.life, self.session.received))
        await stream.send_all(resumed.frame(Kind.HELLO, hello))
        frames = resumed.Frames()
        while data := await stream.receive_some(1000):
            for kind, payload in frames.feed(bytes(data)):
                assert kind is Kind.HELLO
                return frames, msgspec.json.decode(payload, type=resumed.Answer)
        return frames, None

    async def connect(self):
        """Once."""
        stream, frames, answer = await self.hello()
        async with stream:
            with trio.CancelScope() as self.connection:
                await self.session.serve(stream, frames, answer.received, self.turn)

    async def keep_connected(self):
        while True:
            await self.connect()

    async def keep_breaking(self):
        """Whenever a connection has moved something, break it, whatever else is on its way."""
        while True:
            moved = self.session.arrived_in_all
            while self.session.arrived_in_all == moved:
                await self.session.changed.wait()
            self.connection.cancel()
            self.broken += 1

    async def all(self):
        found = bytearray()
        while data := await self.session.get():
            found += data
            self.session.took(len(data))
        return bytes(found)

    def end(self, outcome="complete", reason=None):
        self.session.end(msgspec.json.encode(resumed.Ended(outcome, reason)))


@pytest.fixture
def pod(scene, tmp_path):
    """Starts a transfer of one buffer and a server for it in a nursery; the daemon, and main's pipe."""

    async def start(nursery, name="x", *, inputs=("x",)):
        path = tmp_path / name
        os.mkfifo(path)
        server = podrelay.Server(0)
        (transfer,) = podrelay.transfers([name], inputs, str(tmp_path), scene, server)
        await server.listen()
        nursery.start_soon(server.run)
        nursery.start_soon(transfer.run)
        return Daemon(server.port, name), transfer, path

    return start


async def until(transfer, scene):
    with trio.fail_after(PATIENCE):
        while not transfer.ended:
            await trio.lowlevel.wait_readable(scene.end.changed)
            scene.end.acknowledge()


async def in_thread(*call):
    return await trio.to_thread.run_sync(*call)


async def test_an_input_over_connections_that_break(pod, scene):
    async with trio.open_nursery() as nursery:
        daemon, transfer, path = await pod(nursery)
        nursery.start_soon(daemon.keep_connected)
        nursery.start_soon(daemon.keep_breaking)
        main = []
        nursery.start_soon(lambda: in_thread(lambda: main.append(path.read_bytes())))
        await daemon.session.hears(Kind.OPENED)
        for at in range(0, len(DATA), 5000):
            await daemon.session.put(DATA[at : at + 5000])
        daemon.end()
        await daemon.session.hears(Kind.GOODBYE)
        await until(transfer, scene)
        nursery.cancel_scope.cancel()
    assert (main, transfer.state) == ([DATA], "complete")
    assert daemon.broken


async def test_an_output_over_connections_that_break(pod, scene):
    async with trio.open_nursery() as nursery:
        daemon, transfer, path = await pod(nursery, inputs=())
        nursery.start_soon(daemon.keep_connected)
        nursery.start_soon(daemon.keep_breaking)
        threading.Thread(target=path.write_bytes, args=[DATA], daemon=True).start()
        with trio.fail_after(PATIENCE):
            assert await daemon.all() == DATA
        assert resumed.ended(daemon.session.heard[Kind.END]) == resumed.Ended("complete")
        assert not transfer.ended  # the user may still be reading
        scene.over.set()
        daemon.session.say(Kind.GOODBYE)
        await until(transfer, scene)
        nursery.cancel_scope.cancel()
    assert transfer.state == "complete"
    assert daemon.broken
    assert not scene.end.failed


async def test_an_output_of_a_main_that_fails(pod, scene):
    async with trio.open_nursery() as nursery:
        daemon, _, path = await pod(nursery, inputs=())
        nursery.start_soon(daemon.connect)
        scene.end.fail("Main exited with code 1")
        await in_thread(path.write_bytes, b"some")
        assert await daemon.all() == b"some"
        assert resumed.ended(daemon.session.heard[Kind.END]) == resumed.Ended(
            "failed", "Main exited with code 1"
        )
        nursery.cancel_scope.cancel()


async def test_an_input_whose_writer_fails(pod, scene):
    async with trio.open_nursery() as nursery:
        daemon, transfer, path = await pod(nursery)
        nursery.start_soon(daemon.connect)
        fd = await in_thread(os.open, path, os.O_RDONLY)
        await daemon.session.put(b"some")
        daemon.end("failed", "no more tape")
        await until(transfer, scene)
        os.close(fd)
        nursery.cancel_scope.cancel()
    assert (transfer.state, scene.end.result()[1]) == ("failed", "buffer 'x': no more tape")


async def test_an_output_whose_reader_goes(pod, scene):
    async with trio.open_nursery() as nursery:
        daemon, transfer, path = await pod(nursery, inputs=())
        nursery.start_soon(daemon.connect)
        fd = await in_thread(os.open, path, os.O_WRONLY)
        os.write(fd, b"some")
        assert await daemon.session.get() == b"some"
        daemon.session.say(Kind.CLOSED, msgspec.json.encode(resumed.Ended(reason="it went away")))
        await until(transfer, scene)
        os.close(fd)
        nursery.cancel_scope.cancel()
    assert (transfer.state, scene.end.result()[1]) == ("failed", "buffer 'x': it went away")


async def test_an_input_that_main_leaves(pod, scene):
    async with trio.open_nursery() as nursery:
        daemon, transfer, path = await pod(nursery)
        nursery.start_soon(daemon.connect)
        os.close(await in_thread(os.open, path, os.O_RDONLY))
        await daemon.session.hears(Kind.OPENED)
        await daemon.session.put(DATA)
        scene.over.set()
        assert await daemon.session.hears(Kind.CLOSED) is Kind.CLOSED
        await until(transfer, scene)
        nursery.cancel_scope.cancel()
    assert (transfer.state, scene.end.failed) == ("closed", False)


@pytest.mark.parametrize(("inputs", "state"), [(("x",), "skipped"), ((), "complete")])
async def test_a_pipe_that_is_never_opened(pod, scene, inputs, state):
    async with trio.open_nursery() as nursery:
        daemon, transfer, _ = await pod(nursery, inputs=inputs)
        nursery.start_soon(daemon.connect)
        scene.over.set()
        await until(transfer, scene)
        assert Kind.OPENED not in daemon.session.heard
        nursery.cancel_scope.cancel()
    assert (transfer.state, scene.end.failed) == (state, False)


async def test_another_daemon_goes_on_where_nothing_has_moved(pod, scene):
    async with trio.open_nursery() as nursery:
        daemon, transfer, path = await pod(nursery, inputs=())
        first, *_ = await daemon.hello()
        await first.aclose()
        nursery.start_soon(lambda: in_thread(path.write_bytes, b""))
        second = Daemon(daemon.port, "x", "two")
        nursery.start_soon(second.connect)
        await second.session.hears(Kind.OPENED)
        assert await second.all() == b""
        second.session.say(Kind.GOODBYE)
        scene.over.set()
        await until(transfer, scene)
        nursery.cancel_scope.cancel()
    assert transfer.state == "complete"


@pytest.mark.parametrize("inputs", [("x",), ()])
async def test_another_daemon_fails_what_has_begun(pod, scene, inputs):
    async with trio.open_nursery() as nursery:
        daemon, transfer, path = await pod(nursery, inputs=inputs)
        daemon.session.say(Kind.JOINED)
        fd = os.open(path, os.O_RDWR)
        os.write(fd, b"x")
        async with trio.open_nursery() as connected:
            connected.start_soon(daemon.connect)
            await daemon.session.hears(Kind.OPENED)
            await transfer._session.hears(Kind.JOINED)
            connected.cancel_scope.cancel()
        second = Daemon(daemon.port, "x", "two")
        stream, _, answer = await second.hello()
        await stream.aclose()
        assert answer == resumed.Answer(lost=True)
        await until(transfer, scene)
        os.close(fd)
        nursery.cancel_scope.cancel()
    assert scene.end.result()[1] == f"buffer 'x': {podrelay.NOT_BACK}"


@pytest.mark.parametrize("said", [b"{}", b"GET", b'{"relay":"y","session":"s"}'])
async def test_somebody_else_comes(pod, scene, said, caplog):
    async with trio.open_nursery() as nursery:
        daemon, transfer, _ = await pod(nursery)
        stream, _, answer = await daemon.hello(said)
        await stream.aclose()
        assert answer is None
        assert not transfer.ended
        nursery.cancel_scope.cancel()
    assert "is no daemon" in caplog.text


async def test_the_port_is_taken():
    first = podrelay.Server(0)
    await first.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        with pytest.raises(errors.Problem, match=f"cannot listen on port {first.port} for ephemeral buffers"):
            await podrelay.Server(first.port).listen()
        nursery.cancel_scope.cancel()
