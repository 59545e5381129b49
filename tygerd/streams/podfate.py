"""How the main container of our own pod has ended: the only thing that the pump asks a cluster for.

The kubelet stops the pump, with SIGTERM, once main has ended, and does not tell how. The API server knows, a
moment later: the pod is read again and again until it says so. The token is of the pod's service account,
which may read pods; the file is replaced as it expires, so it is read each time.
"""

from __future__ import annotations

import datetime as dt
import http.client
import logging
import os
import ssl
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import trio

from tyger import errors, units
from tygerd import clock

MAIN = "main"
"""Name of the job's container."""

FIRST_TIMEOUT, LONGEST_TIMEOUT = 2.0, 30.0
"""Seconds that each step of a request may take: doubled each time, with this ceiling. Answers take some
milliseconds; one that does not come may be of a connection that was lost, and the run's end waits for it."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between looks: doubled each time, with this ceiling."""

REFUSALS = 8
"""Answers that we may not look until that is believed: rights and tokens may be on their way. Some 7 s."""

_log = logging.getLogger(__name__)


class Fate(NamedTuple):
    """How main ended: its exit code, or why nobody will ever ask for it."""

    code: int | None
    gone: str | None = None
    """In words, where the pod was deleted or failed as a whole."""


class Terminated(msgspec.Struct, rename="camel"):
    """A container's end."""

    exit_code: int = 0


class State(msgspec.Struct):
    """A container's state; of the three only one is there."""

    terminated: Terminated | None = None


class Container(msgspec.Struct):
    """A container's status."""

    name: str
    state: State = msgspec.field(default_factory=State)


class Condition(msgspec.Struct):
    """One of a pod's conditions."""

    type: str
    status: str
    message: str = ""


class Status(msgspec.Struct, rename="camel"):
    """A pod's status."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    start_time: str | None = None
    conditions: list[Condition] = []
    container_statuses: list[Container] = []


class Metadata(msgspec.Struct, rename="camel"):
    """What is asked of a pod's."""

    deletion_timestamp: str | None = None


class Spec(msgspec.Struct, rename="camel"):
    """What is asked of a pod's."""

    active_deadline_seconds: int | None = None


class Pod(msgspec.Struct):
    """What is asked of a pod."""

    spec: Spec = msgspec.field(default_factory=Spec)
    metadata: Metadata = msgspec.field(default_factory=Metadata)
    status: Status = msgspec.field(default_factory=Status)


def judge(pod: Pod, now: dt.datetime) -> Fate | None:
    """How main ended, as far as the pod says, after we were stopped; None while it does not.

    A pod that is being deleted was cancelled, whatever main made of that. Where a kubelet ends a whole pod it
    says nothing of main before it has ended us, too: so we look for why it does.
    """
    if pod.metadata.deletion_timestamp is not None:
        return Fate(None, "the pod was deleted")
    for container in pod.status.container_statuses:
        if container.name == MAIN and (end := container.state.terminated) is not None:
            return Fate(end.exit_code)
    if pod.status.phase == "Failed":
        return Fate(None, f"the pod failed: {pod.status.message or pod.status.reason or 'nobody says why'}")
    for condition in pod.status.conditions:
        if condition.type == "DisruptionTarget" and condition.status == "True":  # evicted, say
            return Fate(None, f"the pod was disrupted: {condition.message}")
    if _is_too_old(pod, now):
        return Fate(None, f"the pod was active longer than {pod.spec.active_deadline_seconds} seconds")
    return None


def _is_too_old(pod: Pod, now: dt.datetime) -> bool:
    limit, since = pod.spec.active_deadline_seconds, pod.status.start_time
    if limit is None or since is None:
        return False
    return now >= units.parse_timestamp(since) + dt.timedelta(seconds=limit)


class Own:
    """Our own pod, as the API server knows it."""

    def __init__(self, environ: Mapping[str, str], directory: str) -> None:
        """`directory` holds `token` and `ca.crt`; the environment names the API server and our pod."""
        self._environ = environ
        self._directory = directory

    async def fate(self) -> Fate:
        """Wait until it is known how main ended, however long the API server is away.

        Raises:
            Problem: it will not tell us.
        """
        pause, timeout, refusals, said = FIRST_PAUSE, FIRST_TIMEOUT, 0, False
        while True:
            try:
                pod = await trio.to_thread.run_sync(self._look, timeout, abandon_on_cancel=True)
                if (found := judge(pod, clock.now())) is not None:
                    return found
            except errors.Problem as problem:
                timeout = min(2 * timeout, LONGEST_TIMEOUT)
                refusals += problem.kind is not errors.UNAVAILABLE
                if problem.kind is errors.NOT_FOUND:
                    return Fate(None, "the pod is gone")
                if refusals > REFUSALS:
                    raise
                if not said:
                    said = True
                    _log.warning("%s; trying again", problem.message)
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _look(self, timeout: float) -> Pod:
        """One request. Blocking.

        Raises:
            Problem: NOT_FOUND, FORBIDDEN, CONFIG or UNAVAILABLE.
        """
        try:
            host, port = self._environ["KUBERNETES_SERVICE_HOST"], self._environ["KUBERNETES_SERVICE_PORT"]
            path = f"/api/v1/namespaces/{self._environ['POD_NAMESPACE']}/pods/{self._environ['POD_NAME']}"
            with open(os.path.join(self._directory, "token"), encoding="ascii") as file:
                token = file.read().strip()
            trust = ssl.create_default_context(cafile=os.path.join(self._directory, "ca.crt"))
        except KeyError as missing:
            message = f"cannot ask how main ended: {missing.args[0]} is not set"
            raise errors.Problem(errors.CONFIG, message) from None
        except (OSError, ValueError) as error:
            message = f"cannot ask how main ended with what is in {self._directory}: {error}"
            raise errors.Problem(errors.CONFIG, message) from None
        place = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        connection = http.client.HTTPSConnection(host, int(port), timeout=timeout, context=trust)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            body = answer.read()
        except ssl.SSLCertVerificationError as error:
            message = f"the certificate of {place} is not trusted: {error.verify_message}"
            raise errors.Problem(errors.CONFIG, message) from None
        except (OSError, http.client.HTTPException) as error:
            words = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise errors.Problem(errors.UNAVAILABLE, f"{place} does not answer: {words}") from None
        finally:
            connection.close()
        if answer.status == 200:
            try:
                return msgspec.json.decode(body, type=Pod)
            except msgspec.DecodeError as error:
                raise errors.Problem(errors.UNAVAILABLE, f"{place} does not send a pod: {error}") from None
        kind = {404: errors.NOT_FOUND, 401: errors.FORBIDDEN, 403: errors.FORBIDDEN}.get(
            answer.status, errors.UNAVAILABLE
        )
        raise errors.Problem(kind, f"cannot ask how main ended: {_words(answer.status, body)}")


def _words(status: int, body: bytes) -> str:
    """What an answer that is no pod says."""
    try:
        found = msgspec.json.decode(body, type=Status)
    except msgspec.DecodeError:
        return f"status code {status}"
    return found.message or f"status code {status}"
