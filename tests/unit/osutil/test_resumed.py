"""A stream over connections that break, at any byte: it arrives whole, once, and its end last."""

import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tygerd.osutil import resumed

Kind = resumed.Kind
PATIENCE = 60


@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=50)), max_size=20),
    st.integers(1, 30),
)
def test_frames_are_cut_anywhere(wanted, size):
    text = b"".join(resumed.frame(*each) for each in wanted)
    frames = resumed.Frames()
    found = [each for at in range(0, len(text), size) for each in frames.feed(text[at : at + size])]
    assert found == wanted


@pytest.mark.parametrize("text", [b"X\0\0\0\0", b"D\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n"])
def test_what_is_no_frame(text):
    with pytest.raises(resumed.GarbledError):
        list(resumed.Frames().feed(text))


class Line:
    """Two sessions, and connections between them, each of which is cut after so many bytes."""

    def __init__(self):
        self.one, self.other = resumed.Session(), resumed.Session()
        self.connections = 0

    async def connect(self, lasts):
        """Until it breaks."""
        self.connections += 1
        near, far = trio.testing.memory_stream_pair()
        left = lasts

        def pump(stream):
            async def hook():
                nonlocal left
                data = stream.send_stream.get_data_nowait()
                kept = data[: max(0, left)]
                left -= len(data)
                if kept:
                    target = far if stream is near else near
                    target.receive_stream.put_data(kept)
                if left <= 0:
                    near.receive_stream.put_eof()
                    far.receive_stream.put_eof()

            return hook

        for stream in (near, far):
            stream.send_stream.send_all_hook = pump(stream)
        async with trio.open_nursery() as nursery:
            one, other = self.one.begin(), self.other.begin()
            nursery.start_soon(self.one.serve, near, resumed.Frames(), self.other.received, one)
            nursery.start_soon(self.other.serve, far, resumed.Frames(), self.one.received, other)

    async def keep_up(self, lasts):
        while True:
            await self.connect(lasts())


async def drain(session, slowly=False):
    found = bytearray()
    while data := await session.get():
        found += data
        if slowly:
            await trio.lowlevel.checkpoint()
        session.took(len(data))
    return bytes(found)


@pytest.mark.parametrize("seed", range(8))
async def test_a_stream_arrives_whole_over_connections_that_break(seed):
    rng = random.Random(seed)
    data = rng.randbytes(300_000 if seed else 3 * resumed.WINDOW)
    line = Line()
    found = []

    async def send():
        at = 0
        while at < len(data):
            size = rng.randint(1, 20_000)
            await line.one.put(data[at : at + size])
            at += size
        line.one.end(b"complete")
        await line.one.hears(Kind.GOODBYE)

    async def receive():
        found.append(await drain(line.other))
        assert line.other.heard[Kind.END] == b"complete"
        line.other.say(Kind.GOODBYE)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(line.keep_up, lambda: rng.randint(1, 200_000) if seed else 10**9)
            await send()
            nursery.cancel_scope.cancel()
    assert found == [data]
    assert seed == 0 or line.connections > 1


async def test_both_ways_at_once():
    line = Line()
    there, back = random.Random(1).randbytes(200_000), random.Random(2).randbytes(300_000)
    found = {}

    async def play(session, data, name):
        async def send():
            for at in range(0, len(data), 7777):
                await session.put(data[at : at + 7777])
            session.end(b"")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            found[name] = await drain(session, slowly=True)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.keep_up, lambda: 100_000)
            async with trio.open_nursery() as players:
                players.start_soon(play, line.one, there, "back")
                players.start_soon(play, line.other, back, "there")
            nursery.cancel_scope.cancel()
    assert found == {"there": there, "back": back}


