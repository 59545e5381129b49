"""Who listens on a TCP port of this host, as the kernel says it; nothing is connected to find out.

A connection that nobody waits for would not only be refused: tried often enough on a port of the ephemeral
range it meets itself, and then holds the port that it is looking for.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterable
from typing import NamedTuple

_TABLES = (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6))
_LISTEN = b"0A"
_INODE = re.compile(r"socket:\[(\d+)\]")


class Listener(NamedTuple):
    """A listening socket: the address it is bound to, and its inode, by which a process holds it."""

    host: str
    inode: int


def listeners(port: int) -> list[Listener]:
    """Every socket of our network namespace that listens on the port; IPv4 before IPv6."""
    found = []
    for path, family in _TABLES:
        try:
            with open(path, "rb") as file:
                lines = file.read().splitlines()[1:]
        except FileNotFoundError:  # a kernel without IPv6
            continue
        wanted = b":%04X" % port
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and fields[1].endswith(wanted):
                found.append(Listener(_host(fields[1].partition(b":")[0], family), int(fields[9])))
    return found


def reachable(host: str) -> tuple[str, ...]:
    """Where to connect to reach what is bound to `host`: the addresses to try, in order."""
    if host == "0.0.0.0":  # noqa: S104 - compared, not bound
        return ("127.0.0.1",)
    return ("127.0.0.1", "::1") if host == "::" else (host,)


def held(inode: int, pids: Iterable[int]) -> bool:
    """Whether one of the processes has this socket open, or may have: of some we may not know."""
    for pid in pids:
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                found = _INODE.fullmatch(_target(f"/proc/{pid}/fd/{name}"))
                if found and int(found[1]) == inode:
                    return True
        except PermissionError:  # a set-uid program: its word against nobody's
            return True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return False


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


def _host(text: bytes, family: socket.AddressFamily) -> str:
    """An address as the table has it: words of 32 bits, each in the order of this machine's bytes."""
    digits = text.decode()
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return socket.inet_ntop(family, packed)
