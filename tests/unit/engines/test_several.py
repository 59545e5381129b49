"""Two engines as one, both of them the tests' own."""

import trio

from tests.support import fakeengine
from tyger import model
from tygerd.engines import base, several


def job(run, *, system):
    codespec = model.JobCodespec(image="x")
    return base.Job(run=run, codespec=codespec, buffers={}, created_at=0, timeout_seconds=1, system=system)


async def test_each_has_its_own(tmp_path):
    for name in ("users", "system"):
        (tmp_path / name).mkdir()
    users, system = (
        fakeengine.FakeEngine(str(tmp_path / "users")),
        fakeengine.FakeEngine(str(tmp_path / "system")),
    )
    both = several.WithSystemRuns(users, system)
    async with trio.open_nursery() as nursery:
        await nursery.start(both.run)
        assert both.traits == users.traits
        await both.start(job(1, system=False))
        await both.start(job(2, system=True))
        assert (list(users.jobs), list(system.jobs)) == ([1], [2])
        assert [await both.knows(run) for run in (1, 2, 3)] == [True, True, False]
        assert both.log_path(1) == users.log_path(1)
        assert both.log_path(2) == system.log_path(2)
        for run in (1, 2):
            await both.cancel(run, "enough")
            await both.remove(run)
        assert (users.cancelled, users.removed) == ([(1, "enough")], [1])
        assert system.cancelled == [(2, "enough")]
        nursery.cancel_scope.cancel()