async def test_who_sends_waits_for_who_takes():
    line = Line()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.connect, 10**9)
        sent = 0

        async def send():
            nonlocal sent
            while await line.one.put(bytes(resumed.PIECE)):
                sent += resumed.PIECE

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert sent == resumed.WINDOW
        assert len(await line.other.get()) == resumed.PIECE
        await trio.testing.wait_all_tasks_blocked()
        assert sent == resumed.WINDOW  # it came, and has not gone on
        line.other.took(resumed.PIECE)
        await trio.testing.wait_all_tasks_blocked()
        assert sent == resumed.WINDOW + resumed.PIECE
        line.other.say(Kind.CLOSED, b"enough")
        assert await line.one.hears(Kind.GOODBYE, Kind.CLOSED) is Kind.CLOSED
        await trio.testing.wait_all_tasks_blocked()
        assert line.one.heard[Kind.CLOSED] == b"enough"
        nursery.cancel_scope.cancel()


async def test_what_was_said_is_said_on_each_connection():
    line = Line()
    line.one.say(Kind.OPENED)
    line.one.say(Kind.JOINED)
    with trio.move_on_after(0.05):
        await line.connect(3)  # a part of the first frame
    assert not line.other.heard
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.connect, 10**9)
        await line.other.hears(Kind.JOINED)
        assert Kind.OPENED in line.other.heard
        nursery.cancel_scope.cancel()


async def test_a_newer_connection_takes_over():
    line = Line()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.connect, 10**9)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(line.connect, 10**9)
        await line.one.put(b"x")
        assert await line.other.get() == b"x"
        nursery.cancel_scope.cancel()


async def test_what_comes_late_over_an_older_connection_is_not_taken_twice():
    """An API server that was restarted still has bytes in hand, while their sender sends them anew."""
    session = resumed.Session()
    late, _ = trio.testing.memory_stream_pair()
    newer, _ = trio.testing.memory_stream_pair()
    data = resumed.frame(Kind.DATA, b"once")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.serve, late, resumed.Frames(), 0, session.begin())
        await trio.testing.wait_all_tasks_blocked()
        # It was received, and the task that did so goes on only after the newer one has begun.
        late.receive_stream.put_data(data)
        turn, told = session.begin(), session.received
        await trio.testing.wait_all_tasks_blocked()
        late.receive_stream.put_data(data)
        await trio.testing.wait_all_tasks_blocked()
        assert session.received == told
        nursery.start_soon(session.serve, newer, resumed.Frames(), 0, turn)
        newer.receive_stream.put_data(data)
        assert await session.get() == b"once"
        await trio.testing.wait_all_tasks_blocked()
        assert session.received == 4
        nursery.cancel_scope.cancel()


async def test_of_two_new_connections_the_last_counts():
    session = resumed.Session()
    near, _ = trio.testing.memory_stream_pair()
    first = session.begin()
    session.begin()
    with trio.fail_after(PATIENCE):
        await session.serve(near, resumed.Frames(), 0, first)  # at once: it has had its turn


async def test_untouched():
    line = Line()
    assert line.other.is_untouched
    line.other.say(Kind.OPENED)
    assert line.other.is_untouched
    line.one.say(Kind.JOINED)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.connect, 10**9)
        await line.other.hears(Kind.JOINED)
        nursery.cancel_scope.cancel()
    assert not line.other.is_untouched
    await line.one.put(b"x")
    assert not line.one.is_untouched


@pytest.mark.parametrize(
    "said",
    [
        b"?????",
        resumed.frame(Kind.HELLO),
        resumed.frame(Kind.TAKEN, b"1"),
        resumed.frame(Kind.TAKEN, (1).to_bytes(8, "big")),
        resumed.frame(Kind.DATA, bytes(resumed.PIECE)) * 18,
    ],
)
async def test_nonsense_ends_a_connection(said):
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.send_all, said)
        with pytest.raises(resumed.GarbledError), trio.fail_after(PATIENCE):
            session = resumed.Session()
            await session.serve(near, resumed.Frames(), 0, session.begin())


async def test_more_was_received_than_was_sent():
    near, _ = trio.testing.memory_stream_pair()
    with pytest.raises(resumed.GarbledError, match="5 bytes were received, of 0"):
        session = resumed.Session()
        await session.serve(near, resumed.Frames(), 5, session.begin())
