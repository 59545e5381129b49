"""One cluster as somebody: connects, says who we are, and says it anew when that is not accepted any more.

Whatever is configured, or has changed since, is read when it is needed and again after a 401: an operator who
renews a kubeconfig restarts nothing. Blocking, from any thread; `api` has the calls for the engine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tyger import errors
from tygerd import enginesettings
from tygerd.engines.kubernetes import credentials, kubeconfig, refusals
from tygerd.identity import azure

if TYPE_CHECKING:
    from tygerd.engines.kubernetes import transport

CONNECT_SECONDS = 10.0


class _Session(NamedTuple):
    """All that a request needs; replaced as a whole."""

    target: kubeconfig.Target
    credentials: credentials.Credentials | credentials.EntraTokens


class Access:
    """The way to a cluster. `environ` is the daemon's; nothing is read before the first use."""

    def __init__(
        self,
        settings: enginesettings.Kubernetes,
        environ: Mapping[str, str],
        *,
        service_account: str = kubeconfig.SERVICE_ACCOUNT,
        entra: Callable[[str], Any] | None = None,
    ) -> None:
        """`entra` makes what requests to Microsoft Entra ID at a URL go through; None, there are none."""
        self._settings = settings
        self._environ = environ
        self._service_account = service_account
        self._entra = entra
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._namespace: str | None = settings.namespace
        self._transport: transport.Transport | None = None
        self._transport_is_for: object = None

    @property
    def namespace(self) -> str:
        """Where all our objects are. It stays the same for the daemon's life. Blocking: may read files.

        Raises:
            Problem: CONFIG, there is no usable kubeconfig.
        """
        if self._namespace is None:
            self._namespace = self._current().target.namespace
        return self._namespace

    def inside(self) -> str:
        """The namespace, for a request. Blocking.

        Raises:
            Trouble: there is no usable kubeconfig, and so far there was none.
        """
        try:
            return self.namespace
        except errors.Problem as problem:
            raise _unknown(problem) from None

    @property
    def where(self) -> str:
        """The cluster for messages, as far as it is known: `the cluster at https://host (context lab)`."""
        session = self._session
        if session is None:
            return "the cluster"
        context = f" (context {session.target.context})" if session.target.context else ""
        return f"the cluster at {session.target.server}{context}"

    def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        content_type: str = "application/json",
        silence: float | None,
        what: str,
        cut: transport.Cut | None = None,
    ) -> transport.Answer:
        """Send a request as who we are; returns an answer that is a success.

        `silence` is for how many seconds the server may say nothing; `what` completes "cannot".

        Raises:
            Trouble: of the kind that says what there is to do.
        """
        for last in (False, True):
            session = self._session
            try:
                session = self._current()
                answer = self._send(session, method, path, body, content_type, silence, cut)
                if 200 <= answer.status < 300:
                    return answer
                raise self._explain(answer, session, what)
            except errors.Problem as problem:
                trouble = _unknown(problem)
            except refusals.Trouble as raised:
                trouble = raised
            trouble.what = what
            if last or not isinstance(trouble, refusals.NoAccess):
                raise trouble
            self._forget(session)
        raise AssertionError("the second attempt returns or raises")

    def client(self) -> Any:
        """A `kubernetes.client.ApiClient` that says who we are now: for what that library does by itself.

        Raises:
            Trouble: as `request`.
        """
        try:
            session = self._current()
            credential = session.credentials.get()
            chosen = self._connections(session, credential)
        except errors.Problem as problem:
            trouble = _unknown(problem)
            trouble.what = "reach the cluster"
            raise trouble from None
        for name, value in credential.headers:
            if name == "Authorization":
                chosen.configuration.api_key["BearerToken"] = value
            else:
                chosen.client.set_default_header(name, value)
        return chosen.client

    def close(self) -> None:
        """Let go of idle connections; what is under way goes on."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()
                self._transport = self._transport_is_for = None

    # --- inside ------------------------------------------------------------------------------------------

    def _current(self) -> _Session:
        with self._lock:
            if self._session is None:
                target = kubeconfig.load(self._settings, self._environ, service_account=self._service_account)
                self._session = _Session(target, self._load(target))
            return self._session

    def _load(self, target: kubeconfig.Target) -> credentials.Credentials | credentials.EntraTokens:
        if (chosen := self._settings.credential) is None or self._entra is None:
            return credentials.Credentials(target, self._environ)
        tokens = azure.load(chosen, "the cluster", self._entra, self._environ)
        return credentials.EntraTokens(tokens, target)

    def _forget(self, session: _Session | None) -> None:
        """Who we were is not accepted: read all anew, unless another thread has done so meanwhile."""
        with self._lock:
            if self._session is session:
                self._session = None

    def _connections(self, session: _Session, credential: credentials.Credential) -> transport.Transport:
        """Connections as this somebody; those of before are let go of once they are others'."""
        from tygerd.engines.kubernetes import transport  # takes 0.7 s and 35 MB

        target = session.target
        key = (target, credential.certificate, credential.key)
        with self._lock:
            if self._transport is None or self._transport_is_for != key:
                if self._transport is not None:
                    self._transport.close()
                self._transport = transport.Transport(
                    target, credential, self._environ, connections=self._settings.connections
                )
                self._transport_is_for = key
            return self._transport

    def _send(
        self,
        session: _Session,
        method: str,
        path: str,
        body: object,
        content_type: str,
        silence: float | None,
        cut: transport.Cut | None,
    ) -> transport.Answer:
        from tygerd.engines.kubernetes import transport

        credential = session.credentials.get()
        connections = self._connections(session, credential)
        headers = transport.headers(credential, content_type if body is not None else None)
        timeout = transport.Timeout(CONNECT_SECONDS, silence)
        return connections.request(method, path, headers=headers, body=body, timeout=timeout, cut=cut)

    def _explain(self, answer: transport.Answer, session: _Session, what: str) -> refusals.Trouble:
        """What an answer means that is no success."""
        trouble = refusals.answered(
            answer.status, answer.body(), what=what, retry_after=answer.headers.get("Retry-After")
        )
        if isinstance(trouble, refusals.NoAccess):
            chosen = self._settings.credential
            hint = azure.advice(chosen) if chosen else f"renew the credentials in {session.target.origin}"
            trouble.message = f"{self.where} does not accept who we are ({trouble.message}); {hint}"
        return trouble


def _unknown(problem: errors.Problem) -> refusals.Trouble:
    """We do not know who we are: where nobody answered who could tell, that may pass."""
    if problem.kind is errors.UNAVAILABLE:
        return refusals.Transient(problem.message)
    return refusals.NoAccess(problem.message)
