"""How many requests at once: found from what they achieve, without any setting.

Theory of operation. A `Pace` is told when requests end and what they moved. It measures the throughput of a
width in rounds; a round is as many requests as the width, all started since the width last changed, so that
what was under way before does not count. Then it is in one of three modes:

    climbing   doubles the width as long as that pays, and goes back one step when it no longer does
    holding    stays, and after a while
    probing    tries a quarter more, or a quarter less, for some rounds; keeps it if it pays, or costs nothing

When tries change nothing they become rarer. A link that suddenly moves much more is climbed again. Push-back
(503, 429) halves the width when it is more than an accident, silence at once. Rounds in which there was too
little to do say nothing about the link and are forgotten. Plain arithmetic: no clock, no I/O.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

FLOOR = 1
CEILING = 32
START = 2

PAYS_AT_ONCE = 1.25
"""Throughput after doubling, relative to before, that needs no second look."""

PAYS = 1.1
"""The same after a second and a third look. What is given away by stopping is less than this."""

PROBE_PAYS = 0.3
"""Part of the growth in width that a probe upwards must bring in throughput."""

COSTS_NOTHING = 0.97
"""Part of the highest throughput of late that a narrower lane must keep."""

LATE = 16
"""Measurements that are "of late"."""

NARROW = 2
"""The least width that is tried without need: with one, the link idles while an answer is on its way."""

QUICK = 1.0
ENOUGH = 4
"""Where a request takes less than `QUICK` seconds it is ENOUGH: what happens between two requests takes time,
too, and a measurement can't tell a busy machine from a link."""

SURGE = 1.5
"""A throughput that grows so much by itself means another link: it is climbed again."""

LOOKS = 3
"""Measurements of a width before it is given up."""

PATIENCE = 4
MOST_PATIENCE = 64
"""Measurements between probes: at first, and once many were in vain."""

SHORTEST = 0.05
"""Seconds that a measurement takes at least: shorter ones measure the scheduler."""

PUSH_BACK = 0.15
"""Share of recent requests that were pushed back, above which it is no accident."""

_RECENT = 32

LONG = 20.0
"""A request that takes so many seconds takes them on the link, not waiting: more than ENOUGH at a time only
make each of them slower, and a loss dearer."""

Mode = Literal["climbing", "holding", "probing"]


class Ticket(NamedTuple):
    """A request under way: started at which of the widths so far, and when."""

    epoch: int
    at: float


class Measured(NamedTuple):
    """A width and what it achieved, in bytes a second."""

    width: int
    rate: float


