"""The calls of the engine to a cluster: objects of a few kinds, as plain tables; their logs; their changes.

Each call is made once, in a worker thread, and ends within `request_timeout` of silence. Who is cancelled
does not wait for it: what was to be changed may have been changed or may still be, which is also so when no
answer has come. So every call may be repeated: an object that exists already, or is gone, is said by name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec
import trio

from tygerd import enginesettings
from tygerd.engines.kubernetes import access, refusals

if TYPE_CHECKING:
    from tygerd.engines.kubernetes import transport

T = TypeVar("T")

Object = dict[str, Any]
"""As JSON has it, with `apiVersion` and `kind`."""

Trouble = refusals.Trouble
Transient = refusals.Transient
Conflict = refusals.Conflict
Refused = refusals.Refused
NoAccess = refusals.NoAccess
NotFound = refusals.NotFound
AlreadyExists = refusals.AlreadyExists
Gone = refusals.Gone

WATCH_SECONDS = 300
"""For so long a watch goes on until it is begun anew (contract compute.md 15), and then some for its end."""

PAGE = 500
"""Objects in one answer of a list, as kubectl asks for."""


class Kind(NamedTuple):
    """Where objects of a kind are."""

    base: str
    plural: str
    is_namespaced: bool = True


KINDS: Mapping[str, Kind] = {
    "Event": Kind("/api/v1", "events"),
    "Namespace": Kind("/api/v1", "namespaces", is_namespaced=False),
    "Node": Kind("/api/v1", "nodes", is_namespaced=False),
    "Pod": Kind("/api/v1", "pods"),
    "Secret": Kind("/api/v1", "secrets"),
    "SelfSubjectAccessReview": Kind(
        "/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews", is_namespaced=False
    ),
    "Service": Kind("/api/v1", "services"),
    "ServiceAccount": Kind("/api/v1", "serviceaccounts"),
    "StatefulSet": Kind("/apis/apps/v1", "statefulsets"),
}


class Api:
    """A cluster. Raises `Trouble` of the kind that says what there is to do, from every method."""

    def __init__(self, reached: access.Access, settings: enginesettings.Kubernetes) -> None:
        self._access = reached
        self._silence = float(settings.request_timeout)
        self._limiter = trio.CapacityLimiter(settings.connections)
        self.calls = 0
        """Requests that were made, for figures."""

    @property
    def access(self) -> access.Access:
        """The way there."""
        return self._access

    # --- objects -----------------------------------------------------------------------------------------

    async def create(self, body: Object) -> Object:
        """Create an object in our namespace; returns it as it is now.

        Raises:
            AlreadyExists: an object of that name is there, which may be ours of an earlier call.
            NotFound: there is no such namespace.
        """
        kind = body["kind"]
        what = f"create {_called(kind, body.get('metadata', {}).get('name', ''))}"
        return self._known(await self._json("POST", kind, body=body, what=what), what)

    async def get(self, kind: str, name: str) -> Object:
        """An object. Raises NotFound."""
        what = f"read {_called(kind, name)}"
        return self._known(await self._json("GET", kind, name, what=what), what)

    async def list(self, kind: str, selector: str = "", *, fields: str = "") -> tuple[list[Object], str]:
        """All objects that a selector of labels, and one of fields, admit, and the version that they are of.

        A watch from that version on misses nothing.
        """
        found: list[Object] = []
        place = ""
        while True:
            query = {
                "labelSelector": selector,
                "fieldSelector": fields,
                "limit": str(PAGE),
                "continue": place,
            }
            what = f"list {KINDS[kind].plural}"
            try:
                page = await self._json("GET", kind, query=query, what=what)
            except refusals.Gone:
                if not place:
                    raise
                found, place = [], ""  # it took too long from one page to the next
                continue
            try:
                # The items of a list do not say of which kind they are.
                of_kind = {"apiVersion": page["apiVersion"], "kind": kind}
                found += [self._known({**of_kind, **item}, what) for item in page["items"] or []]
                place, version = page["metadata"].get("continue") or "", page["metadata"]["resourceVersion"]
            except (KeyError, TypeError, AttributeError):
                raise self._nonsense("no list", what) from None
            if not place:
                return found, version

    async def delete(
        self, kind: str, name: str, *, grace: float | None = None, uid: str | None = None
    ) -> None:
        """Have an object deleted, and all that it owns after it. One that is gone, or has another uid, is.

        `grace` is in seconds, for a pod.
        """
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = round(grace)
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            await self._json("DELETE", kind, name, body=body, what=f"delete {_called(kind, name)}")
        except refusals.NotFound:
            return
        except refusals.Conflict:
            if uid is None:
                raise

    async def patch(self, kind: str, name: str, patch: Object | Sequence[Object]) -> Object:
        """Change an object: by a merge patch (RFC 7396), or by operations (RFC 6902) if it is a list of them.

        Raises:
            NotFound: it is gone.
            Conflict: the patch names another `metadata.resourceVersion` than it has.
            Refused: with status 422, an operation's `test` does not hold.
        """
        merge = isinstance(patch, Mapping)
        content_type = "application/merge-patch+json" if merge else "application/json-patch+json"
        body = patch if merge else list(patch)
        what = f"change {_called(kind, name)}"
        return await self._json("PATCH", kind, name, body=body, content_type=content_type, what=what)

    async def version(self) -> str:
        """The cluster's, such as `v1.34.2`: whether it is there, not whether we may do anything."""
        work = functools.partial(self._read_json, "GET", "/version", what="reach the cluster")
        return str((await self._hop(work)).get("gitVersion", ""))

    # --- streams: called in a thread of the caller's -----------------------------------------------------

    def watch(self, kind: str, selector: str, version: str) -> Watch:
        """The changes after a version, for a worker thread to iterate over."""
        return Watch(self._access, kind, selector, version)

    def logs(
        self,
        pod: str,
        container: str,
        *,
        follow: bool,
        since: str | None = None,
        previous: bool = False,
        stream: str | None = None,
    ) -> Log:
        """What a container has printed, each line after its time, for a worker thread to iterate over.

        `since` is a time of RFC 3339 in whole seconds; `previous` is of the container before its last
        restart; `stream` is `Stdout` or `Stderr`, which a cluster may not tell apart.
        """
        query = {
            "container": container,
            "follow": "true" if follow else "",
            "previous": "true" if previous else "",
            "sinceTime": since or "",
            "stream": stream or "",
            "timestamps": "true",
        }
        path = f"{_path(self._access.inside(), 'Pod', pod)}/log?{_query(query)}"
        what = f"read the log of {container} in {_called('Pod', pod)}"
        return Log(self._access, path, None if follow else self._silence, what)

    # --- requests ----------------------------------------------------------------------------------------

    async def _json(
        self,
        method: str,
        kind: str,
        name: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        what: str,
    ) -> Object:
        def work() -> Object:
            path = _path(self._access.inside(), kind, name)
            encoded = _query(query or {})
            path = f"{path}?{encoded}" if encoded else path
            return self._read_json(method, path, body=body, content_type=content_type, what=what)

        return await self._hop(work)

    def _read_json(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        content_type: str = "application/json",
        what: str,
    ) -> Object:
        answer = self._access.request(
            method, path, body=body, content_type=content_type, silence=self._silence, what=what
        )
        content = answer.read()
        try:
            decoded: Object = msgspec.json.decode(content, type=dict)
        except msgspec.DecodeError as error:
            where = self._access.where
            raise refusals.Transient(
                f"{where} answers with what is no object: {error}", status=answer.status, what=what
            ) from None
        return decoded

    def _known(self, answer: Object, what: str) -> Object:
        """An answer that is an object, as whoever else speaks JSON may be there. Raises Transient."""
        if not isinstance(answer.get("metadata"), dict):
            raise self._nonsense("no object", what)
        return answer

    def _nonsense(self, which: str, what: str) -> refusals.Transient:
        return refusals.Transient(f"{self._access.where} answers with what is {which}", what=what)

    async def _hop(self, work: Callable[[], T]) -> T:
        self.calls += 1
        return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)


