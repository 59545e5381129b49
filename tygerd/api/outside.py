"""The data plane for other machines: where it listens, which certificate it shows, and its table of routes.

That table has blobs and containers and nothing else: what may be asked is what a signature allows. Whoever
asks for more is answered, and has to connect anew: that costs him more than it costs us.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import resource
import secrets
import socket
import ssl
from collections.abc import Sequence

import trio

from tyger import errors
from tygerd import clock, storesettings
from tygerd.api import blobs, context
from tygerd.http import connection, messages, plane, problems, receive, router
from tygerd.identity import certificates

RELOAD = 10.0
"""Seconds between looks at the files of a certificate that was given; it is replaced long before its end."""

SENDING_THREADS = 16
"""Bodies that are encrypted and sent at the same time; a slow peer gives its thread back."""

FDS_EACH = 4
"""Descriptors of the daemon for each connection: its own, a block's file, and as many for everything else,
which never lacks any because of what strangers open."""

logger = logging.getLogger(__name__)


class Table(router.Router):
    """Routes of which no refusal leaves the connection open; those of a good client are rare."""

    def __init__(self, routes: Sequence[router.Route]) -> None:
        super().__init__([dataclasses.replace(each, handler=_closing(each.handler)) for each in routes])

    def target(self, method: str, text: str) -> router.Target:
        """Any target, also one that is no path."""
        try:
            return super().target(method, text)
        except errors.Problem:
            return router.Target(text, (text,), messages.Fields(), legacy_version_conflict=False)

    def match(self, method: str, target: router.Target) -> router.Match:
        """The route for this request; where there is none, one that says so."""
        try:
            return super().match(method, target)
        except errors.Problem as problem:
            why = problem

            async def refuse(_app: context.App, request: messages.Request) -> messages.Response:
                answer = problems.answer(why, request.id)
                return messages.Response(answer.status, answer.body, [*answer.headers, _CLOSE])

            return router.Match(router.Route(method, "/", refuse, "Nothing", streams_body=True), {})


_CLOSE = ("Connection", "close")


def _closing(handler: router.Handler) -> router.Handler:
    @functools.wraps(handler)
    async def closing(app: context.App, request: messages.Request) -> messages.Answer:
        answer = await handler(app, request)
        if isinstance(answer, messages.Response) and answer.status in (400, 403):
            answer.headers = [*answer.headers, _CLOSE]
        return answer

    return closing


class Outside:
    """A listening socket and its certificate."""

    def __init__(
        self, listening: socket.socket, endpoint: str, host: str, files: certificates.Files, connections: int
    ) -> None:
        self.endpoint = endpoint
        """What access URLs begin with, without a slash at its end."""
        self._listening = listening
        self._host = host
        self._files = files
        self._connections = connections
        self._seen = self._state()
        self._looked = clock.boottime()
        self._certificate = certificates.read(files, host)

    @classmethod
    def open(cls, settings: storesettings.Local, keys: str) -> Outside | None:
        """Listen as configured; None: it is not. `keys` is where a certificate of our own is kept. Blocking.

        Raises:
            Problem: CONFIG or IO_ERROR, in one line.
        """
        if settings.listen is None:
            return None
        listening = plane.listen(settings.host, settings.port)
        try:
            endpoint, host = settings.reached_at(listening.getsockname()[1])
            if settings.certificate is not None and settings.key is not None:
                files = certificates.Files(settings.certificate, settings.key, settings.ca_file)
            else:
                files = certificates.load_or_create(keys, host)
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            bound = settings.connections if soft == resource.RLIM_INFINITY else soft // FDS_EACH
            return cls(listening, endpoint, host, files, min(settings.connections, bound))
        except BaseException:
            listening.close()
            raise

    def trusted(self) -> str:
        """PEM of what a client has to trust, now."""
        self._look()
        return self._certificate.trusted

    def tls(self) -> ssl.SSLContext:
        """The certificate for a new connection."""
        self._look()
        return self._certificate.context

    def server(self, app: context.App, *, stop_deadline: float) -> plane.Plane:
        """What serves it; once."""
        site = connection.Site(
            app=app,
            router=Table(blobs.ROUTES),
            limits=app.config.limits,
            version=app.version,
            fds=receive.Quota(0),
            threads=trio.CapacityLimiter(SENDING_THREADS),
            life=secrets.token_hex(4),
        )
        return plane.Plane(
            site,
            self._listening,
            self.tls,
            connections=self._connections,
            stop_deadline=stop_deadline,
        )

    def _look(self) -> None:
        """Read the certificate again if its files have changed; one that can't be used is left alone."""
        now = clock.boottime()
        if now - self._looked < RELOAD:
            return
        self._looked = now
        if (state := self._state()) == self._seen:
            return
        self._seen = state
        try:
            self._certificate = certificates.read(self._files, self._host)
        except errors.Problem as problem:
            logger.error("%s; the one before stays in use", problem)  # noqa: TRY400 - no defect
        else:
            logger.info("%s was read again", self._files.certificate)

    def _state(self) -> list[tuple[int, int]]:
        found = []
        for path in self._files:
            try:
                status = os.stat(path or os.devnull)
            except OSError:
                found.append((0, 0))
            else:
                found.append((status.st_ino, status.st_mtime_ns))
        return found
