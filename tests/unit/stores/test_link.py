"""The host's link: turns."""

import trio
import trio.testing

from tygerd.stores import link


async def test_no_more_requests_than_the_width_are_under_way():
    flow = link.Link().lane("here", "up").flow("live")
    most = now = 0

    async def work():
        nonlocal most, now
        async with flow.turn(10) as turn:
            now += 1
            most = max(most, now)
            await trio.testing.wait_all_tasks_blocked()
            turn.done(10)
            now -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(work)
    flow.close()
    assert 1 <= most <= flow.width


def test_a_lane_is_one_for_all_who_ask():
    host = link.Link()
    assert host.lane("a", "up") is host.lane("a", "up")
    assert host.lane("a", "up") is not host.lane("a", "down")
