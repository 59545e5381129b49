"""Accepting connections: what goes wrong with one of them is no reason to accept no other."""

from __future__ import annotations

import errno
import logging
from typing import Any

import trio

OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
RESOURCE_PAUSE = 0.1
"""Seconds without accepting after the kernel had no descriptor for us."""

_USELESS = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}

logger = logging.getLogger(__name__)


async def accept(listening: trio.socket.SocketType) -> tuple[trio.socket.SocketType, Any]:
    """The next connection, and who it is from.

    Raises:
        OSError: nothing will ever come from this socket.
    """
    while True:
        try:
            return await listening.accept()
        except OSError as error:
            if error.errno in _USELESS:
                raise
            # Others are about the one connection, which was gone before we saw it.
            if error.errno in OUT_OF_RESOURCES:
                logger.error("cannot accept a connection: %s", error.strerror)  # noqa: TRY400 - no defect
                await trio.sleep(RESOURCE_PAUSE)
