"""What the status of a pod says, read into types, and in words. Pure.

Nothing of a status is certain to be there: whatever is missing, or of another form than documented, counts as
not known. Moments are microseconds since the epoch; Kubernetes tells whole seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tyger import errors, units
from tygerd.engines.kubernetes import containers
from tygerd.supervisor import ending

Object = Mapping[str, Any]


class End(NamedTuple):
    """How a container ended. `message` is its last words, or why it could not be started."""

    code: int
    finished_at: int | None
    reason: str
    message: str

    @property
    def never_started(self) -> bool:
        """Its program could not be started."""
        return self.reason in {"StartError", "ContainerCannotRun"}


class Container(NamedTuple):
    """A container of a pod. `before` is how its life before this one ended, where it was started again."""

    name: str
    image: str
    initial: bool
    ready: bool = False
    started_at: int | None = None
    end: End | None = None
    before: End | None = None
    waiting: str = ""
    message: str = ""
    image_id: str = ""

    @property
    def ends(self) -> Iterator[End]:
        """All that is known of its ends, the newest last."""
        yield from (end for end in (self.before, self.end) if end is not None)


class Condition(NamedTuple):
    """One of a pod's conditions."""

    holds: bool
    since: int | None
    reason: str
    message: str


class Pod(NamedTuple):
    """A pod. `deleted`: somebody wants it gone."""

    name: str
    phase: str
    reason: str
    message: str
    deleted: bool
    node: str
    containers: Mapping[str, Container]
    conditions: Mapping[str, Condition]

    @property
    def stopped(self) -> bool:
        """Nothing of it runs, nor will; of a pod whose containers are not started again.

        One that is deleted may start until its node has heard of it.
        """
        if self.phase in {"Succeeded", "Failed"}:
            return True
        main = self.containers.get(containers.MAIN)
        if main is not None and main.end and all(each.end for each in self.containers.values()):
            return True
        return self.deleted and not self.node


def read(pod: Object) -> Pod:
    """A pod as the API has it."""
    status, metadata = _object(pod, "status"), _object(pod, "metadata")
    found = [
        *(_container(each, initial=True) for each in _list(status, "initContainerStatuses")),
        *(_container(each, initial=False) for each in _list(status, "containerStatuses")),
    ]
    return Pod(
        name=_text(metadata, "name"),
        phase=_text(status, "phase"),
        reason=_text(status, "reason"),
        message=_text(status, "message"),
        deleted=bool(metadata.get("deletionTimestamp")),
        node=_text(_object(pod, "spec"), "nodeName"),
        containers={each.name: each for each in found},
        conditions={
            _text(each, "type"): Condition(
                each.get("status") == "True",
                _moment(each.get("lastTransitionTime")),
                _text(each, "reason"),
                _text(each, "message"),
            )
            for each in _list(status, "conditions")
        },
    )


def digest(container: Container) -> str | None:
    """What the container's image was, where the node knows it."""
    text = container.image_id.rpartition("@")[2]
    return text if text.startswith("sha256:") else None


def described(who: str, end: End, *, which: str = "", limit: str = "") -> str:
    """Why a container that ended badly did. `who` is `Main` or `Worker`, `which` tells replicas apart."""
    if end.never_started:
        return f"cannot start {which or who.lower()}: {_runtime_words(end.message)}"
    inside = f" in {which}" if which else ""
    if end.reason == "OOMKilled":
        why = "out of memory" + (f" (its limit is {limit})" if limit else "")
        if end.code == 128 + 9:
            return f"{who} was killed{inside}: {why}"
        return f"{who} exited with code {end.code}{inside}, after a process in it was killed: {why}"
    return f"{who} exited with code {ending.describe(end.code)}{inside}"


def _runtime_words(message: str) -> str:
    """The end of a runtime's message, which names the program; what stands before is each layer's own."""
    words = message.partition("error during container init: ")[2] or message
    return " ".join(words.removesuffix(": unknown").split()) or "the runtime does not say why"


def _container(status: Object, *, initial: bool) -> Container:
    state = _object(status, "state")
    end = _end(_object(state, "terminated"))
    running, ended, waiting = (_object(state, key) for key in ("running", "terminated", "waiting"))
    started = running or ended
    began = _moment(started.get("startedAt"))
    if end is not None and end.never_started:
        began = None
    return Container(
        name=_text(status, "name"),
        image=_text(status, "image"),
        initial=initial,
        ready=status.get("ready") is True,
        started_at=began,
        end=end,
        before=_end(_object(_object(status, "lastState"), "terminated")),
        waiting=_text(waiting, "reason"),
        message=_text(waiting, "message"),
        image_id=_text(status, "imageID"),
    )


def _end(state: Object) -> End | None:
    code = state.get("exitCode")
    if not isinstance(code, int):
        return None
    return End(code, _moment(state.get("finishedAt")), _text(state, "reason"), _text(state, "message"))


def _moment(text: object) -> int | None:
    """A time; the zero that stands for one that is not known is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = units.to_micros(units.parse_timestamp(text))
    except errors.Problem:
        return None
    return moment if moment > 0 else None


def _object(parent: Object, key: str) -> Object:
    found = parent.get(key)
    return found if isinstance(found, Mapping) else {}


def _list(parent: Object, key: str) -> list[Object]:
    found = parent.get(key)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _text(parent: Object, key: str) -> str:
    found = parent.get(key)
    return found if isinstance(found, str) else ""
