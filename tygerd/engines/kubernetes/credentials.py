"""Who we are to a cluster: what a kubeconfig's user, or a pod's account, stands for at the moment.

As client-go does it: a user's own token, password or certificate counts before a plugin is asked. A plugin
speaks client.authentication.k8s.io/v1 or v1beta1
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins); it has
no terminal here. Secrets are in no message and no log.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from tyger import errors
from tygerd import clock
from tygerd.engines.kubernetes import kubeconfig, refusals
from tygerd.identity import azure

TOKEN_FILE_SECONDS = 60.0
"""After so long a token's file is read again, as client-go does: the kubelet renews a pod's well ahead."""

PLUGIN_SECONDS = 60.0
"""A plugin that takes longer waits for somebody who is not there."""

MARGIN = 60.0
"""Seconds before its end, or a tenth of its life where that is less, at which a credential is replaced."""

AKS_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
"""The application that every AKS cluster with Entra ID stands for, `Azure Kubernetes Service AAD Server`
(https://azure.github.io/kubelogin/concepts/aks.html).
"""

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token of RFC 9110

VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")

_CLUSTER_INFO = (
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "proxy-url",
    "disable-compression",
)
"""What a plugin is told of a cluster as the kubeconfig has it."""


class Credential(NamedTuple):
    """What goes with a request: headers, some of which may be repeated, and a client certificate in PEM."""

    headers: tuple[tuple[str, str], ...] = ()
    certificate: bytes | None = None
    key: bytes | None = None


class Credentials:
    """The credentials of one target. Safe from any thread: one at a time looks, the others wait for it."""

    def __init__(
        self,
        target: kubeconfig.Target,
        environ: Mapping[str, str],
        *,
        boottime: Callable[[], float] = clock.boottime,
        plugin_seconds: float = PLUGIN_SECONDS,
    ) -> None:
        self._target = target
        self._environ = environ
        self._boottime = boottime
        self._plugin_seconds = plugin_seconds
        self._lock = threading.Lock()
        self._found: Credential | None = None
        self._until = float("inf")
        """On the clock that is never set."""

    def get(self) -> Credential:
        """What counts now. Blocking: reads files, may run a plugin.

        Raises:
            Problem: CONFIG, saying what is missing or what the plugin said.
        """
        with self._lock:
            if self._found is None or self._boottime() >= self._until:
                self._found = None
                self._found, lifetime = self._find()
                self._until = self._boottime() + lifetime
            return self._found

    def _find(self) -> tuple[Credential, float]:
        """A credential, and for how many seconds it counts."""
        user = self._target.user
        _check(user, self._target.origin)
        if not self._target.server.startswith("https://"):
            return Credential(), float("inf")  # nobody on the way is to see them, as with kubectl
        credential, lifetime = self._own(user)
        if not credential.headers and credential.certificate is None and user.get("exec"):
            credential, lifetime = self._ask_plugin(user["exec"])
        headers = (*credential.headers, *_impersonation(user, self._target.origin))
        for name, value in headers:
            if not (_HEADER.fullmatch(name) and value.isascii() and value.isprintable()):
                shown = name if name.isprintable() else repr(name)
                _fail(
                    f"{self._target.origin} stands for what no header can say: {shown} has other characters"
                )
        return credential._replace(headers=headers), lifetime

    def _own(self, user: kubeconfig.Table) -> tuple[Credential, float]:
        """What the user's entry has by itself."""
        what = f"the client certificate in {self._target.origin}"
        directory = self._target.user_directory
        certificate = kubeconfig.data(user, "client-certificate", directory, what)
        key = kubeconfig.data(user, "client-key", directory, "the client's key")
        if (certificate is None) != (key is None):
            _fail(f"{self._target.origin} has a client's certificate without its key, or a key without it")
        headers, lifetime = [], float("inf")
        token = str(user.get("token") or "")
        if name := user.get("tokenFile"):
            token, lifetime = self._read_token(self._target.path(str(name)), token), TOKEN_FILE_SECONDS
        if token:
            headers.append(("Authorization", f"Bearer {token}"))
        elif user.get("username"):
            pair = f"{user['username']}:{user.get('password') or ''}"
            headers.append(("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
        return Credential(tuple(headers), certificate, key), lifetime

    @staticmethod
    def _read_token(path: str, otherwise: str) -> str:
        try:
            with open(path, encoding="utf-8") as file:
                token = file.read().strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8, or has no such name"
            if otherwise:
                return otherwise
            _fail(f"cannot read the token in {path}: {reason}")
        if not token:
            _fail(f"the token's file {path} is empty")
        return token

    # --- plugins -----------------------------------------------------------------------------------------

    def _ask_plugin(self, plugin: Any) -> tuple[Credential, float]:
        if not isinstance(plugin, Mapping) or not plugin.get("command"):
            _fail(f"{self._target.origin} has an exec plugin without a command")
        name = str(plugin["command"])
        version = plugin.get("apiVersion")
        if version not in VERSIONS:
            _fail(f"the exec plugin {name} is for {version}; this is for {' and '.join(VERSIONS)}")
        if plugin.get("interactiveMode") == "Always":
            _fail(f"the exec plugin {name} needs a terminal, which a daemon does not have")
        answer = self._run_plugin(name, plugin, str(version))
        return _read_answer(name, answer, str(version))

    def _run_plugin(self, name: str, plugin: Mapping[str, Any], version: str) -> str:
        spec: dict[str, Any] = {"interactive": False}
        if plugin.get("provideClusterInfo"):
            spec["cluster"] = self._cluster_info()
        info = {"kind": "ExecCredential", "apiVersion": version, "spec": spec}
        environ = {**self._environ, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        for item in kubeconfig.dicts(plugin, "env", self._target.origin):
            environ[str(item.get("name") or "")] = str(item.get("value") or "")
        program = self._target.path(name) if os.sep in name else shutil.which(name, path=environ.get("PATH"))
        if program is None:
            hint = refusals.one_line(str(plugin.get("installHint") or ""))
            _fail(f"the exec plugin {name} is not installed{f': {hint}' if hint else ''}")
        arguments = [program, *kubeconfig.texts(plugin, "args", self._target.origin)]
        try:
            done = subprocess.run(
                arguments,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._plugin_seconds,
                check=False,
            )
        except (OSError, ValueError) as error:  # a name that no variable can have, say
            why = getattr(error, "strerror", None) or error
            _fail(f"cannot start the exec plugin {program}: {why}")
        except subprocess.TimeoutExpired:
            _fail(f"the exec plugin {name} did not end within {self._plugin_seconds:g} seconds")
        if done.returncode:
            words = refusals.one_line(done.stderr.decode(errors="replace")) or "it said nothing"
            _fail(f"the exec plugin {name} failed with exit code {done.returncode}: {words}")
        return done.stdout.decode(errors="replace")

    def _cluster_info(self) -> dict[str, Any]:
        cluster = self._target.cluster
        info = {key: cluster[key] for key in _CLUSTER_INFO if cluster.get(key)}
        info["server"] = self._target.server
        if self._target.authority is not None:
            info["certificate-authority-data"] = base64.b64encode(self._target.authority).decode()
        for extension in kubeconfig.dicts(cluster, "extensions", self._target.origin):
            if extension.get("name") == "client.authentication.k8s.io/exec":
                info["config"] = extension.get("extension")
        return info


class EntraTokens:
    """Who we are by Microsoft Entra ID, whoever the kubeconfig's user is. Safe from any thread."""

    def __init__(self, tokens: azure.SharedKey | azure.Tokens, target: kubeconfig.Target) -> None:
        self._tokens = tokens
        self._target = target

    def get(self) -> Credential:
        """What counts now. Blocking: may ask Entra ID.

        Raises:
            Problem: CONFIG, with the words of Entra ID; UNAVAILABLE, it cannot be reached.
        """
        if not self._target.server.startswith("https://") or isinstance(self._tokens, azure.SharedKey):
            _fail(f"a token of Microsoft Entra ID is for a server of https, not for {self._target.server}")
        return Credential((("Authorization", f"Bearer {self._tokens.get_token(AKS_SCOPE).token}"),))


def _read_answer(name: str, answer: str, version: str) -> tuple[Credential, float]:
    """What a plugin printed, and for how many seconds it counts."""
    try:
        said = json.loads(answer)
        status = said["status"]
        token, certificate, key = (
            str(status.get(part) or "") for part in ("token", "clientCertificateData", "clientKeyData")
        )
        said_version, expiry = said["apiVersion"], status.get("expirationTimestamp")
        end = dt.datetime.fromisoformat(expiry) if expiry else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        _fail(f"the exec plugin {name} did not print an ExecCredential with a status")
    if said_version != version:
        _fail(f"the exec plugin {name} answers with {said_version}, but was asked for {version}")
    if not token and not (certificate and key):
        _fail(f"the exec plugin {name} gave neither a token nor a certificate with its key")
    lifetime = float("inf")
    if end is not None:
        end = end if end.tzinfo else end.replace(tzinfo=dt.UTC)
        lifetime = (end - clock.now()).total_seconds()
        lifetime -= min(MARGIN, max(lifetime, 0) / 10)
    headers = (("Authorization", f"Bearer {token}"),) if token else ()
    pair = (certificate.encode(), key.encode()) if certificate and key else (None, None)
    return Credential(headers, *pair), lifetime


def _impersonation(user: kubeconfig.Table, origin: str) -> tuple[tuple[str, str], ...]:
    headers = [("Impersonate-User", str(user["as"]))] if user.get("as") else []
    headers += [("Impersonate-Uid", str(user["as-uid"]))] if user.get("as-uid") else []
    headers += [("Impersonate-Group", group) for group in kubeconfig.texts(user, "as-groups", origin)]
    extra = user.get("as-user-extra") or {}
    if not isinstance(extra, Mapping):
        _fail(f"{origin} is no kubeconfig: as-user-extra is not a table")
    for key in extra:
        headers += [(f"Impersonate-Extra-{key}", value) for value in kubeconfig.texts(extra, key, origin)]
    return tuple(headers)


def _check(user: kubeconfig.Table, origin: str) -> None:
    """Refuse what kubectl refuses, and what only kubectl's built-in providers could do."""
    if provider := user.get("auth-provider"):
        name = provider.get("name") if isinstance(provider, Mapping) else provider
        _fail(
            f"{origin} has a user of the auth-provider {name}, which is not supported; use an exec plugin,"
            " such as kubelogin"
        )
    if (user.get("token") or user.get("tokenFile")) and user.get("username"):
        _fail(f"{origin} has a user with a token and a password; only one is allowed")


def _fail(message: str) -> NoReturn:
    raise errors.Problem(errors.CONFIG, message)
