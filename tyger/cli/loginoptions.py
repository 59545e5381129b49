"""What somebody wants to log in with, from flags or from a login file, and which of it fits together.

Contract cli.md 3.1 and 3.2. The rules are one table, told in the words of whoever asks: flags' names or a
file's keys. `tyger-proxy` reads the same files. Nothing here connects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tyger import errors, reach
from tyger.cli import yamlfile

FLAGS: Mapping[str, str] = {
    "service_principal": "--service-principal",
    "certificate_path": "--cert-file",
    "certificate_thumbprint": "--cert-thumbprint",
    "managed_identity": "--identity",
    "managed_identity_client_id": "--identity-client-id",
    "github": "--github",
    "target_federated_identity": "--federated-identity",
    "device_code": "--use-device-code",
    "proxy": "--proxy",
    "tls_ca_certificates": "--tls-certificates",
}
"""How the options are spelt on a command line."""

FIELDS: Mapping[str, str] = {
    "server_url": "serverUrl",
    "service_principal": "servicePrincipal",
    "certificate_path": "certificatePath",
    "certificate_thumbprint": "certificateThumbprint",
    "managed_identity": "managedIdentity",
    "managed_identity_client_id": "managedIdentityClientId",
    "github": "github",
    "target_federated_identity": "targetFederatedIdentity",
    "device_code": "--use-device-code",
    "proxy": "proxy",
    "tls_ca_certificates": "tlsCaCertificates",
    "port": "port",
    "allowed_cidrs": "allowedClientCIDRs",
    "log_path": "logPath",
}
"""And in a file."""

CREDENTIALS = (
    "service_principal",
    "managed_identity",
    "github",
    "device_code",
    "certificate_path",
    "certificate_thumbprint",
    "managed_identity_client_id",
    "target_federated_identity",
)

_KEYS = yamlfile.known(
    {
        "serverUrl": yamlfile.text,
        "serverUri": yamlfile.text,
        "servicePrincipal": yamlfile.text,
        "certificatePath": yamlfile.text,
        "certificateThumbprint": yamlfile.text,
        "managedIdentity": yamlfile.truth,
        "managedIdentityClientId": yamlfile.text,
        "github": yamlfile.truth,
        "targetFederatedIdentity": yamlfile.text,
        "proxy": yamlfile.text,
        "tlsCaCertificates": yamlfile.text,
        "port": yamlfile.integer,
        "allowedClientCIDRs": yamlfile.list_of(yamlfile.text),
        "logPath": yamlfile.text,
    }
)


@dataclass(frozen=True)
class Options:
    """What was asked for. The last three are only tyger-proxy's."""

    server_url: str = ""
    service_principal: str = ""
    certificate_path: str = ""
    certificate_thumbprint: str = ""
    managed_identity: bool = False
    managed_identity_client_id: str = ""
    github: bool = False
    target_federated_identity: str = ""
    device_code: bool = False
    proxy: str = ""
    tls_ca_certificates: str = ""
    port: int | None = None
    allowed_cidrs: list[str] = field(default_factory=list)
    log_path: str = ""

    def given(self, *names: str) -> list[str]:
        """Those of `names` that were asked for."""
        return [name for name in names if getattr(self, name)]


def read(path: str) -> tuple[Options, str]:
    """The options in a login file, `-` being standard input, and where its relative paths begin.

    Raises:
        Problem: it cannot be read, or is no such file.
    """
    kind = "login options file"
    try:
        values = yamlfile.read(path, kind, _KEYS, dash=True)
    except errors.Problem as problem:
        raise errors.Problem(problem.kind, problem.message.replace(f"{kind} ", f"{kind}: ", 1)) from None
    url, older = values.get("serverUrl", ""), values.pop("serverUri", "")
    if url and older and url != older:
        raise errors.Problem(
            errors.INVALID_INPUT,
            f"failed to parse {kind}: conflicting fields: serverUrl and serverUri name two servers",
        )
    values["serverUrl"] = url or older
    directory = os.getcwd() if path == "-" else os.path.dirname(os.path.abspath(path))
    found: dict[str, Any] = {
        name: values[written] for name, written in FIELDS.items() if values.get(written) is not None
    }
    if found.get("certificate_path"):
        found["certificate_path"] = os.path.join(directory, found["certificate_path"])
    return Options(**found), directory


def check(options: Options, names: Mapping[str, str]) -> None:
    """Refuse options that contradict one another, spelt as `names` has them.

    Raises:
        Problem: USAGE for flags, INVALID_INPUT for a file.
    """
    kind = errors.USAGE if names is FLAGS else errors.INVALID_INPUT
    for why in _contradictions(options, names):
        raise errors.Problem(kind, why)


def _contradictions(asked: Options, n: Mapping[str, str]) -> Iterator[str]:
    """What is wrong, in the contract's order of naming it."""
    in_file = n is not FLAGS
    certificates = asked.given("certificate_path", "certificate_thumbprint")
    if in_file and not asked.server_url:
        yield f"{n['server_url']} must be specified"
    if asked.certificate_thumbprint:
        yield f"{n['certificate_thumbprint']} is not supported on this platform"
    for way in asked.given("service_principal", "managed_identity", "github"):
        if asked.device_code:
            yield f"{n['device_code']} cannot be used with {n[way]}"
    for one, other in (
        ("managed_identity", "service_principal"),
        ("github", "service_principal"),
        ("github", "managed_identity"),
    ):
        if asked.given(one, other) == [one, other]:
            yield f"{n[one]} cannot be used with {n[other]}"
    for way in asked.given("managed_identity", "github"):
        if certificates:
            both = f"{n['certificate_path']} and {n['certificate_thumbprint']}"
            yield f"{both} cannot be used with {n[way]}"
    if asked.managed_identity_client_id and not asked.managed_identity:
        yield f"{n['managed_identity_client_id']} can only be used with {n['managed_identity']}"
    if asked.target_federated_identity and not asked.given("managed_identity", "github"):
        yield (
            f"{n['target_federated_identity']} can only be used with {n['managed_identity']} or {n['github']}"
        )
    if asked.github and not asked.target_federated_identity:
        yield (
            f"{n['target_federated_identity']} must be specified when {n['github']} is used"
            if in_file
            else f"{n['target_federated_identity']} must be specified with {n['github']}"
        )
    if asked.service_principal and not certificates:
        yield (
            f"when {n['service_principal']} is set, {n['certificate_path']} must be specified on non-Windows"
            " platforms"
            if in_file
            else f"{n['certificate_path']} must be specified with {n['service_principal']}"
        )
    if certificates and not asked.service_principal:
        yield (
            f"{n['certificate_path']} can only be set when {n['service_principal']} is used"
            if in_file
            else f"{n['certificate_path']} can only be used with {n['service_principal']}"
        )


def refuse_credentials(options: Options, names: Mapping[str, str]) -> None:
    """Refuse to log in with an identity: nobody here can prove one yet.

    Raises:
        Problem: UNAVAILABLE.
    """
    if asked := options.given(*CREDENTIALS):
        raise errors.Problem(
            errors.UNAVAILABLE,
            f"{names[asked[0]]}: this version of tyger cannot log in with Microsoft Entra; the daemon on this"
            " machine knows you by your user ID",
        )


def transport(options: Options, directory: str) -> tuple[str, str]:
    """The values of `proxy` and `tlsCaCertificates` to keep. Raises `Problem` as `reach` does."""
    return reach.proxy(options.proxy), reach.roots(options.tls_ca_certificates, directory)
