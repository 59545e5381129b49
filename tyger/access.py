"""What names a buffer to the daemon: its ID, or an access URL, perhaps from a file that somebody renews.

An access URL is a key: nothing here puts one into a message. Contract buffers.md 2 and 9.1. Standard library
only.
"""

from __future__ import annotations

import os
import stat
import time
from urllib.parse import parse_qs, urlsplit

from tyger import errors

LARGEST_FILE = 2048
"""A file of so many bytes is not read: it is data, not a URL (buffers.md 2.1)."""

ATTEMPTS, PAUSE = 10, 30.0
"""How long a file may keep a URL that has expired: so often so many seconds (buffers.md 9.1)."""

AHEAD = 300.0
"""Seconds that the daemon asks for another URL ahead of the end of the one it has, at most."""

LOOK = 1.0
"""Seconds between two looks at such a file: the transfer stands still meanwhile, and a look costs nothing."""


class Access:
    """One buffer, as the body of a request names it. `name` is for people."""

    def __init__(
        self,
        *,
        buffer: str = "",
        url: str = "",
        file: str | None = None,
        of_job: bool = False,
        look: float = LOOK,
    ) -> None:
        self.buffer = buffer
        self.file = file
        self.look = look
        """Seconds between two looks at the file."""
        self.of_job = of_job
        """Whether the run itself reads or writes: of an ephemeral buffer it has the other end."""
        self._url = url
        self._refused: float | None = None

    @property
    def name(self) -> str:
        """The buffer's ID, or what stands in its place in the URL."""
        if self.buffer:
            return self.buffer
        parts = urlsplit(self._url)
        if self.relay_url:  # which may have a socket of its own, and nothing but that in the path, or a port
            return parts.path.rstrip(":/").rpartition("/")[2] or parts.netloc
        return parts.path.rpartition("/")[2]

    @property
    def is_url(self) -> bool:
        """Whether the daemon is given a URL."""
        return not self.buffer

    @property
    def is_ephemeral(self) -> bool:
        """Whether it exists only while a run does: then it is written and read once, through a relay."""
        return self.buffer.startswith("run-") and "-temp-" in self.buffer

    @property
    def relay_url(self) -> str | None:
        """The URL, where it leads to the relay of an ephemeral buffer (contract buffers.md 11)."""
        return self._url if parse_qs(urlsplit(self._url).query).get("relay") == ["true"] else None

    def fields(self) -> dict[str, object]:
        """The members of a request that name the buffer."""
        return {"buffer": self.buffer} if self.buffer else {"url": self._url}

    def renewed(self, refusal: str = "the access URL has expired", *, ahead: float = 0.0) -> bool:
        """The URL was refused: whether there is another one now. If not, ask again after `look` seconds.

        `ahead`: for so many seconds from the first call on it may still be valid, and those don't count.

        Raises:
            Problem: ACCESS_EXPIRED, there will be none; `refusal` has the server's own words.
        """
        if self.file is None:
            raise errors.Problem(
                errors.ACCESS_EXPIRED,
                f"{refusal}; get another access URL, name a file that is renewed, or give a buffer ID",
            )
        fresh = url_in(self.file)
        # Only the signature is taken: a file that names another buffer now must not mix two of them.
        query = (fresh or "").partition("?")[2]
        renewed = f"{self._url.partition('?')[0]}?{query}"
        if query and renewed != self._url:
            self._url, self._refused = renewed, None
            return True
        now = time.monotonic()
        self._refused = now if self._refused is None else self._refused
        if now - self._refused >= ahead + ATTEMPTS * PAUSE:
            raise errors.Problem(
                errors.ACCESS_EXPIRED,
                f"access URL from file {self.file} has not changed after {ATTEMPTS} attempts",
            )
        return False

    @property
    def waiting(self) -> str:
        """What is waited for when `renewed` was false, in words."""
        return f"the access URL has expired; waiting for another one in {self.file}"


def is_url(text: str) -> bool:
    """Whether `text` is an absolute URL."""
    head, separator, _ = text.partition(":")
    return bool(separator) and head[:1].isalpha() and all(c.isalnum() or c in "+-." for c in head)


def url_in(path: str) -> str | None:
    """The URL in a small regular file; the text as it is when it is something else; None: no such file."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size >= LARGEST_FILE:
            return None
        with open(path, encoding="utf-8") as file:
            return file.read().rstrip(" \r\n")
    except (OSError, ValueError):
        return None
