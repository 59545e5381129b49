"""The credentials for a registry, from where `docker login` and `podman login` keep them. Blocks.

The engine asks its client for them, because it may serve several users. They are read anew for each pull,
shown to the engine of this host only, and never kept.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tyger import errors
from tygerd.engines.container import registry

HELPER_SECONDS = 30.0
_DOCKER_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")


class Credentials(NamedTuple):
    """`header` is the value of X-Registry-Auth; `source` says where they are from."""

    header: str
    source: str


def find(reference: str, configured: str | None, environ: Mapping[str, str]) -> Credentials | None:
    """The credentials for an image's registry; None where there are none: many registries ask for none.

    Raises:
        Problem: CONFIG, the file that is configured cannot be read, or a credential helper fails.
    """
    for path in _files(configured, environ):
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
        except (OSError, ValueError) as error:
            if path == configured:
                reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
                raise errors.Problem(errors.CONFIG, f"cannot read auth_file {path}: {reason}") from error
            continue
        if isinstance(content, dict) and (found := _in_file(content, reference)) is not None:
            host = registry.host(reference)
            # In base64url with its padding, as both engines decode it.
            header = base64.urlsafe_b64encode(json.dumps({**found, "serveraddress": host}).encode())
            return Credentials(header.decode(), path)
    return None


def _files(configured: str | None, environ: Mapping[str, str]) -> Iterator[str]:
    if configured or (configured := environ.get("REGISTRY_AUTH_FILE")):
        yield configured
        return
    home = environ.get("HOME") or "/"
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield f"{runtime}/containers/auth.json"
    elif os.getuid() == 0:
        yield "/run/containers/0/auth.json"
    yield f"{environ.get('XDG_CONFIG_HOME') or f'{home}/.config'}/containers/auth.json"
    yield f"{environ.get('DOCKER_CONFIG') or f'{home}/.docker'}/config.json"


def _in_file(content: Mapping[str, Any], reference: str) -> dict[str, str] | None:
    """What one file has for an image: that of its namespace before that of its registry."""
    auths, helpers = content.get("auths") or {}, content.get("credHelpers") or {}
    for key in _keys(reference):
        if helper := helpers.get(key):
            return _ask(str(helper), key)
        entry = auths.get(key)
        if entry is None:
            continue
        if token := entry.get("identitytoken"):
            return {"identitytoken": str(token)}
        if text := entry.get("auth"):
            try:
                user, colon, password = base64.b64decode(text).decode().partition(":")
            except ValueError:
                colon = ""
            if colon:
                return {"username": user, "password": password.rstrip("\0")}
    if store := content.get("credsStore"):
        for key in _keys(reference):
            if (found := _ask(str(store), key)) is not None:
                return found
    return None


def _keys(reference: str) -> list[str]:
    """What the credentials of an image may be filed under, the most particular first."""
    host = registry.host(reference)
    name = reference.partition("@")[0]
    name = name if name.startswith(f"{host}/") else f"{host}/{name}"
    parts = name.split("/")
    names = ["/".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]
    if host == registry.DOCKER_HUB:
        return [*names, *_DOCKER_HUB_KEYS]
    return [*names, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/"]


def _ask(helper: str, key: str) -> dict[str, str] | None:
    """What a credential helper knows: `docker-credential-NAME get` takes the key and prints JSON."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", helper):
        raise errors.Problem(errors.CONFIG, f"'{helper}' is not the name of a credential helper")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=key.encode(),
            capture_output=True,
            timeout=HELPER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not answer"
        raise errors.Problem(errors.CONFIG, f"cannot ask {program} for credentials: {reason}") from error
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        return None  # it has none, and says so in words of its own
    return {"identitytoken": secret} if user == "<token>" else {"username": user, "password": secret}
