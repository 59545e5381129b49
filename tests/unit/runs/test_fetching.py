"""What is told of the images of a run that is being created."""

import pytest
import trio
import trio.testing

from tygerd.runs import fetching


@pytest.fixture
def fetches():
    return fetching.Fetches()


async def test_it_is_told_until_the_run_is_there(fetches, autojump_clock):
    said = []

    async def note(line):
        said.append((line, trio.current_time() - start))

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        with fetches.of("key"):
            nursery.start_soon(fetches.follow, "key", note)
            progress = fetches.progress("key")
            await trio.testing.wait_all_tasks_blocked()
            assert said == []
            await progress("1 of 3")
            await trio.testing.wait_all_tasks_blocked()
            await progress("1 of 3")
            await progress("2 of 3")  # within the pause: of these the last is told
            await progress("3 of 3")
            await trio.sleep(1)
    assert said == [("1 of 3", 0), ("3 of 3", fetching.PAUSE)]
    assert fetches._going == {}


async def test_of_a_run_that_nobody_creates_nothing_is_told(fetches):
    await fetches.follow("key", None)


async def test_without_a_key_nobody_can_ask(fetches):
    await fetches.progress(None)("1 of 3")


async def test_the_end_does_not_wait_for_the_pause(fetches):
    async with trio.open_nursery() as nursery:
        with fetches.of("key"), fetches.of("key"):  # a second request with the same key
            heard = trio.Event()

            async def hear(_line):
                heard.set()

            nursery.start_soon(fetches.follow, "key", hear)
            await fetches.progress("key")("x")
            await heard.wait()
