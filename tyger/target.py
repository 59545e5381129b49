"""Which daemon a command speaks to: what the user named, where they logged in, or this machine's own.

The order: `--socket`, TYGER_SOCKET, the login file, TYGER_SOCKET_PATH, the system's socket where there is
one, the user's own. Nobody has to log in here, but who did gets what they chose, also when that cannot be
reached; who logged out is told so, because their data would end up where they do not expect it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from tyger import addresses, errors, loginstate, paths

LOGGED_OUT = "run 'tyger login' to connect to a Tyger server"
"""The contract's words (cli.md 1.8)."""

HERE = "tyger login --local"
"""What chooses this machine's daemon."""


class Target(NamedTuple):
    """Where a command goes: the login that decided it, None where none did."""

    address: addresses.Address
    login: Mapping[str, loginstate.Value] | None = None


def find(environ: Mapping[str, str], *, socket: str | None = None) -> Target:
    """The address in force; it may be one that cannot be reached.

    Raises:
        Problem: UNAVAILABLE, the user has logged out; CONFIG, the login file or a path is of no use.
    """
    if not socket and not environ.get("TYGER_SOCKET"):
        file = loginstate.path(environ)
        login = loginstate.read(file)
        if login is not None:
            return Target(_chosen(str(login["serverUrl"]), file), login)
    return Target(addresses.of_socket(own(environ, socket=socket).socket))


def locate(environ: Mapping[str, str], *, socket: str | None = None) -> paths.Paths:
    """The paths of the daemon in force.

    Raises:
        Problem: as `find`, or UNAVAILABLE where the user logged in to what is not on this machine.
    """
    if socket or environ.get("TYGER_SOCKET"):
        return own(environ, socket=socket)
    target = find(environ)
    if target.login is None:
        return own(environ)
    if not target.address.is_unix:
        raise unreachable(target.address)
    chosen = target.address.socket
    if chosen == paths.SYSTEM_SOCKET:
        return paths.locate(environ, system=True)
    try:
        mine = paths.locate(environ, system=False)
    except errors.Problem:  # the own daemon has no place here, and it is not the one that was chosen
        return paths.locate(environ, socket=chosen)._replace(foreign=True)
    if chosen == mine.socket:
        return mine
    # Where the user's own daemon was last is theirs too: a session and cron look for it in different places.
    is_mine = paths.recorded_socket(mine.state) == chosen
    return paths.locate(environ, system=False, socket=chosen)._replace(foreign=not is_mine)


def own(environ: Mapping[str, str], *, socket: str | None = None) -> paths.Paths:
    """The paths of this machine's daemon, whoever is logged in where. Raises as `paths.locate`."""
    named = environ.get("TYGER_SOCKET_PATH")
    if named and not socket and not environ.get("TYGER_SOCKET"):
        return paths.locate(environ, socket=named)._replace(foreign=True)
    return paths.locate(environ, socket=socket)


def unreachable(address: addresses.Address) -> errors.Problem:
    """The refusal of an address that is understood."""
    return errors.Problem(
        errors.UNAVAILABLE,
        f"this version of tyger cannot reach {address.shown}: it speaks only to daemons on this machine,"
        f" by Unix socket; {HERE} chooses this machine's",
    )


def _chosen(url: str, file: str) -> addresses.Address:
    if not url:
        raise errors.Problem(
            errors.UNAVAILABLE,
            f"{LOGGED_OUT}; you have logged out, and `{HERE}` chooses this machine's daemon",
        )
    try:
        return addresses.parse(url, os.getcwd())
    except errors.Problem as problem:
        raise errors.Problem(
            errors.CONFIG, f"cannot use the login file {file}: serverUrl: {problem.message}"
        ) from None
