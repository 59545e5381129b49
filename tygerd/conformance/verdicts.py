"""What all suites say of what they have found."""

from __future__ import annotations


def expect(found: object, wanted: object) -> None:
    """Fail with both where they differ."""
    if found != wanted:
        raise AssertionError(f"found {found!r}, wanted {wanted!r}")


def longer(seconds: int) -> tuple[int, ...]:
    """Times to try in turn, where a busy machine may need longer to start a run."""
    return tuple(seconds * factor for factor in (1, 3, 9, 27))
