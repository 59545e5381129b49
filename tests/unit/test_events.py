"""News: everybody hears everything, nobody blocks, who is too slow is dropped."""

import pytest
import trio

from tygerd import events


async def test_everybody_hears_what_is_announced_while_they_listen():
    news = events.Events()
    news.announce("run", "1")
    with news.listen() as one, news.listen() as other:
        news.announce("buffer", "b")
        for listener in (one, other):
            assert await listener.receive() == events.Event("buffer", "b")
            with pytest.raises(trio.WouldBlock):
                listener.receive_nowait()
    news.announce("run", "2")
    assert not news._listeners


async def test_who_does_not_keep_up_is_dropped_and_told():
    news = events.Events()
    with news.listen() as slow:
        for number in range(events.BACKLOG + 5):
            news.announce("run", str(number))
        heard = [event.id async for event in slow]
    assert heard == [str(number) for number in range(events.BACKLOG)]
