"""How a request to a cluster fails, by what there is to do: try again, give up, or look again.

`str()` is one line for a person: what was to be done, and the cluster's own words. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from tyger import errors

LONGEST = 1000
"""Characters of the cluster's words that are passed on; a webhook may say anything."""


class Trouble(Exception):  # noqa: N818 - what is to be done about it says more than that it is an error
    """A request that has failed. `what` completes "cannot"; `message` are the words of the cluster, or ours.

    `status` is HTTP's, None where nobody answered; `reason` is Kubernetes' word for it, such as `Forbidden`.
    """

    def __init__(self, message: str, *, status: int | None = None, reason: str = "", what: str = "") -> None:
        super().__init__(message)
        self.message = one_line(message)
        self.status = status
        self.reason = reason
        self.what = what

    def __str__(self) -> str:
        """One line."""
        return f"cannot {self.what}: {self.message}" if self.what else self.message

    @property
    def kind(self) -> errors.Kind:
        """Its row in our table of failures."""
        return errors.INVALID_INPUT

    def problem(self) -> errors.Problem:
        """For whoever is told at once, as no run is the matter."""
        return errors.Problem(self.kind, str(self))


class Transient(Trouble):
    """It may well work later. `retry_after` is in how many seconds the server wants to be asked again."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        reason: str = "",
        what: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, reason=reason, what=what)
        self.retry_after = retry_after

    @property
    def kind(self) -> errors.Kind:
        """Its row in our table of failures."""
        return errors.UNAVAILABLE


class Conflict(Transient):
    """The object has changed meanwhile: read it, and try again."""


class Refused(Trouble):
    """The cluster says no, and will say so again: forbidden, invalid, denied by a policy, over a quota."""

    @property
    def kind(self) -> errors.Kind:
        """Its row in our table of failures."""
        return errors.FORBIDDEN if self.status == 403 else errors.INVALID_INPUT


class NoAccess(Refused):
    """We cannot even ask: the cluster does not know who we are, or we do not, for want of a kubeconfig."""

    @property
    def kind(self) -> errors.Kind:
        """Its row in our table of failures."""
        return errors.CONFIG


class NotFound(Refused):
    """There is no such object; or no such namespace, in which to create one."""

    @property
    def kind(self) -> errors.Kind:
        """Its row in our table of failures."""
        return errors.NOT_FOUND


class AlreadyExists(Refused):
    """There is an object of that name, which may also be one that is being deleted."""

    @property
    def kind(self) -> errors.Kind:
        """Its row in our table of failures."""
        return errors.CONFLICT


class Gone(Refused):
    """The cluster remembers that version no more: list again."""


PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Statuses after which the same request may succeed. 500 is a webhook that is away, among others."""


def answered(
    status: int, body: Mapping[str, object] | str, *, what: str = "", retry_after: str | None = None
) -> Trouble:
    """What an answer that is no success means. `body` is a Status of Kubernetes, or what else came."""
    said = body if isinstance(body, Mapping) else {}
    reason = str(said.get("reason") or "")
    message = str(said.get("message") or (body if isinstance(body, str) else "") or f"status {status}")
    if status in PASSING:
        seconds = _seconds(retry_after)
        details = said.get("details")
        if seconds is None and isinstance(details, Mapping):
            seconds = _seconds(details.get("retryAfterSeconds"))
        return Transient(message, status=status, reason=reason, what=what, retry_after=seconds)
    if status == 409 and reason != "AlreadyExists":
        return Conflict(message, status=status, reason=reason, what=what)
    kinds: dict[int, type[Trouble]] = {401: NoAccess, 404: NotFound, 409: AlreadyExists, 410: Gone}
    kind = Gone if reason in {"Expired", "Gone"} else kinds.get(status, Refused)
    return kind(message, status=status, reason=reason, what=what)


def one_line(words: str) -> str:
    """The same words without line breaks, and not without end."""
    text = " ".join(words.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _seconds(value: object) -> float | None:
    """A number of seconds; none where it is a date, which no API server sends."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 3600 else None