class Watch:
    """Changes of objects: pairs of `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`, and the object.

    A bookmark has nothing but a newer version. It ends when the server has had enough of it, or when it is
    closed; then watch again from the last version that was seen. Not for two threads, but for `close`.
    """

    def __init__(self, reached: access.Access, kind: str, selector: str, version: str) -> None:
        self._access = reached
        self._kind = kind
        self._query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": selector,
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        self._stream = _Stream(reached)

    def __iter__(self) -> Iterator[tuple[str, Object]]:
        """See `changes`."""
        return self.changes()

    def changes(self, opened: Callable[[], None] = lambda: None) -> Iterator[tuple[str, Object]]:
        """Calls `opened` once the server has agreed, which is long before the first change in a quiet place.

        Raises:
            Gone: the server does not know that version any more: list.
            Trouble: as every request.
        """
        what = f"watch {KINDS[self._kind].plural}"
        path = f"{_path(self._access.inside(), self._kind, '')}?{_query(self._query)}"
        for line in _lines(self._stream.pieces(path, WATCH_SECONDS + 30.0, what, opened)):
            try:
                change: Object = msgspec.json.decode(line, type=dict)
                kind, found = str(change["type"]), dict(change["object"])
            except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
                raise refusals.Transient(
                    f"the watch has a line that is no change: {error}", what=what
                ) from None
            if kind == "ERROR":
                code = found.get("code")
                raise refusals.answered(code if isinstance(code, int) else 500, found, what=what)
            yield kind, found

    def close(self) -> None:
        """End it, from any thread and at any time; does not block."""
        self._stream.close()


