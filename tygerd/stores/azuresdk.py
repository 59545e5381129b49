"""One storage account through azure-storage-blob: containers, access URLs, leases, the mark of a failure.

Blocking, from any thread. Nothing else imports that library, and this module is imported when it is first
needed: it takes 0.3 seconds and 30 MB. Blocks do not travel here (`stores.dataplane`). Whatever the library
raises ends here as a `Problem`.

Times are the server's (`serverclock`). Where this host's clock is wrong, the first request is refused, its
answer has the right time, and it is sent again. No other answer makes us ask again.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import azure.core.credentials
import azure.core.exceptions
import azure.storage.blob

from tyger import errors
from tygerd.blocks import container, names
from tygerd.identity import azure as identity
from tygerd.identity import azurewords, kinds
from tygerd.stores import azurekeys, azuretransport, base, network, serverclock

T = TypeVar("T")

VERSION = "2021-08-06"
"""Of the Blob service's interface: the data plane's (contract buffers.md 7.1)."""

SKEW = dt.timedelta(seconds=5)
"""By how much a URL begins before it is made: the clocks of a service's many servers differ."""

WRONG = dt.timedelta(minutes=1)
"""A clock that is off by so much may be why a request was refused; Azure allows for 15 minutes."""


class Account:
    """A storage account. `advice` says what to look at when its credential is refused."""

    def __init__(
        self,
        name: str,
        endpoint: str,
        credential: identity.SharedKey | identity.Tokens,
        *,
        network: network.Network,
        clock: serverclock.ServerClock,
        kind: kinds.Kind,
    ) -> None:
        self._name = name
        self._endpoint = endpoint
        self._credential = credential
        self._clock = clock
        self._kind = kind
        self._tls = endpoint.startswith("https:")
        self._keys = azurekeys.DelegationKeys(self._fetch_key, clock)
        self._service = azure.storage.blob.BlobServiceClient(
            endpoint,
            credential=_credential(credential),
            transport=azuretransport.transport(network, endpoint),
            api_version=VERSION,
            retry_total=0,
            raw_request_hook=self._on_request,
            raw_response_hook=self._on_response,
        )

    def close(self) -> None:
        """Let go of the connections; nothing may be under way."""
        self._service.close()

    # --- containers --------------------------------------------------------------------------------------

    def create(self, id: str) -> None:  # noqa: A002 - the contract's word
        """See `base.Store.create`."""
        try:
            self._call("make a container", self._container(id).create_container)
        except _Refused as refused:
            if refused.code == "ContainerBeingDeleted":
                message = f"{self._who} is still deleting the container {id}; try again in half a minute"
                raise errors.Problem(errors.TRY_AGAIN, message) from None
            if refused.code != "ContainerAlreadyExists":
                raise

    def exists(self, id: str) -> bool:  # noqa: A002
        """See `base.Store.exists`."""
        try:
            self._call("look for a container", self._container(id).get_container_properties)
        except _Refused as refused:
            if refused.is_gone:
                return False
            raise
        return True

    def delete(self, id: str) -> None:  # noqa: A002
        """See `base.Store.delete`."""
        try:
            self._call("delete a container", self._container(id).delete_container)
        except _Refused as refused:
            if not refused.is_gone:
                raise

    def mark_failed(self, id: str) -> None:  # noqa: A002
        """See `base.Store.mark_failed`. Create-only: the library sends `If-None-Match: *`."""
        blob = self._container(id).get_blob_client(names.END)
        marker = container.END_MARKERS["failed"]
        try:
            self._call(
                "mark a buffer as failed", functools.partial(blob.upload_blob, marker, overwrite=False)
            )
        except _Refused as refused:
            if not refused.is_gone and refused.code not in _ENDED:
                raise

    # --- metadata ----------------------------------------------------------------------------------------

    def labels(self, id: str) -> dict[str, str] | None:  # noqa: A002
        """See `base.RemoteStore.labels`."""
        try:
            found = self._call("look at a container", self._container(id).get_container_properties)
        except _Refused as refused:
            if refused.is_gone:
                return None
            raise
        return dict(found.metadata or {})

    def set_labels(self, id: str, labels: Mapping[str, str]) -> None:  # noqa: A002
        """See `base.RemoteStore.set_labels`."""
        work = functools.partial(self._container(id).set_container_metadata, dict(labels))
        try:
            self._call("label a container", work)
        except _Refused as refused:
            if refused.is_gone:
                raise errors.not_found() from None
            raise

    def containers(self, place: str | None) -> base.Listing:
        """See `base.RemoteStore.containers`."""

        def work() -> base.Listing:
            pages: Any = self._service.list_containers(include_metadata=True).by_page(place)
            found = [base.Listed(one.name, dict(one.metadata or {})) for one in next(pages, ())]
            return base.Listing(found, pages.continuation_token or None)

        return self._call("list its containers", work)

    # --- leases ------------------------------------------------------------------------------------------

    def acquire(self, id: str, lease: str, seconds: int) -> None:  # noqa: A002
        """See `base.Lease.acquire`; the service takes acquiring again by the same id as renewing."""
        try:
            self._call(
                "hold a lease", functools.partial(self._lease(id, lease).acquire, lease_duration=seconds)
            )
        except _Refused as refused:
            if refused.is_gone or refused.code == "BlobNotFound":
                raise errors.Problem(
                    errors.NOT_FOUND, "the buffer does not exist, or was not begun"
                ) from None
            if refused.code.startswith("Lease"):
                message = "another writer writes this buffer: it holds the lease of its start marker"
                raise errors.Problem(errors.CONFLICT, message) from None
            raise

    def release(self, id: str, lease: str) -> None:  # noqa: A002
        """See `base.Lease.release`."""
        try:
            self._call("give a lease back", self._lease(id, lease).release)
        except _Refused as refused:
            if (
                not refused.is_gone
                and refused.code != "BlobNotFound"
                and not refused.code.startswith("Lease")
            ):
                raise

    def _lease(self, id: str, lease: str) -> azure.storage.blob.BlobLeaseClient:  # noqa: A002
        # A new object for each request: the library's forgets its own id when it is released.
        return azure.storage.blob.BlobLeaseClient(self._container(id).get_blob_client(names.START), lease)

    # --- access ------------------------------------------------------------------------------------------

    def url(self, id: str, *, writeable: bool, ttl: dt.timedelta) -> str:  # noqa: A002
        """See `base.Store.url`. Without an account key a user delegation key signs; it is fetched first."""
        how: dict[str, Any]
        now = self._clock.now()
        end = now + ttl
        if isinstance(self._credential, identity.SharedKey):
            how = {"account_key": self._credential.key}
        else:
            key = self._keys.get(ttl)
            how, end = {"user_delegation_key": key.key}, min(end, key.end)
        signature = azure.storage.blob.generate_container_sas(
            self._name,
            id,
            permission="rc" if writeable else "r",
            start=now - SKEW,
            expiry=end,
            protocol="https" if self._tls else None,
            **how,
        )
        return f"{self._endpoint}/{id}?{signature}"

    def _fetch_key(self, start: dt.datetime, end: dt.datetime) -> azure.storage.blob.UserDelegationKey:
        return self._call(
            "sign access URLs", functools.partial(self._service.get_user_delegation_key, start, end)
        )

    # --- requests ----------------------------------------------------------------------------------------

    def _container(self, id: str) -> azure.storage.blob.ContainerClient:  # noqa: A002
        return self._service.get_container_client(id)

    def _on_request(self, request: Any) -> None:
        request.http_request.headers["x-ms-date"] = email.utils.format_datetime(
            self._clock.now(), usegmt=True
        )

    def _on_response(self, response: Any) -> None:
        self._clock.learn(response.http_response.headers.get("Date", ""))

    @property
    def _who(self) -> str:
        return f"the storage account {self._name}"

    def _call(self, what: str, work: Callable[[], T]) -> T:
        sent = self._clock.now()
        try:
            return work()
        except azure.core.exceptions.AzureError as error:
            if not self._may_differ_now(error, sent):
                raise self._problem(what, error) from error
        try:
            return work()
        except azure.core.exceptions.AzureError as error:
            raise self._problem(what, error) from error

    def _may_differ_now(self, error: Exception, sent: dt.datetime) -> bool:
        """Whether a refusal was due to what it has corrected: our time, or a token that is not accepted."""
        if not _is_unauthenticated(error):
            return False
        if isinstance(self._credential, identity.Tokens):
            self._credential.forget()
            return True
        return abs(self._clock.now() - sent) > WRONG

    def _problem(self, what: str, error: Exception) -> errors.Problem:
        """What the library raised, as a Problem with the server's reason and the next thing to try."""
        response = getattr(error, "response", None)
        if response is None:
            return self._unanswered(what, error)
        code, status = azurewords.code(error), response.status_code
        message = f"{self._who} does not let us {what}: {azurewords.storage(error)}"
        if _is_unauthenticated(error):
            return _Refused(errors.CONFIG, f"{message}; {identity.advice(self._kind)}", code)
        if code == "KeyBasedAuthenticationNotPermitted":
            hint = "the account allows no keys: configure a credential of another kind"
            return _Refused(errors.CONFIG, f"{message}; {hint}", code)
        if code == "AuthorizationPermissionMismatch":
            hint = "give the daemon's identity the role Storage Blob Data Contributor on the account"
            return _Refused(errors.FORBIDDEN, f"{message}; {hint}", code)
        if status == 403:
            hint = "check the account's network rules and the rights of the daemon's identity"
            return _Refused(errors.FORBIDDEN, f"{message}; {hint}", code)
        if code == "ResourceNotFound":
            hint = "check the account's name and its endpoint"
            return _Refused(errors.CONFIG, f"{message}; {hint}", code)
        if status in {408, 429} or status >= 500:
            return _Refused(errors.UNAVAILABLE, f"{message}; try again later", code)
        return _Refused(errors.IO_ERROR, message, code)

    def _unanswered(self, what: str, error: Exception) -> errors.Problem:
        reason = azurewords.network(error)
        message = f"cannot {what}: {self._who} ({_host(self._endpoint)}) does not answer: {reason}"
        if azurewords.is_untrusted(error):
            hint = "if its authority is your own, name it in tygerd.toml, [transfer] ca_file"
            return errors.Problem(errors.CONFIG, f"{message}; {hint}")
        hint = (
            "check the account's name and the network"
            if azurewords.is_unknown_host(error)
            else "check the network"
        )
        return errors.Problem(errors.UNAVAILABLE, f"{message}; {hint}")


class _Refused(errors.Problem):
    """An answer that is no success. `code` is the service's."""

    def __init__(self, kind: errors.Kind, message: str, code: str) -> None:
        super().__init__(kind, message)
        self.code = code

    @property
    def is_gone(self) -> bool:
        """Whether there is no such container, or not for long."""
        return self.code in {"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}


_ENDED = {"BlobAlreadyExists", "ConditionNotMet", "UnauthorizedBlobOverwrite"}
"""Why a stream that has ended cannot be marked: 409, 412 or 403, as the service likes."""


def _is_unauthenticated(error: Exception) -> bool:
    """Whether the service does not know who we are. Azurite's code for that is Azure's for a firewall."""
    if azurewords.code(error) in {"AuthenticationFailed", "InvalidAuthenticationInfo"}:
        return True
    response = getattr(error, "response", None)
    status = None if response is None else response.status_code
    return status == 401 or (status == 403 and "failed to authenticate" in azurewords.storage(error))


def _credential(credential: identity.SharedKey | identity.Tokens) -> Any:
    if isinstance(credential, identity.SharedKey):
        return azure.core.credentials.AzureNamedKeyCredential(credential.account, credential.key)
    return cast("azure.core.credentials.TokenCredential", credential)


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]
