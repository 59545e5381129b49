"""Processes of tests that fail: they end with the test, which otherwise would wait for them for ever.

with ending.Popen(["cat"], stdin=subprocess.PIPE) as process:
    assert ...
"""

from __future__ import annotations

import subprocess
from types import TracebackType


class Popen(subprocess.Popen[bytes]):
    """As the library's; left by an exception it is killed."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self.kill()
        super().__exit__(exc_type, value, traceback)
