"""What is told of the images of a run that is being created."""

import pytest
import trio
import trio.testing

from tyger import errors
from tygerd.runs import fetching


@pytest.fixture
def fetches():
    return fetching.Fetches()


async def test_it_is_told_until_the_run_is_there(fetches, autojump_clock):
    said = []

    async def prepare(progress):
        await trio.testing.wait_all_tasks_blocked()
        assert said == []
        await progress("1 of 3")
        await trio.testing.wait_all_tasks_blocked()
        await progress("1 of 3")
        await progress("2 of 3")  # within the pause: of these the last is told
        await progress("3 of 3")
        await trio.sleep(1)

    async def note(line):
        said.append((line, trio.current_time() - start))

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        with fetches.of("key"):
            nursery.start_soon(fetches.follow, "key", note)
            await fetches.fetch("key", prepare)
    assert said == [("1 of 3", 0), ("3 of 3", fetching.PAUSE)]
    assert fetches._going == {}


async def test_of_a_run_that_nobody_creates_nothing_is_told(fetches):
    await fetches.follow("key", None)


async def test_without_a_key_nobody_can_ask(fetches):
    async def prepare(progress):
        await progress("1 of 3")

    await fetches.fetch(None, prepare)


async def test_the_end_does_not_wait_for_the_pause(fetches):
    async with trio.open_nursery() as nursery:
        with fetches.of("key"), fetches.of("key"):  # a second request with the same key
            heard = trio.Event()

            async def hear(_line):
                heard.set()

            async def prepare(progress):
                await progress("x")
                await heard.wait()

            nursery.start_soon(fetches.follow, "key", hear)
            await fetches.fetch("key", prepare)


async def test_who_stops_asking_gives_the_run_up(fetches):
    going = trio.Event()

    async def prepare(progress):
        going.set()
        await progress("x")
        await trio.sleep_forever()

    async def leave(_line):
        raise trio.BrokenResourceError

    async def follow():
        await going.wait()
        with pytest.raises(trio.BrokenResourceError):
            await fetches.follow("key", leave)

    async with trio.open_nursery() as nursery:
        with fetches.of("key"):
            nursery.start_soon(follow)
            with pytest.raises(errors.Problem, match="given up while its image was fetched"):
                await fetches.fetch("key", prepare)


async def test_who_leaves_when_all_is_there_gives_nothing_up(fetches):
    with fetches.of("key"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetches.follow, "key", None)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await fetches.fetch("key", lambda progress: progress("x"))
