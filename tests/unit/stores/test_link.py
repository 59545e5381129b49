"""The host's link: whose turn it is, how many have one, and what is left when somebody goes."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tygerd.stores import link

BLOCK = 4 * 1024 * 1024

candidates = st.lists(
    st.builds(link.Candidate, st.booleans(), st.integers(0, 10), st.integers(0, 10)), min_size=1
)


# --- who is next -----------------------------------------------------------------------------------------


@given(candidates, st.integers(0, 40))
def test_live_is_before_bulk_and_the_least_served_before_the_others(waiting, passed_over):
    chosen = waiting[link.choose(waiting, passed_over)]
    live = [candidate for candidate in waiting if candidate.live]
    bulk = [candidate for candidate in waiting if not candidate.live]
    if live and bulk:
        assert chosen.live is (passed_over < link.BULK_EVERY - 1)
    assert chosen == min(live if chosen.live else bulk, key=lambda candidate: candidate[1:])


@given(st.integers(1, 32), st.lists(st.integers(1, 40), max_size=8))
def test_a_flow_can_have_what_the_others_leave_and_at_least_its_part(width, demands):
    useful = link.useful_width(width, demands)
    assert 1 <= useful <= width
    assert useful >= width // (1 + len(demands))
    if not demands:
        assert useful == width


def test_parts_of_a_lane():
    assert link.useful_width(8, [8]) == 4
    assert link.useful_width(8, [1]) == 7
    assert link.useful_width(2, [2, 2, 2]) == 1
    assert link.useful_width(9, [9, 9]) == 3


# --- turns -----------------------------------------------------------------------------------------------


class Site:
    """A lane with flows that always want more; requests end when the test says so."""

    def __init__(self, nursery, limit=None):
        self.lane = link.Link(limit).lane("there", "up")
        self.nursery = nursery
        self.under_way = []
        self.order = []

    def want(self, flow, count, size=BLOCK):
        for _ in range(count):
            self.nursery.start_soon(self._request, flow, size)

    async def _request(self, flow, size):
        async with flow.turn(size) as turn:
            end = trio.Event()
            self.under_way.append((flow, end))
            self.order.append(flow)
            await end.wait()
            turn.done(size)

    async def finish(self, count=1):
        """Let the oldest requests end, one by one."""
        for _ in range(count):
            await trio.testing.wait_all_tasks_blocked()
            _, end = self.under_way.pop(0)
            end.set()
        await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
async def site(nursery):
    made = Site(nursery)
    yield made
    nursery.cancel_scope.cancel()


async def test_no_more_requests_than_the_width_are_under_way(site):
    flow = site.lane.flow()
    site.want(flow, 10)
    await trio.testing.wait_all_tasks_blocked()
    assert len(site.under_way) == 2
    assert site.lane.statistics() == link.LaneStatistics(
        "there", "up", 2, 2, 8, 0, 0, (link.FlowStatistics("live", 2, 8, 0),)
    )
    await site.finish(3)
    assert len(site.under_way) == 2
    assert site.lane.statistics().flows == (link.FlowStatistics("live", 2, 5, 3 * BLOCK),)


async def test_flows_take_turns_and_get_equal_parts(site):
    flows = [site.lane.flow() for _ in range(4)]
    for flow in flows:
        site.want(flow, 10)
    await site.finish(24)
    counts = [site.order[:24].count(flow) for flow in flows]
    assert max(counts) - min(counts) <= 2  # trio wakes those whose turn has come in any order


async def test_small_blocks_get_as_many_bytes_as_large_ones(site):
    """What counts is bytes under way, not requests."""
    site.lane._pace.width = 8
    large, small = site.lane.flow(), site.lane.flow()
    site.want(large, 8, BLOCK)
    site.want(small, 8, BLOCK // 4)
    await site.finish(4)
    assert large.bytes_in_flight <= 4 * small.bytes_in_flight


async def test_bulk_waits_for_live_but_not_for_ever(site):
    bulk, live = site.lane.flow("bulk"), site.lane.flow("live")
    site.want(live, 100)
    site.want(bulk, 100)
    await site.finish(64)
    served = site.order[2:64].count(bulk)
    assert 62 // link.BULK_EVERY <= served <= 62 // link.BULK_EVERY + 1


async def test_bulk_alone_has_it_all(site):
    bulk = site.lane.flow("bulk")
    site.want(bulk, 4)
    await trio.testing.wait_all_tasks_blocked()
    assert bulk.in_flight == 2
    assert bulk.width == 3


async def test_one_more_than_can_have_a_turn_is_useful(site):
    """Else a turn that comes free would find nobody, which means that there is too little to do."""
    site.lane._pace.width = 8
    one, other, bulk = site.lane.flow(), site.lane.flow(), site.lane.flow("bulk")
    assert (one.width, other.width, bulk.width) == (9, 9, 9)
    site.want(one, 9)
    await trio.testing.wait_all_tasks_blocked()
    assert (one.width, other.width, bulk.width) == (9, 5, 5)
    site.want(other, 2)
    await trio.testing.wait_all_tasks_blocked()
    assert one.width == 7
    other.close()
    other.close()
    assert one.width == 9


async def test_who_is_cancelled_while_waiting_has_left_the_queue(site):
    flow = site.lane.flow()
    site.want(flow, 2)
    await trio.testing.wait_all_tasks_blocked()
    with trio.move_on_after(0) as scope:
        async with flow.turn(BLOCK):
            raise AssertionError("it had no turn")
    assert scope.cancelled_caught
    assert site.lane.statistics().waiting == 0
    site.want(flow, 1)
    await site.finish(2)
    assert flow.in_flight == 1


async def test_who_is_cancelled_in_the_moment_of_its_turn_gives_it_back(site):
    flow = site.lane.flow()
    site.want(flow, 2)
    await trio.testing.wait_all_tasks_blocked()
    scope = trio.CancelScope()

    async def wait():
        with scope:
            async with flow.turn(BLOCK):
                await trio.sleep_forever()

    site.nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    site.under_way[0][1].set()
    scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert flow.in_flight == 1
    assert flow.bytes_in_flight == BLOCK


async def test_a_request_that_fails_gives_its_turn_back(site):
    flow = site.lane.flow()
    for _ in range(5):
        with pytest.raises(ValueError, match="no"):
            async with flow.turn(BLOCK):
                raise ValueError("no")
    assert (flow.in_flight, flow.bytes_in_flight, site.lane.statistics().in_flight) == (0, 0, 0)


async def test_what_is_pushed_back_makes_the_lane_narrow(site):
    flow = site.lane.flow()
    site.lane._pace.width = 8
    async with flow.turn(BLOCK) as turn:
        turn.pushed_back(silent=True)
    assert site.lane.statistics().width == 4
    assert site.lane.statistics().pushed_back == 1


async def test_the_lane_widens_while_that_pays(autojump_clock):
    """Requests that take a tenth of a second however many there are."""
    host = link.Link()
    flow = host.lane("there", "down").flow()

    async def work():
        while trio.current_time() < 20:
            async with flow.turn(BLOCK) as turn:
                await trio.sleep(0.1)
                turn.done(BLOCK)

    async with trio.open_nursery() as nursery:
        running = 0
        while trio.current_time() < 20:
            while running < flow.width:
                running += 1
                nursery.start_soon(work)
            await trio.sleep(0.05)
    assert host.statistics()[0].width == 32


async def test_what_was_not_there_says_nothing_about_the_link(site):
    flow = site.lane.flow()
    for _ in range(100):
        async with flow.turn(BLOCK) as turn:
            turn.done(0)
    assert site.lane._pace._since is None


# --- lanes -----------------------------------------------------------------------------------------------


def test_a_lane_is_one_for_all_who_ask():
    host = link.Link()
    assert host.lane("a", "up") is host.lane("a", "up")
    assert host.lane("a", "up") is not host.lane("a", "down")
    assert [(lane.place, lane.direction) for lane in host.statistics()] == [("a", "up"), ("a", "down")]


@pytest.mark.parametrize("limit", [None, 0])
async def test_without_a_limit_nothing_is_asked(limit):
    async with link.Link(limit).lane("a", "up").flow().turn(1) as turn:
        assert turn.share is None


async def test_a_limit_is_shared_by_all_lanes_of_a_direction():
    host = link.Link(1000)
    flows = [host.lane("a", "up").flow(), host.lane("b", "up").flow("bulk"), host.lane("a", "down").flow()]
    shares = []
    for flow in flows:
        async with flow.turn(1) as turn:
            shares.append(turn.share)
    assert shares[0]._gate is shares[1]._gate
    assert shares[0]._gate is not shares[2]._gate
    assert shares[0].cost < shares[1].cost
