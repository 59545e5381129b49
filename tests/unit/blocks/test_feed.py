"""The bell between a writer and its readers."""

import trio

from tygerd.blocks import feed


async def test_everybody_who_waits_is_woken_and_counted():
    bell = feed.Feed()
    woken = []

    async def wait(name):
        await bell.wait(bell.next())
        woken.append(name)

    async with trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(wait, name)
        await trio.testing.wait_all_tasks_blocked()
        assert bell.waiting == 2
        bell.notify()
    assert sorted(woken) == ["a", "b"]
    assert bell.waiting == 0


async def test_nothing_is_missed_between_looking_and_waiting():
    bell = feed.Feed()
    event = bell.next()
    bell.notify()
    await bell.wait(event)


async def test_the_writer_is_told_when_somebody_begins_to_wait():
    bell = feed.Feed()
    told = []
    bell.on_wanted = lambda: told.append(bell.waiting)
    with trio.move_on_after(0.01):
        await bell.wait(bell.next())
    assert told == [1]
    assert bell.waiting == 0
    event = bell.next()
    bell.notify()
    await bell.wait(event)
    assert told == [1], "nobody has to wait for what is already there"
