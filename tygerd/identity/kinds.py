"""[store.azure.credential]: the kinds of credentials, what each needs, and nothing secret.

A secret stands in a file of its own and is named here; `identity.azure` reads it. The kind that is configured
is used, and no other is ever tried.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from tygerd import tables

Help = tables.Help

AUTHORITY = "https://login.microsoftonline.com"

_GUID_OR_DOMAIN = re.compile(r"[A-Za-z0-9.-]+")  # what azure-identity takes for a tenant

_TENANT = "Tenant of Microsoft Entra ID, by its ID or a domain."
_CLIENT = "Application (client) ID of the service principal."
_AUTHORITY = "URL of Microsoft Entra ID, in clouds that have one of their own."


class Kind(tables.Table, frozen=True, tag_field="kind"):
    """Base of all kinds."""

    @property
    def takes_tokens(self) -> bool:
        """Whether it gets tokens of Microsoft Entra ID, which go over https only."""
        return True


class Key(Kind, frozen=True, tag="key"):
    """One of the storage account's two access keys."""

    key_file: Annotated[str, Help(description="File that holds the key, base64 as Azure shows it.")]

    @property
    def takes_tokens(self) -> bool:
        """See `Kind`."""
        return False


class ConnectionString(Kind, frozen=True, tag="connection-string"):
    """A connection string with an access key, as Azure shows it."""

    connection_string_file: Annotated[
        str, Help(description="File that holds it. Its AccountName must be the account's `name`.")
    ]

    @property
    def takes_tokens(self) -> bool:
        """See `Kind`."""
        return False


class ClientSecret(Kind, frozen=True, tag="client-secret"):
    """A service principal with a client secret."""

    tenant_id: Annotated[str, Help(description=_TENANT)]
    client_id: Annotated[str, Help(description=_CLIENT)]
    client_secret_file: Annotated[
        str, Help(description="File that holds the secret's value (not the ID of the secret).")
    ]
    authority: Annotated[str, Help(description=_AUTHORITY)] = AUTHORITY

    def __post_init__(self) -> None:
        _check(self.tenant_id, self.client_id, self.authority)


class ClientCertificate(Kind, frozen=True, tag="client-certificate"):
    """A service principal with a certificate."""

    tenant_id: Annotated[str, Help(description=_TENANT)]
    client_id: Annotated[str, Help(description=_CLIENT)]
    certificate_file: Annotated[
        str, Help(description="File that holds the certificate and its private key, PEM or PKCS12.")
    ]
    password_file: Annotated[
        str | None, Help(description="File that holds the private key's password, where it has one.")
    ] = None
    authority: Annotated[str, Help(description=_AUTHORITY)] = AUTHORITY

    def __post_init__(self) -> None:
        _check(self.tenant_id, self.client_id, self.authority)


class WorkloadIdentity(Kind, frozen=True, tag="workload-identity"):
    """A service principal that trusts a token which Kubernetes mounts."""

    tenant_id: Annotated[str | None, Help(description="Unset: AZURE_TENANT_ID of the environment.")] = None
    client_id: Annotated[str | None, Help(description="Unset: AZURE_CLIENT_ID of the environment.")] = None
    token_file: Annotated[
        str | None, Help(description="Unset: AZURE_FEDERATED_TOKEN_FILE of the environment.")
    ] = None
    authority: Annotated[str, Help(description=_AUTHORITY)] = AUTHORITY

    def __post_init__(self) -> None:
        _check(self.tenant_id, self.client_id, self.authority)


class ManagedIdentity(Kind, frozen=True, tag="managed-identity"):
    """The identity of the Azure machine on which the daemon runs."""

    client_id: Annotated[
        str | None, Help(description="Client ID of a user-assigned identity. Unset: the system-assigned one.")
    ] = None


class AzureCli(Kind, frozen=True, tag="azure-cli"):
    """Whoever is logged in with `az login`: for a daemon in user mode."""

    tenant_id: Annotated[
        str | None, Help(description="Tenant to ask for. Unset: the one that `az` uses.")
    ] = None

    def __post_init__(self) -> None:
        _check(self.tenant_id, None, AUTHORITY)


Principal = ClientSecret | ClientCertificate | WorkloadIdentity | ManagedIdentity | AzureCli
"""Those that Microsoft Entra ID knows."""

Credential = Key | ConnectionString | Principal


def _check(tenant_id: str | None, client_id: str | None, authority: str) -> None:
    if tenant_id is not None and not _GUID_OR_DOMAIN.fullmatch(tenant_id):
        raise ValueError(f"tenant_id must be a tenant's ID or domain, not {tenant_id!r}")
    if client_id == "":
        raise ValueError("client_id must not be empty")
    parts = urlsplit(authority)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError(f"authority must be an https URL, not {authority!r}")
