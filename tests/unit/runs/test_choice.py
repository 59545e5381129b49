"""Which engine a run gets, and what is said when it gets none."""

import pytest

from tyger import errors
from tygerd.engines import base
from tygerd.runs import choice


class Engine:
    def __init__(self, name, problem=None, **traits):
        self.traits = base.Traits(name, **traits)
        self.problem = problem


def refused(text):
    return errors.Problem(errors.INVALID_INPUT, text)


AWAY = errors.Problem(errors.UNAVAILABLE, "no socket at /run/docker.sock. Start it.")


async def ask(engine):
    if engine.problem is not None:
        raise engine.problem


def needs(trait):
    def require(traits):
        if not getattr(traits, trait):
            raise refused(f"{traits.name} has no {trait}")

    return require


async def chosen(*engines, trait=None):
    candidates = choice.Candidates(engines)
    if trait is not None:
        candidates.require(needs(trait))
    found = await candidates.first(ask)
    return found.engine.traits.name, found.reason


async def verdict(*engines, trait=None):
    with pytest.raises(errors.Problem) as caught:
        await chosen(*engines, trait=trait)
    return caught.value.kind, caught.value.message


async def test_one_alone_is_no_choice():
    assert await chosen(Engine("a")) == ("a", None)


async def test_the_first_that_can():
    assert await chosen(Engine("a", pull=True), Engine("b")) == (
        "a",
        "it answers, and has the image or may pull it",
    )
    assert await chosen(Engine("a"), Engine("b")) == ("a", "it can do all that is asked")
    refuses = Engine("a", refused("no such image"))
    assert await chosen(refuses, Engine("b")) == ("b", "the a engine refuses: no such image")
    assert await chosen(Engine("a", AWAY), Engine("b")) == (
        "b",
        "no socket at /run/docker.sock",
    )


async def test_the_first_that_has_the_trait():
    assert await chosen(Engine("a"), Engine("b", gpu=True), trait="gpu") == (
        "b",
        "the a engine refuses: a has no gpu",
    )


async def test_only_why_none_that_is_preferred_is_told():
    assert await chosen(Engine("a", gpu=True), Engine("b"), trait="gpu") == (
        "a",
        "it can do all that is asked",
    )


async def test_one_that_fails_makes_room_for_the_next():
    a, b, c = Engine("a", pull=True), Engine("b", refused("not mapped")), Engine("c")
    candidates = choice.Candidates([a, b, c])
    assert (await candidates.first(ask)).engine is a
    offline = errors.Problem(errors.UNAVAILABLE, "the registry cannot be reached. Try again.")
    found = await candidates.instead(a, offline, ask)
    assert found.engine is c
    assert found.reason == "the registry cannot be reached; the b engine refuses: not mapped"
    with pytest.raises(errors.Problem) as caught:
        await candidates.instead(c, refused("c fails too"), ask)
    assert caught.value.message == "c fails too"


async def test_none_can():
    a, b = Engine("a", refused("no such image")), Engine("b", refused("not mapped"))
    assert await verdict(a) == (errors.INVALID_INPUT, "no such image")
    assert await verdict(a, b) == (errors.INVALID_INPUT, "no such image")
    assert await verdict(a, b, trait="gpu") == (errors.INVALID_INPUT, "a has no gpu")


async def test_none_can_and_one_is_away():
    a = Engine("a", AWAY)
    assert await verdict(a) == (errors.UNAVAILABLE, AWAY.message)
    assert await verdict(a, Engine("b", refused("not mapped"))) == (
        errors.INVALID_INPUT,
        "not mapped (The a engine could not be asked: no socket at /run/docker.sock.)",
    )
    long = Engine("b", refused("not mapped. Add:\n\n[images]\n"))
    assert (await verdict(a, long))[1].endswith(
        "[images]\n\n(The a engine could not be asked: no socket at /run/docker.sock.)"
    )
    assert (await verdict(a, Engine("b", AWAY)))[0] is errors.UNAVAILABLE
