"""Where a cluster is and who we are, by kubectl's rules: kubeconfigs, which are joined, or a pod's account.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ has the rules. Of
several files the first that says something counts, and a path in a file is relative to the file's directory.
Reads files, and asks nobody; whom a user of a kubeconfig stands for is found out in `credentials`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlsplit

import yaml

from tyger import errors
from tygerd import enginesettings, tables

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod finds its token, its namespace and the cluster's authority."""

Table = Mapping[str, Any]

_TLS = ("certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify")
_CLIENT = ("client-certificate", "client-certificate-data")
"""Where a kubeconfig has one of these, a server without a scheme speaks https; else http, as for kubectl."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A cluster as somebody. Paths are absolute; `authority` is PEM, None: those that this host trusts.

    `origin` says for messages where this was read; `context` is empty in a pod. `user` is the kubeconfig's.
    """

    server: str
    namespace: str
    origin: str
    context: str = ""
    authority: bytes | None = None
    insecure: bool = False
    tls_server_name: str | None = None
    proxy: str | None = None
    user: Table = field(default_factory=dict)
    user_directory: str = ""
    cluster: Table = field(default_factory=dict)
    """As the kubeconfig has it, for a plugin that asks for it."""

    def path(self, name: str) -> str:
        """A path that the user's entry names."""
        return os.path.join(self.user_directory, name)


@dataclass(frozen=True)
class _Entry:
    """What a file says about a cluster, a user or a context."""

    said: Table
    file: str

    @property
    def directory(self) -> str:
        return os.path.dirname(os.path.abspath(self.file))


def load(
    settings: enginesettings.Kubernetes,
    environ: Mapping[str, str],
    *,
    service_account: str = SERVICE_ACCOUNT,
) -> Target:
    """Where to go. Blocking: reads files.

    Raises:
        Problem: CONFIG, naming the file and what is wrong with it.
    """
    files, required = _files(settings, environ)
    present = [file for file in files if required or os.path.exists(file)]
    if not present:
        if settings.context is None and "KUBERNETES_SERVICE_HOST" in environ:
            return _pod(settings, environ, service_account)
        where = " or ".join(files)
        _fail(
            f"there is no kubeconfig: {where} is not there, and this is no pod of a cluster; name one as"
            " `kubeconfig` in [engine.kubernetes]"
        )
    joined = _Joined(present)
    return joined.target(settings, environ, service_account)


def _files(settings: enginesettings.Kubernetes, environ: Mapping[str, str]) -> tuple[list[str], bool]:
    """The files that count, the most important first, and whether each has to be there."""
    home = environ.get("HOME") or os.path.expanduser("~")
    if settings.kubeconfig is not None:
        return [_expand(settings.kubeconfig, home)], True
    if named := [name for name in environ.get("KUBECONFIG", "").split(os.pathsep) if name]:
        return list(dict.fromkeys(named)), False
    return [os.path.join(home, ".kube", "config")], False


def _expand(path: str, home: str) -> str:
    return os.path.join(home, path[2:]) if path.startswith("~/") else path


class _Joined:
    """What several files say together."""

    def __init__(self, files: list[str]) -> None:
        self.origin = ", ".join(files)
        self.current = ""
        self.entries: dict[str, dict[str, _Entry]] = {"clusters": {}, "users": {}, "contexts": {}}
        for file in files:
            said = _read(file)
            self.current = self.current or _text(said, "current-context", file) or ""
            for section, found in self.entries.items():
                for name, value in _named(said, section, file):
                    found.setdefault(name, _Entry(value, file))

    def target(
        self, settings: enginesettings.Kubernetes, environ: Mapping[str, str], service_account: str
    ) -> Target:
        """The context that is chosen."""
        name = settings.context or self.current
        if not name:
            _fail(
                f"{self.origin} has no current-context; name one as `context` in [engine.kubernetes]"
                f"{self._choices('contexts')}"
            )
        context = self._find("contexts", name, "the context")
        cluster = self._find(
            "clusters",
            _text(context.said, "cluster", context.file) or "",
            f"for the context {name} the cluster",
        )
        user_name = _text(context.said, "user", context.file)
        user = (
            self._find("users", user_name, f"for the context {name} the user")
            if user_name
            else _Entry({}, context.file)
        )
        server = _text(cluster.said, "server", cluster.file)
        if not server:
            _fail(f"{cluster.file} does not say at which `server` the cluster of the context {name} is")
        if "://" not in server:
            encrypts = any(key in cluster.said for key in _TLS) or any(key in user.said for key in _CLIENT)
            server = f"{'https' if encrypts else 'http'}://{server}"
        if not server.startswith(("https://", "http://")):
            _fail(f"{cluster.file} has a `server` that is neither https nor http: {server}")
        if not _is_url(server):
            _fail(f"{cluster.file} has a `server` that is no URL: {server!r}")
        if urlsplit(server).username is not None:
            _fail(
                f"{cluster.file} has a `server` with a user in its URL: who we are is a user of its own there"
            )
        tls_server_name = _text(cluster.said, "tls-server-name", cluster.file)
        if tls_server_name is not None and not tables.is_host(tls_server_name):
            _fail(f"{cluster.file} has a `tls-server-name` that nobody can have: {tls_server_name!r}")
        proxy = _text(cluster.said, "proxy-url", cluster.file)
        check_proxy(proxy, f"{cluster.file} has a `proxy-url`")
        namespace = (
            settings.namespace
            or _text(context.said, "namespace", context.file)
            or _pod_namespace(environ, service_account)
            or "default"
        )
        return Target(
            server=server.rstrip("/"),
            namespace=namespace,
            origin=self.origin,
            context=name,
            authority=data(
                cluster.said, "certificate-authority", cluster.directory, f"the authority in {cluster.file}"
            ),
            insecure=bool(cluster.said.get("insecure-skip-tls-verify")),
            tls_server_name=tls_server_name,
            proxy=proxy,
            user=user.said,
            user_directory=user.directory,
            cluster=cluster.said,
        )

    def _find(self, section: str, name: str, what: str) -> _Entry:
        entry = self.entries[section].get(name)
        if entry is None:
            _fail(f"{self.origin} does not have {what} {name!r}{self._choices(section)}")
        return entry

    def _choices(self, section: str) -> str:
        names = ", ".join(self.entries[section])
        return f"; there are {names}" if names else f"; it has no {section} at all"


