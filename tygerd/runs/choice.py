"""Which engine executes a run: the first, in the order of preference, that can do all it asks for.

Each requirement is put to all engines that are left, so that of a run that none can execute the first reason
is told, as with one engine alone.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from tyger import errors
from tygerd.engines import base


class Refusal(NamedTuple):
    """Why an engine is out."""

    name: str
    problem: errors.Problem

    @property
    def is_its_word(self) -> bool:
        """The engine was asked, and will not; otherwise it could not be asked."""
        return self.problem.kind is errors.INVALID_INPUT


class Choice(NamedTuple):
    """An engine; with a reason where nobody has named it."""

    engine: base.Engine
    reason: str | None


class Candidates:
    """The engines that are still thought of, the preferred first. One alone is no choice."""

    def __init__(self, engines: Iterable[base.Engine]) -> None:
        self._order = list(engines)
        self._left = list(self._order)
        self._refusals: list[Refusal] = []

    def require(self, test: Callable[[base.Traits], object]) -> None:
        """Keep those of which `test` does not raise.

        Raises:
            Problem: none is left; what the first said, with why the others could not be asked.
        """
        for engine in list(self._left):
            try:
                test(engine.traits)
            except errors.Problem as problem:
                self._drop(engine, problem)
        if not self._left:
            raise self._verdict()

    async def first(self, test: Callable[[base.Engine], Awaitable[object]]) -> Choice:
        """The first of which `test` does not raise. Raises as `require`."""
        for engine in list(self._left):
            try:
                await test(engine)
            except errors.Problem as problem:
                self._drop(engine, problem)
            else:
                return Choice(engine, self._reason(engine) if len(self._order) > 1 else None)
        raise self._verdict()

    async def instead(
        self, chosen: base.Engine, problem: errors.Problem, test: Callable[[base.Engine], Awaitable[object]]
    ) -> Choice:
        """The first after `chosen`, which has failed although it could have been expected to do it.

        Raises:
            Problem: there is none; why `chosen` has failed.
        """
        self._drop(chosen, problem)
        try:
            return await self.first(test)
        except errors.Problem:
            raise problem from None

    def _drop(self, engine: base.Engine, problem: errors.Problem) -> None:
        self._left.remove(engine)
        self._refusals.append(Refusal(engine.traits.name, problem))

    def _verdict(self) -> errors.Problem:
        words = [refusal for refusal in self._refusals if refusal.is_its_word]
        if not words:
            return self._refusals[0].problem
        said = words[0].problem
        silent = [refusal for refusal in self._refusals if not refusal.is_its_word]
        for refusal in silent:
            gap = "\n" if "\n" in said.message else " "
            why = f"(The {refusal.name} engine could not be asked: {_of(refusal)}.)"
            said = errors.Problem(said.kind, f"{said.message}{gap}{why}")
        return said

    def _reason(self, chosen: base.Engine) -> str:
        preferred = [engine.traits.name for engine in self._order[: self._order.index(chosen)]]
        if preferred:
            return "; ".join(_told(refusal) for refusal in self._refusals if refusal.name in preferred)
        pulls = chosen.traits.pull
        return "it answers, and has the image or may pull it" if pulls else "it can do all that is asked"


def _told(refusal: Refusal) -> str:
    return f"the {refusal.name} engine refuses: {_of(refusal)}" if refusal.is_its_word else _of(refusal)


def _of(refusal: Refusal) -> str:
    """The first sentence of what was said; advice follows it."""
    return re.split(r"\.\s|\n", refusal.problem.message, maxsplit=1)[0].rstrip(":. ")