class Log:
    """The bytes of a log, as they come. It ends when the log does, or when it is closed."""

    def __init__(self, reached: access.Access, path: str, silence: float | None, what: str) -> None:
        self._path = path
        self._silence = silence
        self._what = what
        self._stream = _Stream(reached)

    def __iter__(self) -> Iterator[bytes]:
        """Raises as every request; Transient where the connection was cut in the middle."""
        return self._stream.pieces(self._path, self._silence, self._what)

    def close(self) -> None:
        """End it, from any thread and at any time; does not block."""
        self._stream.close()


class _Stream:
    """The body of an answer that may go on for long."""

    def __init__(self, reached: access.Access) -> None:
        self._access = reached
        self._cut: transport.Cut | None = None
        self._closed = False

    def pieces(
        self, path: str, silence: float | None, what: str, opened: Callable[[], None] = lambda: None
    ) -> Iterator[bytes]:
        from tygerd.engines.kubernetes import transport  # takes 0.7 s and 35 MB

        self._cut = cut = transport.Cut()
        if self._closed:
            return
        try:
            answer = self._access.request("GET", path, silence=silence, what=what, cut=cut)
            opened()
            yield from answer.pieces()
        except refusals.Trouble as trouble:
            trouble.what = what
            if not self._closed:
                raise

    def close(self) -> None:
        self._closed = True
        if self._cut is not None:
            self._cut.cut()


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines; what comes last without an end is none."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n") if b"\n" in piece else (rest + piece,)
        yield from whole


def _path(namespace: str, kind: str, name: str) -> str:
    found = KINDS[kind]
    inside = f"/namespaces/{quote(namespace, safe='')}" if found.is_namespaced else ""
    path = f"{found.base}{inside}/{found.plural}"
    return f"{path}/{quote(name, safe='')}" if name else path


def _query(said: Mapping[str, str]) -> str:
    return urlencode({key: value for key, value in said.items() if value})


def _called(kind: str, name: str) -> str:
    words = {
        "SelfSubjectAccessReview": "question about our rights",
        "ServiceAccount": "service account",
        "StatefulSet": "stateful set",
    }
    return f"the {words.get(kind, kind.lower())} {name}".rstrip()
