"""The shape of the result: what to measure, a row, and the table of all rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import rig as rigs

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True)
class Options:
    """How much to measure, and on which disk."""

    size: int
    repeat: int
    memory_sizes: tuple[int, ...]
    messages: int
    runs: int
    directory: str | None


@dataclass(frozen=True)
class Row:
    """One line of the table: a value in `unit` and the limit it is held to."""

    figure: str
    reference: str
    subject: str
    value: float
    unit: str
    limit: float
    more_is_better: bool
    samples: dict[str, list[float]]

    @property
    def holds(self) -> bool:
        """Whether the value keeps to the limit."""
        return self.value >= self.limit if self.more_is_better else self.value <= self.limit


@dataclass(frozen=True)
class Gap:
    """A figure that could not be measured here, and why."""

    figure: str
    reason: str


def render(rows: Iterable[Row | Gap]) -> str:
    """All of it as a text table; gaps stand in it, so that nobody takes them for met."""
    cells = [["figure", "reference", "ours", "value", "limit", ""]]
    cells += [_gap(row) if isinstance(row, Gap) else _row(row) for row in rows]
    widths = [max(len(line[column]) for line in cells if len(line) > 2) for column in range(6)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in cells
    )


def _row(row: Row) -> list[str]:
    sign = ">=" if row.more_is_better else "<="
    value, limit = f"{row.value:.2f} {row.unit}", f"{sign} {row.limit:g} {row.unit}"
    return [row.figure, row.reference, row.subject, value, limit, "" if row.holds else "MISSED"]


def _gap(gap: Gap) -> list[str]:
    return [gap.figure, f"NOT MEASURED: {gap.reason}"]


def rate(size: int, seconds: float) -> str:
    return f"{size / GIB / seconds:.2f} GiB/s"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def times_as_fast(figure: str, size: int, pair: rigs.Pair, limit: float) -> Row:
    """A row of two rates; the value is how many times the reference's rate the subject's is."""
    reference, subject = pair.medians()
    return Row(
        figure,
        rate(size, reference),
        rate(size, subject),
        reference / subject,
        "x",
        limit,
        more_is_better=True,
        samples={"reference": pair.reference, "subject": pair.subject},
    )


def times_the_cost(figure: str, size: int, pair: rigs.Pair, limit: float) -> Row:
    """A row of two amounts of processor time; the value is their ratio."""
    reference, subject = pair.medians()
    return Row(
        figure,
        f"{reference * GIB / size:.2f} s/GiB",
        f"{subject * GIB / size:.2f} s/GiB",
        subject / reference,
        "x",
        limit,
        more_is_better=False,
        samples={"reference": pair.reference, "subject": pair.subject},
    )


def over(figure: str, pair: rigs.Pair, limit: float) -> Row:
    """A row of two durations; the value is what the subject takes more."""
    reference, subject = pair.medians()
    return Row(
        figure,
        milliseconds(reference),
        milliseconds(subject),
        (subject - reference) * 1000,
        "ms more",
        limit,
        more_is_better=False,
        samples={"reference": pair.reference, "subject": pair.subject},
    )


def at_most(
    figure: str, subject: str, value: float, unit: str, limit: float, samples: Sequence[float]
) -> Row:
    """A row without a reference, whose value should be small."""
    kept = {"subject": list(samples)}
    return Row(figure, "", subject, value, unit, limit, more_is_better=False, samples=kept)


def at_least(
    figure: str, subject: str, value: float, unit: str, limit: float, samples: Sequence[float]
) -> Row:
    """A row without a reference, whose value should be large."""
    kept = {"subject": list(samples)}
    return Row(figure, "", subject, value, unit, limit, more_is_better=True, samples=kept)
