"""The client of commands: as `tyger.client`, but those who trace see each request and answer (cli.md 1.8).

It sees all that a command says to the daemon, transfers too. The first answer also shows whether our clock is
as the server's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tyger import client, errors
from tyger.cli import output, wirelog


class Client(client.Client):
    """Tells `console` of what is sent and of what comes."""

    def __init__(
        self, console: output.Console, socket_path: str, *, ensure: Callable[[], None] | None = None
    ) -> None:
        super().__init__(socket_path, ensure=ensure)
        self._console = console
        self._clock_was_seen = False

    def request(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), **arguments: Any
    ) -> client.Answer:
        """As `client.Client.request`; the body of the answer is shown too."""
        with self._told(method, path, query):
            answer = super().request(method, path, query=query, **arguments)
        self._answered(answer.status, answer.headers, answer.body)
        return answer

    def stream(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), **arguments: Any
    ) -> client.Stream:
        """As `client.Client.stream`; its head is shown at once, its body never."""
        with self._told(method, path, query):
            stream = super().stream(method, path, query=query, **arguments)
        self._answered(stream.status, stream.headers, None)
        return stream

    def send(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), **arguments: Any
    ) -> client.Sent:
        """As `client.Client.send`; the answer is not shown."""
        with self._told(method, path, query):
            return super().send(method, path, query=query, **arguments)

    @contextlib.contextmanager
    def _told(self, method: str, path: str, query: Sequence[tuple[str, str]]) -> Iterator[None]:
        if self._console.level == "trace":
            url = wirelog.url(self.socket_path, path, query)
            self._console.log("trace", "Sending request", method=method, proxy="", url=url)
        try:
            yield
        except errors.Problem as problem:
            if problem.answer is not None:
                self._answered(*problem.answer)
            elif self._console.level == "trace":
                url = wirelog.url(self.socket_path, path, query)
                said = {"error": problem.message, "method": method, "proxy": "", "url": url}
                self._console.log("trace", "Error sending request", **said)
            raise

    def _answered(self, status: int, headers: Mapping[str, str], body: bytes | None) -> None:
        if self._console.level == "trace":
            self._console.log("trace", "Received response", status=status)
            self._console.log("trace", "Incoming response", response=wirelog.response(status, headers, body))
        if not self._clock_was_seen:
            self._clock_was_seen = True
            if wirelog.is_skewed(headers.get("date"), self._console.now()):
                self._console.log("warn", wirelog.SKEWED)
