"""The steps of `tyger login`: which server is meant, whether one answers there, and what is kept of it.

Contract cli.md 3.1. A server is reached by Unix socket only; what is elsewhere is understood and refused, and
then nothing is stored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from tyger import addresses, autostart, client, errors, loginstate, paths, target
from tyger.cli import loginoptions

_KEPT = {
    "audience": "audience",
    "authority": "authority",
    "clientAppUri": "cliAppUri",
    "clientId": "cliAppId",
    "dataPlaneProxy": "dataPlaneProxy",
    "tlsCaCertificates": "tlsCaCertificates",
}
"""What of a server's metadata becomes which key of the login file."""


def log_in(
    options: loginoptions.Options, directory: str, environ: Mapping[str, str], *, socket: str | None
) -> None:
    """Log in to `options.server_url`, `local` included; `socket` is what `--socket` named.

    Raises:
        Problem: why not; the login file is as it was.
    """
    proxy, roots = loginoptions.transport(options, directory)
    if options.server_url == addresses.LOCAL:
        where = target.own(environ, socket=socket)
        address = addresses.of_socket(answering(where))
    else:
        address = addresses.parse(options.server_url, os.getcwd())
        if not address.is_unix:
            raise target.unreachable(address)
        paths.check_socket_path(address.socket)
        if address.socket == paths.locate(environ).socket:
            answering(paths.locate(environ))
    told = metadata(address)
    if told.get("authority"):
        raise errors.Problem(
            errors.UNAVAILABLE,
            f"{address.shown} wants a login with Microsoft Entra, which this version of tyger cannot do",
        )
    values: dict[str, loginstate.Value] = {"proxy": proxy}
    for name, theirs in _KEPT.items():
        if isinstance(value := told.get(theirs), str):
            values[name] = value
    if roots:
        values["tlsCaCertificates"] = roots
    file = loginstate.path(environ)
    loginstate.write(file, {**_kept_of(file, address), **values, "serverUrl": address.url})


def answering(where: paths.Paths) -> str:
    """The socket of this machine's daemon, which is started where it does not run."""
    return where.socket if autostart.answers(where.socket) else autostart.ensure(where)


def _kept_of(file: str, address: addresses.Address) -> dict[str, loginstate.Value]:
    """What another program keeps in the file about the same server. A file that is of no use is replaced."""
    try:
        old = loginstate.read(file) or {}
    except errors.Problem:
        return {}
    if old.get("serverUrl") != address.url:
        return {}
    return {name: value for name, value in old.items() if name not in loginstate.KEYS}


def metadata(address: addresses.Address) -> dict[str, object]:
    """What the server at a Unix socket says about itself.

    Raises:
        Problem: nobody answers, or it is no server of Tyger's.
    """
    try:
        answer = client.fetch(address.socket, "/metadata")
    except errors.Problem as problem:
        raise errors.Problem(problem.kind, f"unable to connect to server: {problem.message}") from None
    told = _object(answer)
    if told is not None:
        return told
    try:
        older = _object(client.fetch(address.socket, "/v1/metadata"))
    except errors.Problem:
        older = None
    if older is not None:
        raise errors.Problem(
            errors.PROTOCOL,
            "the server hosts an older version of tyger that is not compatibile with this client",
        )
    said = "".join(
        each if each.isprintable() else " " for each in answer.body[:200].decode("utf-8", "replace")
    )
    raise errors.Problem(
        errors.PROTOCOL,
        f"the server URL does not appear to point to a valid tyger server: {answer.status}; {said}",
    )


def _object(answer: client.Answer) -> dict[str, object] | None:
    """The JSON object that a good answer has."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and 200 <= answer.status < 300 else None