def _read(file: str) -> Table:
    try:
        with open(file, encoding="utf-8") as opened:
            said = yaml.safe_load(opened)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        _fail(f"cannot read the kubeconfig {file}: {reason}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that there never was, say
        _fail(f"the kubeconfig {file} is not YAML: {' '.join(str(error).split())}")
    if said is None:
        return {}  # an empty file is one that says nothing, as for kubectl
    if not isinstance(said, dict):
        _fail(f"{file} is no kubeconfig: it is not a table")
    return said


def _named(said: Table, section: str, file: str) -> list[tuple[str, Table]]:
    """The entries of `clusters`, `users` or `contexts`; each has its content under the singular."""
    entries = said.get(section) or []
    singular = section.removesuffix("s")
    if not isinstance(entries, list):
        _fail(f"{file} is no kubeconfig: {section} is not a list")
    found: list[tuple[str, Table]] = []
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        content = entry.get(singular) if isinstance(entry, dict) else None
        if name is None or not isinstance(content, dict | None):
            _fail(f"{file} is no kubeconfig: an entry of {section} has no name, or {singular} is not a table")
        if str(name) in (earlier for earlier, _ in found):
            _fail(f"{file} is no kubeconfig: two {section} have the name {name}")
        found.append((str(name), content or {}))
    return found


def _text(said: Table, key: str, file: str) -> str | None:
    value = said.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        _fail(f"{file} is no kubeconfig: {key} is not text")
    return value


def data(said: Table, key: str, directory: str, what: str) -> bytes | None:
    """What `key` names as a file, or `key`-data holds in base64, which counts first.

    Raises:
        Problem: CONFIG; `what` says what it was to be.
    """
    if encoded := said.get(f"{key}-data"):
        try:
            return base64.b64decode(str(encoded), validate=True)
        except ValueError:
            _fail(f"cannot read {what}: {key}-data is not base64")
    if not (name := said.get(key)):
        return None
    path = os.path.join(directory, str(name))
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        _fail(f"cannot read {what}, {path}: {getattr(error, 'strerror', None) or error}")


def texts(said: Table, key: str, origin: str) -> list[str]:
    """A list of texts; none where nothing is said. Raises Problem: CONFIG, it is something else."""
    value = said.get(key) or []
    if not isinstance(value, list) or any(isinstance(each, list | dict) for each in value):
        _fail(f"{origin} is no kubeconfig: {key} is not a list of texts")
    return [str(each) for each in value]


def dicts(said: Table, key: str, origin: str) -> list[Table]:
    """The same of tables."""
    value = said.get(key) or []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        _fail(f"{origin} is no kubeconfig: {key} is not a list of tables")
    return value


def check_proxy(url: str | None, who: str) -> None:
    """Refuse what is no proxy that we can use; its URL, which may have a password in it, is not said.

    Raises:
        Problem: CONFIG; `who` has it.
    """
    if url is not None and not _is_url(url):
        _fail(f"{who} that is not the URL of an http or https proxy")


def _is_url(url: str) -> bool:
    """Whether it leads to a host, and can stand in a request as it is."""
    return url.isascii() and tables.is_http_url(url)


def _pod(settings: enginesettings.Kubernetes, environ: Mapping[str, str], service_account: str) -> Target:
    """The cluster that this process is a pod of, as the pod's service account."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    if not _is_url(server):
        _fail(f"KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT name no API server: {server!r}")
    return Target(
        server=server,
        namespace=settings.namespace or _pod_namespace(environ, service_account) or "default",
        origin=f"the service account in {service_account}",
        authority=data(
            {"certificate-authority": "ca.crt"}, "certificate-authority", service_account, "the authority"
        ),
        user={"tokenFile": "token"},
        user_directory=service_account,
    )


def _pod_namespace(environ: Mapping[str, str], service_account: str) -> str | None:
    if "KUBERNETES_SERVICE_HOST" not in environ:
        return None
    try:
        with open(os.path.join(service_account, "namespace"), encoding="utf-8") as file:
            return file.read().strip() or None
    except OSError:
        return None  # a pod without an account


def _fail(message: str) -> NoReturn:
    raise errors.Problem(errors.CONFIG, message)
