"""The fixtures of `tests.support.cli`, for all tests of the commands."""

from tests.support.cli import daemon, tyger

__all__ = ["daemon", "tyger"]
