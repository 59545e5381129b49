"""Credentials for Azure: reads the secrets that tygerd.toml names, and gets tokens of Microsoft Entra ID.

Only the kind that is configured is used: nothing here looks around for others. A secret is read once, when
the daemon starts, is never logged and is in no message. `azure-identity` is imported when the first token is
needed, and asked for nothing before.

Not tested against the real Entra ID, which takes a tenant: a server of the tests plays its part for secrets
and certificates. Workload and managed identities are tested as far as they go outside of Azure.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from tyger import errors
from tygerd import clock
from tygerd.identity import azurewords, kinds

MARGIN = 300
"""Seconds before its end at which a token is replaced: a request may take so long."""

_SECRET_LIMIT = 1 << 20


class SharedKey:
    """An account's key. `endpoint` is the one that a connection string names, if it does."""

    def __init__(self, account: str, key: str, endpoint: str | None = None) -> None:
        self.account = account
        self.key = key
        self.endpoint = endpoint


class Token(NamedTuple):
    """As azure-core has it: the text, and when it ends in seconds since 1970."""

    token: str
    expires_on: int


class TokenSource(Protocol):
    """What azure-identity calls a TokenCredential."""

    def get_token(self, *scopes: str, **options: Any) -> Token:
        """A token that is valid now. Blocking."""
        ...


class Tokens:
    """Tokens for one account, replaced ahead of their end. Safe from any thread; one caller at a time asks.

    How long a token lives is counted on the clock that is never set: the libraries below count on the wall
    clock, and after a jump would hand out an expired one. So each comes from a fresh source, which has kept
    none. `make` makes a source.
    """

    def __init__(
        self, make: Callable[[], TokenSource], *, boottime: Callable[[], float] = clock.boottime
    ) -> None:
        self._make = make
        self._boottime = boottime
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def get_token(self, *scopes: str, **options: Any) -> Token:
        """As `TokenSource`; with an end in the past, so that azure-core keeps none either.

        Raises:
            Problem: CONFIG, with the words of Entra ID; UNAVAILABLE, it cannot be reached.
        """
        with self._lock:
            if not self._token or options.get("claims") or self._boottime() > self._until - MARGIN:
                found = self._make().get_token(*scopes, **options)
                lifetime = found.expires_on - clock.now().timestamp()
                self._token, self._until = found.token, self._boottime() + lifetime
            return Token(self._token, 0)

    def forget(self) -> None:
        """Keep the present token no longer: the server does not accept it."""
        with self._lock:
            self._token = ""


def load(
    credential: kinds.Kind,
    account: str,
    transport: Callable[[str], Any],
    environ: Mapping[str, str] = os.environ,
) -> SharedKey | Tokens:
    """The credential of `account` with its secrets. Blocking: reads files.

    `transport` makes what azure-identity's requests to a URL go through (azure-core's HttpTransport).

    Raises:
        Problem: CONFIG, naming the file or the variable that is missing or wrong.
    """
    match credential:
        case kinds.Key():
            return SharedKey(account, _key(_secret(credential.key_file), credential.key_file))
        case kinds.ConnectionString():
            return _parse(
                _secret(credential.connection_string_file), credential.connection_string_file, account
            )
    arguments = _arguments(credential, environ)
    return Tokens(lambda: _Source(credential, arguments, transport))


def _arguments(credential: kinds.Kind, environ: Mapping[str, str]) -> dict[str, Any]:
    """What azure-identity is told, all but how to reach hosts."""
    match credential:
        case kinds.ClientSecret(tenant_id=tenant, client_id=client):
            secret = _secret(credential.client_secret_file)
            return {"tenant_id": tenant, "client_id": client, "client_secret": secret}
        case kinds.ClientCertificate(tenant_id=tenant, client_id=client):
            data = _read(credential.certificate_file)
            password = None if credential.password_file is None else _secret(credential.password_file)
            return {"tenant_id": tenant, "client_id": client, "certificate_data": data, "password": password}
        case kinds.WorkloadIdentity():
            return {
                "tenant_id": credential.tenant_id or _variable(environ, "AZURE_TENANT_ID", "tenant_id"),
                "client_id": credential.client_id or _variable(environ, "AZURE_CLIENT_ID", "client_id"),
                "token_file_path": credential.token_file
                or _variable(environ, "AZURE_FEDERATED_TOKEN_FILE", "token_file"),
            }
        case kinds.ManagedIdentity() if credential.client_id is not None:
            return {"client_id": credential.client_id}
        case kinds.AzureCli() if credential.tenant_id is not None:
            return {"tenant_id": credential.tenant_id}
    return {}