class Pace:
    """One lane's width. Times are seconds on any one clock."""

    def __init__(self, *, start: int = START, ceiling: int = CEILING) -> None:
        self.width = start
        self.mode: Mode = "climbing"
        self._ceiling = ceiling
        self._epoch = 0
        self._best: Measured | None = None
        """What a climb or a probe is compared with."""

        self._late: deque[float] = deque(maxlen=LATE)
        self._patience = PATIENCE
        self._waiting = 0
        self._upwards = True
        self._pushed = 0.0
        self._took = 0.0
        self._begin(None)

    def started(self, now: float) -> Ticket:
        """A request starts; what this returns is handed back at its end."""
        return Ticket(self._epoch, now)

    def done(self, ticket: Ticket, nbytes: int, now: float, *, busy: bool) -> None:
        """A request has moved `nbytes`. `busy`: the width was in use, all of it."""
        self._pushed -= self._pushed / _RECENT
        if ticket.epoch != self._epoch:
            return
        self._took = now - ticket.at
        if self._took > LONG and self.width > ENOUGH:
            self._best = None
            self._hold(max(ENOUGH, self.width // 2), upwards=False)
            return
        if self._since is None:  # from here on the width is what it is meant to be
            self._begin(now)
            return
        self._bytes += nbytes
        self._count += 1
        self._idle += not busy
        full_round = self._count % self.width == 0 and self._count >= 4
        if full_round and now - self._since >= SHORTEST:
            self._measured(self._bytes / (now - self._since), now)

    def pushed_back(self, ticket: Ticket, *, silent: bool = False) -> None:
        """A request was refused as one too many; or, `silent`, got no answer in time."""
        self._pushed += (1 - self._pushed) / _RECENT
        if ticket.epoch != self._epoch or not (silent or self._pushed > PUSH_BACK):
            return
        self._pushed = 0.0
        self._patience = PATIENCE
        self._best = None
        self._hold(max(FLOOR, self.width // 2), upwards=True, soon=True)

    # --- measuring ---------------------------------------------------------------------------------------

    def _begin(self, now: float | None) -> None:
        """Begin to measure; None: with the first request that was started from now on."""
        self._since = now
        self._bytes = self._count = self._idle = 0
        self._looks = 0

    def _change(self, width: int) -> None:
        self._begin(None)
        if width != self.width:
            self.width = width
            self._epoch += 1

    def _measured(self, rate: float, now: float) -> None:
        """Some rounds are complete."""
        if self._idle * 4 > self._count:
            self._begin(now)
            return
        self._looks += 1
        if self.mode == "climbing":
            self._climbed(rate)
        elif self.mode == "probing":
            self._probed(rate)
        else:
            self._held(rate, now)

    # --- the modes ---------------------------------------------------------------------------------------

    def _climbed(self, rate: float) -> None:
        gain = float("inf") if self._best is None else rate / self._best.rate
        if gain < PAYS_AT_ONCE and self._looks < LOOKS and self.width > FLOOR:
            return
        if gain >= PAYS or self._best is None:
            self._best = Measured(self.width, rate)
            if self.width < self._most():
                self._change(min(2 * self.width, self._most()))
                return
        self._hold(max(self._best.width, self._narrow()), upwards=False)

    def _narrow(self) -> int:
        """The least width that is tried without need."""
        return min(ENOUGH if self._took < QUICK else NARROW, self._ceiling)

    def _most(self) -> int:
        """The largest that is."""
        return ENOUGH if self._took > LONG else self._ceiling

    def _held(self, rate: float, now: float) -> None:
        best = self._best
        if best is None:
            self._best = Measured(self.width, rate)
        elif rate >= SURGE * best.rate:
            self._climb(rate)
            return
        else:  # lately, rather than once: links change
            self._best = Measured(self.width, best.rate + (rate - best.rate) / 4)
        self._late.append(rate)
        self._begin(now)
        self._waiting -= 1
        if self._waiting > 0:
            return
        step = max(1, self.width // 4)
        if self._upwards and self.width < self._most():
            self._probe(min(self.width + step, self._most()))
        elif self.width > self._narrow():
            self._probe(max(self.width - step, self._narrow()))
        else:
            self._hold(self.width, upwards=True)

    def _probed(self, rate: float) -> None:
        if self._looks < LOOKS:
            return
        best = self._best
        if best is None:
            raise ValueError("a probe is compared with something")
        growth = self.width / best.width - 1
        gain = rate / best.rate
        if growth > 0 and gain >= 1 + PROBE_PAYS * growth:
            if gain >= SURGE:
                self._climb(rate)
                return
            self._best = Measured(self.width, rate)
            self._patience = PATIENCE
            self._hold(self.width, upwards=True, soon=True)
        elif growth < 0 and rate >= COSTS_NOTHING * max(self._late, default=0.0):
            self._best = Measured(self.width, rate)
            self._hold(self.width, upwards=False, soon=True)
        else:
            self._patience = min(2 * self._patience, MOST_PATIENCE)
            self._hold(best.width, upwards=growth < 0)

    def _climb(self, rate: float) -> None:
        self.mode = "climbing"
        self._best = Measured(self.width, rate)
        if self.width < self._most():
            self._change(min(2 * self.width, self._most()))
        else:
            self._hold(self.width, upwards=False)

    def _hold(self, width: int, *, upwards: bool, soon: bool = False) -> None:
        """Stay at `width`; the next probe is `upwards` or not, and `soon` or after the usual patience."""
        self.mode = "holding"
        self._upwards = upwards
        self._waiting = 1 if soon else self._patience
        self._change(width)

    def _probe(self, width: int) -> None:
        self.mode = "probing"
        self._change(width)
