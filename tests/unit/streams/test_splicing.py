"""One pipe into another: at once, with back-pressure, and to an end that says why."""

import contextlib
import os
import threading

import pytest

from tyger import streams
from tygerd.streams import splicing


@contextlib.contextmanager
def pipe():
    source, sink = os.pipe()
    with open(source, "rb", buffering=0) as output, open(sink, "wb", buffering=0) as into:
        yield output, into


class Joined:
    """Two pipes that are joined by a thread: what is written to `input` comes out of `output`."""

    def __init__(self, stack):
        source, self.input = stack.enter_context(pipe())
        self.output, sink = stack.enter_context(pipe())
        self.source, self.sink = source, sink
        self.stop = stack.enter_context(contextlib.closing(streams.Stop()))
        self.moved, self.how = 0, None
        self._thread = threading.Thread(target=self._join)
        self._thread.start()

    def _join(self):
        self.how = splicing.join(self.source.fileno(), self.sink.fileno(), self.stop, self._count)

    def _count(self, count):
        self.moved += count

    def ended(self):
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.how


@pytest.fixture
def joined():
    with contextlib.ExitStack() as stack:
        made = Joined(stack)
        yield made
        made.stop.request("the test is over")
        made.ended()


def test_each_byte_goes_on_at_once(joined):
    for number in range(20):
        joined.input.write(b"%d" % (number % 10))
        assert joined.output.read(100) == b"%d" % (number % 10)
    joined.input.close()
    assert joined.ended() is splicing.How.EOF
    assert joined.moved == 20


def test_a_full_sink_holds_the_writer_back(joined):
    os.set_blocking(joined.input.fileno(), False)
    room = 0
    while (written := joined.input.write(bytes(4096))) is not None:
        room += written
        assert room < 1 << 20
    assert joined.output.read(4096) == bytes(4096)
    joined.stop.request("enough")
    assert joined.ended() is splicing.How.STOPPED


def test_a_reader_that_goes_away_is_noticed_also_while_nothing_comes(joined):
    joined.output.close()
    assert joined.ended() is splicing.How.GONE


def test_a_reader_that_goes_away_with_bytes_on_their_way():
    with contextlib.ExitStack() as stack:
        source, writer = stack.enter_context(pipe())
        output, sink = stack.enter_context(pipe())
        stop = stack.enter_context(contextlib.closing(streams.Stop()))
        writer.write(b"bytes")
        output.close()
        assert splicing.join(source.fileno(), sink.fileno(), stop, int) is splicing.How.GONE
        assert source.read(100) == b"bytes"


def test_what_cannot_be_spliced_is_an_error(joined):
    with pipe() as (_, sink), open(os.devnull, "rb") as nothing, pytest.raises(OSError, match="Invalid"):
        splicing.join(nothing.fileno(), sink.fileno(), joined.stop, int)
