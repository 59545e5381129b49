"""The engine of system runs, with work that the test plays."""

import logging

import pytest
import trio

from tyger import errors, model
from tygerd.copying import engine, orders
from tygerd.engines import base

CODESPEC = orders.codespec(orders.Import("second", 7))


class Work:
    """What the engine is given to do; `hold` makes it wait."""

    def __init__(self, problem=None, *, hold=False):
        self.problem = problem
        self.hold = hold
        self.orders = []
        self.begun = trio.Event()

    async def perform(self, order, log):
        self.orders.append(order)
        log.write("info", "at work")
        self.begun.set()
        if self.hold:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        if self.problem is not None:
            raise self.problem


def job(run=3, timeout=60):
    return base.Job(
        run=run, codespec=CODESPEC, buffers={}, created_at=0, timeout_seconds=timeout, system=True
    )


async def nobody(_observation):
    await trio.lowlevel.checkpoint()


@pytest.fixture
def engines(tmp_path):
    return lambda work: engine.CopyEngine(str(tmp_path), work.perform)


async def test_a_run_that_succeeds(engines):
    work, seen = Work(), []

    async def report(observation):
        seen.append(observation.status)

    it = engines(work)
    await it.check(CODESPEC)
    await it.start(job())
    assert await it.knows(3)
    end = await it.follow(3, report)
    assert (end.status, end.reason) == ("Succeeded", None)
    assert end.started_at <= end.finished_at
    assert work.orders == [("second", 7)]
    assert set(seen) == {"Running"}
    with open(it.log_path(3), encoding="utf-8") as log:
        assert "at work" in log.read()
    # Another daemon finds the end, and does not work again.
    other = Work()
    assert await engines(other).follow(3, nobody) == end
    assert other.orders == []
    await it.remove(3)
    assert not await it.knows(3)
    with pytest.raises(base.NeverStarted):
        await it.follow(3, nobody)


async def test_a_run_that_fails_says_why(engines):
    it = engines(Work(errors.Problem(errors.CONFIG, "no such account")))
    await it.start(job())
    end = await it.follow(3, nobody)
    assert (end.status, end.reason) == ("Failed", "no such account")
    with open(it.log_path(3), encoding="utf-8") as log:
        assert '"error":"no such account"' in log.read()


@pytest.mark.parametrize(
    "defect",
    [ZeroDivisionError("oh"), BaseExceptionGroup("", [errors.Problem(errors.CONFIG, "x"), KeyError(1)])],
)
async def test_a_defect_fails_the_run_and_no_daemon(engines, defect, caplog):
    """Or else each daemon that takes the run up ends anew."""
    it = engines(Work(defect))
    await it.start(job())
    end = await it.follow(3, nobody)
    assert end.status == "Failed"
    assert end.reason.startswith("a defect of ours, see the daemon's log: ")
    assert "an unexpected error in a system run" in caplog.text


async def test_an_end_that_cannot_be_kept_yet(tmp_path):
    """The disk is full, say: what was done did not fail because of it."""
    it = engine.CopyEngine(str(tmp_path), Work().perform, retry=0)
    await it.start(job())
    in_the_way = tmp_path / "copies" / "3" / "end.json.new"
    in_the_way.mkdir()

    class MakesRoom(logging.Handler):
        def emit(self, record):
            assert "run 3: cannot keep the run in" in record.getMessage()
            in_the_way.rmdir()

    makes_room = MakesRoom()
    engine.logger.addHandler(makes_room)
    try:
        end = await it.follow(3, nobody)
    finally:
        engine.logger.removeHandler(makes_room)
    assert end.status == "Succeeded"
    assert not in_the_way.exists()
    assert await it.follow(3, nobody) == end


@pytest.mark.parametrize("name", ["order.json", "end.json"])
@pytest.mark.parametrize("content", [b"", b'{"codespec":', b"\xff", b"{}"])
async def test_what_was_kept_is_damaged(engines, tmp_path, name, content):
    it = engines(Work())
    await it.start(job())
    (tmp_path / "copies" / "3" / name).write_bytes(content)
    with pytest.raises(errors.Problem, match=f"cannot read what was kept of the run: .*{name}"):
        await it.follow(3, nobody)


async def test_a_log_that_cannot_be_opened(engines, tmp_path):
    it = engines(Work())
    await it.start(job())
    (tmp_path / "copies" / "3" / "log").mkdir()
    with pytest.raises(errors.Problem, match="cannot open the run's log in"):
        await it.follow(3, nobody)


async def test_cancelled_at_work(engines):
    work = Work(hold=True)
    it = engines(work)
    await it.start(job())
    ends = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: _keep(it, ends))
        await work.begun.wait()
        await it.cancel(3, "Canceled by user")
    assert [(end.status, end.reason) for end in ends] == [("Canceled", "Canceled by user")]


async def _keep(it, ends):
    ends.append(await it.follow(3, nobody))


async def test_cancelled_before_it_is_followed(engines):
    it = engines(Work())
    await it.start(job())
    await it.cancel(3, "Canceled by user")
    assert (await it.follow(3, nobody)).status == "Canceled"


async def test_a_daemon_that_stops_leaves_the_run_to_the_next(engines):
    first, second = Work(hold=True), Work()
    it = engines(first)
    await it.start(job())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.follow, 3, nobody)
        await first.begun.wait()
        nursery.cancel_scope.cancel()
    again = engines(second)
    assert await again.knows(3)
    assert (await again.follow(3, nobody)).status == "Succeeded"
    assert second.orders == [("second", 7)]


async def test_it_does_not_take_for_ever(engines, autojump_clock):
    it = engines(Work(hold=True))
    await it.start(job(timeout=60))
    end = await it.follow(3, nobody)
    assert (end.status, end.reason) == ("Failed", "DeadlineExceeded: the run took longer than 60 seconds")


async def test_a_codespec_of_a_user_is_no_order(engines):
    with pytest.raises(errors.Problem, match="no order"):
        await engines(Work()).check(model.JobCodespec(image="tygerd", args=["sh"]))


async def test_a_state_directory_that_cannot_be_used(tmp_path):
    (tmp_path / "copies").write_text("")
    it = engine.CopyEngine(str(tmp_path), Work().perform)
    with pytest.raises(errors.Problem, match="cannot keep the run in"):
        await it.start(job())
