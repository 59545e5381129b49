"""The two protocols of systemd that the daemon speaks: readiness (sd_notify) and passed sockets (LISTEN_FDS).

Both are a few lines, so no library. Without systemd nothing here does anything.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

FIRST_PASSED = 3
"""SD_LISTEN_FDS_START: passed descriptors begin here."""


def notify(state: str, environ: MutableMapping[str, str]) -> None:
    """Tell the service manager, if there is one, for example `READY=1`. Failures do not matter to us."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), address)


def passed_socket(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The one listening socket that the service manager passed, None without.

    The variables are removed: they are for this process, not for its children.

    Raises:
        ValueError: it passed several, or what it passed is not a listening Unix stream socket.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return None
    if count != "1":
        raise ValueError(f"the service manager passed {count} sockets, not 1")
    os.set_inheritable(FIRST_PASSED, False)
    sock = socket.socket(fileno=FIRST_PASSED)
    if (
        sock.family != socket.AF_UNIX
        or sock.type != socket.SOCK_STREAM
        or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        sock.detach()
        raise ValueError("the service manager passed something else than a listening Unix stream socket")
    return sock
