"""Several engines as one, all of them the tests' own."""

import pytest
import trio

from tests.support import fakeengine
from tyger import errors, model
from tygerd.engines import base, several


def job(run, engine="", *, system=False):
    codespec = model.JobCodespec(image="x")
    return base.Job(
        run=run, codespec=codespec, buffers={}, created_at=0, timeout_seconds=1, engine=engine, system=system
    )


@pytest.fixture
def made(tmp_path):
    """Two engines for users, and the system's."""
    engines = {}
    for name in ("first", "second", "system"):
        (tmp_path / name).mkdir()
        engines[name] = fakeengine.FakeEngine(str(tmp_path / name))
        engines[name].traits = base.Traits(name)
    return engines


def together(made, **more):
    return several.Engines([made["first"], made["second"]], made["system"], **more)


async def test_each_has_its_own(made):
    every = together(made)
    async with trio.open_nursery() as nursery:
        await nursery.start(every.run)
        await every.start(job(1, "first"))
        await every.start(job(2, "second"))
        await every.start(job(3, system=True))
        assert [list(engine.jobs) for engine in made.values()] == [[1], [2], [3]]
        assert [await every.knows(run) for run in (1, 2, 3, 4)] == [True, True, True, False]
        for run, engine in enumerate(made.values(), 1):
            assert every.log_path(run) == engine.log_path(run)
            await every.cancel(run, "enough")
            await every.remove(run)
            assert (engine.cancelled, engine.removed) == ([(run, "enough")], [run])
        nursery.cancel_scope.cancel()


async def test_an_engine_that_is_none_any_more_keeps_its_runs(made):
    every = several.Engines([made["first"]], made["system"], former=[made["second"]])
    await made["second"].start(job(2, "second"))
    assert every.log_path(2) == made["second"].log_path(2)
    assert await every.knows(2)
    with pytest.raises(errors.Problem, match="Unknown engine 'second'"):
        every.offered("second")


async def test_a_run_for_an_engine_that_is_not_configured(made):
    with pytest.raises(
        base.OutOfReach, match=r"^its engine kubernetes is not in the configuration: it needs"
    ):
        await together(made).start(job(1, "kubernetes"))


async def test_a_run_of_an_engine_that_is_gone(made):
    with pytest.raises(errors.Problem, match="no engine 'third', which the run was created for"):
        await together(made).start(job(1, "third"))


@pytest.mark.parametrize(
    ("use", "name", "offered"),
    [
        ("auto", None, ["first", "second"]),
        ("auto", "second", ["second"]),
        ("second", None, ["second"]),
        ("second", "first", ["first"]),
        ("second", "auto", ["first", "second"]),
    ],
)
def test_who_is_offered(made, use, name, offered):
    assert [engine.traits.name for engine in together(made, use=use).offered(name)] == offered


def test_an_engine_that_is_none(made):
    with pytest.raises(errors.Problem) as caught:
        together(made).offered("system")
    assert caught.value.message == "Unknown engine 'system'. Valid options are: 'auto', 'first', 'second'."


def test_an_engine_that_is_not_configured(made):
    with pytest.raises(errors.Problem) as caught:
        together(made).offered("kubernetes")
    assert caught.value.message == (
        "The engine 'kubernetes' is not configured: it needs the table [engine.kubernetes] of tygerd.toml."
        " Valid options are: 'auto', 'first', 'second'."
    )


async def test_what_can_be_run_at_present(made):
    made["first"].traits = base.Traits("first", gpu=True)
    made["second"].traits = base.Traits("second", sockets=True)
    assert await together(made).traits() == base.Traits("auto", gpu=True, sockets=True)
    assert await together(made, use="second").traits() == base.Traits("second", sockets=True)
    made["first"].trouble = "it sleeps"
    assert await together(made).traits() == base.Traits("auto", sockets=True)
    assert await together(made).state() == [
        {"name": "first", "unavailable": "it sleeps"},
        {"name": "second", "unavailable": None},
    ]