class _Source:
    """A fresh credential of azure-identity, whose exceptions end here."""

    def __init__(
        self, credential: kinds.Kind, arguments: dict[str, Any], transport: Callable[[str], Any]
    ) -> None:
        self._credential = credential
        self._arguments = arguments
        self._transport = transport

    def get_token(self, *scopes: str, **options: Any) -> Token:
        """See `TokenSource`."""
        from azure.core import exceptions

        try:
            source = self._make()
            try:
                found = source.get_token(*scopes, **options)
            finally:
                source.close()
            return Token(found.token, found.expires_on)
        except exceptions.AzureError as error:
            silent = (exceptions.ServiceRequestError, exceptions.ServiceResponseError)
            if any(isinstance(cause, silent) for cause in azurewords.causes(error)):
                raise self._unreachable(error) from error
            message = f"Microsoft Entra ID gives no token: {azurewords.entra(error)}"
            if azurewords.is_passing(error):
                raise errors.Problem(errors.UNAVAILABLE, f"{message}; try again later") from error
            raise self._refused(message) from error
        except (OSError, ValueError) as error:  # a file that it reads, or what it finds there
            message = f"the credential of kind {self._kind} cannot be used: {azurewords.line(str(error))}"
            raise self._refused(message) from error

    def _make(self) -> Any:
        from azure import identity

        made: Any
        match self._credential:
            case kinds.ClientSecret(authority=authority):
                made = identity.ClientSecretCredential(**self._arguments, **self._network(authority))
            case kinds.ClientCertificate(authority=authority):
                made = identity.CertificateCredential(**self._arguments, **self._network(authority))
            case kinds.WorkloadIdentity(authority=authority):
                made = identity.WorkloadIdentityCredential(**self._arguments, **self._network(authority))
            case kinds.ManagedIdentity():
                # Its server is the machine's own, at a link-local address: no proxy, no certificates.
                made = identity.ManagedIdentityCredential(**self._arguments)
            case _:
                made = identity.AzureCliCredential(**self._arguments)
        return made

    def _network(self, authority: str) -> dict[str, Any]:
        # Discovery would ask the public cloud whether it knows the authority that is configured.
        return {
            "authority": authority,
            "transport": self._transport(authority),
            "retry_total": 0,
            "disable_instance_discovery": True,
        }

    @property
    def _kind(self) -> str:
        return str(self._credential.__struct_config__.tag)

    def _unreachable(self, error: Exception) -> errors.Problem:
        where = getattr(self._credential, "authority", "the machine's identity service")
        kind = errors.CONFIG if azurewords.is_untrusted(error) else errors.UNAVAILABLE
        return errors.Problem(kind, f"cannot reach {where} for a token: {azurewords.network(error)}")

    def _refused(self, message: str) -> errors.Problem:
        return errors.Problem(errors.CONFIG, f"{message}; {advice(self._credential)}")


def advice(credential: kinds.Kind) -> str:
    """What to look at when a credential is refused."""
    match credential:
        case kinds.Key(key_file=path):
            return f"copy the account's key to {path} again, then restart tygerd"
        case kinds.ConnectionString(connection_string_file=path):
            return f"copy the connection string to {path} again, then restart tygerd"
        case kinds.ClientSecret(client_secret_file=path):
            return f"check tenant_id, client_id and the secret in {path}, then restart tygerd"
        case kinds.ClientCertificate(certificate_file=path):
            return f"check tenant_id, client_id and the certificate in {path}, then restart tygerd"
        case kinds.WorkloadIdentity():
            return "check that the application trusts the pod's service account"
        case kinds.ManagedIdentity():
            return "check that this machine has the identity"
    return "run: az login"


# --- secrets ---------------------------------------------------------------------------------------------


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_SECRET_LIMIT + 1)
    except OSError as error:
        raise errors.Problem(
            errors.CONFIG, f"cannot read the credential file {path}: {error.strerror}"
        ) from None
    if not data.strip() or len(data) > _SECRET_LIMIT:
        what = "is too large" if data.strip() else "is empty"
        raise errors.Problem(errors.CONFIG, f"the credential file {path} {what}")
    return data


def _secret(path: str) -> str:
    try:
        text = _read(path).decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not text:
        raise errors.Problem(errors.CONFIG, f"the credential file {path} does not hold one line of text")
    return text


def _key(text: str, path: str) -> str:
    try:
        if base64.b64decode(text, validate=True):
            return text
    except binascii.Error:
        pass
    raise errors.Problem(
        errors.CONFIG,
        f"the credential file {path} does not hold an account key, which is base64; copy the key again",
    )


def _parse(text: str, path: str, account: str) -> SharedKey:
    """A connection string: NAME=VALUE pairs between semicolons, names in any case."""
    pairs = [part.partition("=") for part in text.split(";") if part]
    values = {name.strip().lower(): value for name, _, value in pairs}
    if not {"accountname", "accountkey"} <= values.keys():
        message = (
            f"the credential file {path} does not hold a connection string with AccountName and AccountKey"
        )
        raise errors.Problem(errors.CONFIG, message)
    if values["accountname"] != account:
        raise errors.Problem(
            errors.CONFIG,
            f"the connection string in {path} is of the account {values['accountname']}, not of {account}",
        )
    endpoint = values.get("blobendpoint")
    if endpoint is None and (suffix := values.get("endpointsuffix")) is not None:
        endpoint = f"{values.get('defaultendpointsprotocol', 'https')}://{account}.blob.{suffix}"
    return SharedKey(account, _key(values["accountkey"], path), endpoint and endpoint.rstrip("/"))


def _variable(environ: Mapping[str, str], name: str, key: str) -> str:
    if value := environ.get(name):
        return value
    raise errors.Problem(
        errors.CONFIG, f"workload-identity needs the key {key}, or {name} in the daemon's environment"
    )
