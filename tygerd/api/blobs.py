"""The data plane: containers and blobs over HTTP, contract buffers.md section 3.

An access URL's signature says what is allowed; who the peer is does not matter. Errors have no body but the
header `x-ms-error-code`. The order of checks is the contract's: signature, container name, blob name,
container, blob.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import trio

from tyger import errors
from tygerd import clock
from tygerd.api import context, refusals
from tygerd.blocks import container as containers
from tygerd.http import messages, router
from tygerd.identity import sas
from tygerd.osutil import fds
from tygerd.stores import local

T = TypeVar("T")

WRITE_SIZE = 1024 * 1024
"""Bytes hashed and written at a time: a thread is not woken for every piece from the socket."""

LONGEST_NAME = 80
"""Bytes of a blob's name: the store makes one file name of it, in which some take three, of 255. The longest
name of a block has 30."""

_META = "x-ms-meta-"
_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9]{3,63}")
# The names that the contract's pattern accepts, without its backtracking: runs of word characters, between
# which stand any one other character, a slash and a dot at most. So no segment is `.`, `..` or absolute.
_BLOB_NAME = re.compile(r"\.?\w+(?:\W/?\.?\w+)*\W?", re.ASCII)

_threads = trio.CapacityLimiter(8)  # disk, not processor: more would only queue there


# --- containers ------------------------------------------------------------------------------------------


@refusals.answers
async def head_container(app: context.App, request: messages.Request) -> messages.Answer:
    """Say whether the container exists."""
    _authorize(app, request, "R")
    await _open(app, request)
    return messages.Response(200)


@refusals.answers
async def put_container(app: context.App, request: messages.Request) -> messages.Answer:
    """Make a container; one that exists is left as it is."""
    _authorize(app, request, "C")
    _check_container_name(request)
    await app.store.create(request.params["container"])
    return messages.Response(201)


@refusals.answers
async def delete_container(app: context.App, request: messages.Request) -> messages.Answer:
    """Remove a container and all that is in it."""
    _authorize(app, request, "D")
    _check_container_name(request)
    await _open(app, request)
    await app.store.delete(request.params["container"])
    return messages.Response(200)


# --- blobs -----------------------------------------------------------------------------------------------


@refusals.answers
async def get_blob(app: context.App, request: messages.Request) -> messages.Answer:
    """Send a blob, or for HEAD its headers."""
    _authorize(app, request, "r")
    name = _blob_name(request)
    container = await _open(app, request)
    blob, fd = await _in_thread(lambda: _open_blob(container, name))
    headers = [("Content-MD5", base64.b64encode(blob.md5).decode("ascii"))]
    headers += [(_META + key, value) for key, value in blob.meta.items()]
    if fd is None:
        return messages.Response(200, blob.data, headers)
    return messages.FileResponse(fd, blob.length, headers=headers)


@refusals.answers
async def put_blob(app: context.App, request: messages.Request) -> messages.Answer:
    """Receive a blob; create-only. Whatever goes wrong, nothing of it stays."""
    _authorize(app, request, "c")
    name = _blob_name(request)
    container = await _open(app, request)
    staged = await _in_thread(lambda: _Staged(*container.staging()))
    try:
        digest = await _receive(request, staged.fd)
        claimed = request.headers.get("Content-MD5")
        if claimed is not None and claimed != base64.b64encode(digest).decode("ascii"):
            raise refusals.Refused(400, "Md5Mismatch")
        await _in_thread(lambda: _publish(container, staged, name, digest, _meta(request)))
    finally:
        with trio.CancelScope(shield=True):
            await _in_thread(staged.discard)
    container.feed.notify()
    return messages.Response(201)


class _Staged(NamedTuple):
    """A file that receives a blob."""

    fd: int
    path: str

    def discard(self) -> None:
        """Close it, and unlink it if it was not published."""
        os.close(self.fd)
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return


async def _receive(request: messages.Request, fd: int) -> bytes:
    """Write the request's body to `fd`; its MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    pending = bytearray()

    def flush() -> None:
        digest.update(pending)
        with memoryview(pending) as left:
            written = 0
            while written < len(left):
                written += os.write(fd, left[written:])
        pending.clear()

    try:
        async for piece in request.data:
            pending += piece
            if len(pending) >= WRITE_SIZE:
                await _in_thread(flush)
    except errors.Problem as problem:
        if problem.kind is errors.PAYLOAD_TOO_LARGE:
            raise refusals.Refused(413, "RequestBodyTooLarge") from None
        raise
    await _in_thread(flush)
    return digest.digest()


def _publish(
    container: containers.Container, staged: _Staged, name: str, digest: bytes, meta: dict[str, str]
) -> None:
    try:
        container.publish(staged.path, name, digest, meta)
    except FileExistsError:
        raise refusals.Refused(403, "UnauthorizedBlobOverwrite") from None


def _open_blob(container: containers.Container, name: str) -> tuple[containers.Blob, fds.OwnedFd | None]:
    """The blob, and a descriptor of its file unless its bytes are inline."""
    blob = container.blob(name)
    if blob is None:
        if not os.path.isdir(container.path):  # it is being removed: who waits for the blob must hear that
            raise _container_gone()
        raise refusals.Refused(404, "BlobNotFound")
    if blob.path is None:
        return blob, None
    try:
        return blob, fds.OwnedFd(blob.open())
    except FileNotFoundError:
        if os.path.isdir(container.path):  # else it was removed meanwhile
            raise errors.Problem(errors.CORRUPT, f"blob {name} is damaged: its file is missing") from None
        raise


def _meta(request: messages.Request) -> dict[str, str]:
    return {name[len(_META) :]: value for name, value in request.headers if name.lower().startswith(_META)}


# --- checks, in the contract's order -----------------------------------------------------------------------


def _authorize(app: context.App, request: messages.Request, letter: str) -> None:
    if (code := objection(app, request, request.params["container"], letter)) is not None:
        raise refusals.Refused(403, code)


def objection(app: context.App, request: messages.Request, container: str, letter: str) -> str | None:
    """Why a request's signature does not open `container` for `letter`, as an error code; None: it does."""
    query = {name: value for name, value in reversed(request.query.pairs)}  # noqa: C416 - pairs to a dict
    match app.signer.check(container, query, letter, clock.now()):
        case sas.Verdict.INVALID:
            return "AuthenticationFailed"
        case sas.Verdict.NOT_ALLOWED:
            return "AuthorizationPermissionMismatch"
    return None


def _check_container_name(request: messages.Request) -> None:
    if not _CONTAINER_NAME.fullmatch(request.params["container"]):
        raise refusals.Refused(400, "InvalidContainerName")


def _blob_name(request: messages.Request) -> str:
    _check_container_name(request)
    name = request.params["blob"]
    if not is_blob_name(name):
        raise refusals.Refused(400, "InvalidBlobName")
    return name


def is_blob_name(name: str) -> bool:
    """Whether a blob may be called so: the contract's rule, less control characters and excessive length."""
    return bool(_BLOB_NAME.fullmatch(name)) and name.isprintable() and len(name.encode()) <= LONGEST_NAME


async def _open(app: context.App, request: messages.Request) -> containers.Container:
    try:
        return await app.store.open(request.params["container"])
    except errors.Problem as problem:
        if problem.kind is errors.NOT_FOUND:
            raise _container_gone() from None
        raise


async def _in_thread(work: Callable[[], T]) -> T:
    def call() -> T:
        try:
            return work()
        except FileNotFoundError:  # the container was removed while we worked in it
            raise _container_gone() from None

    with local.disk_problems():
        return await trio.to_thread.run_sync(call, limiter=_threads)


def _container_gone() -> refusals.Refused:
    return refusals.Refused(404, "ContainerNotFound")


_CONTAINER = "/containers/{container}"
_BLOB = "/containers/{container}/{blob...}"
SIGNED = {
    "sv": router.Parameter("version of the signature's format"),
    "sp": router.Parameter("what the signature allows"),
    "st": router.Parameter("from when on"),
    "se": router.Parameter("until when"),
    "sig": router.Parameter("the signature"),
}
_CODE = {refusals.HEADER: router.Parameter("what is wrong, a word")}
# A request that gets no further than the router has the usual error body; the document cannot say "or none".
_REFUSALS = [router.Reply(400), *(router.Reply(status, headers=_CODE) for status in (400, 403, 404))]
_TOO_LARGE = router.Reply(413, headers=_CODE)
_MD5 = {"Content-MD5": router.Parameter("base64 of the body's MD5")}


def _row(
    method: str,
    path: str,
    handler: refusals.Handler,
    summary: str,
    operation: str,
    status: int = 200,
    *refusals: router.Reply,
    **more: Any,
) -> router.Route:
    # Who comes with a valid signature needs no role.
    return router.Route(
        method, path, handler, summary,
        operation=operation, access="anonymous", status=status, query=SIGNED, also=[*_REFUSALS, *refusals],
        **more,
    )  # fmt: skip


ROUTES = [
    _row("HEAD", _CONTAINER, head_container, "Does a container exist", "headContainer"),
    _row("PUT", _CONTAINER, put_container, "Make a container", "putContainer", 201),
    _row("DELETE", _CONTAINER, delete_container, "Remove a container", "deleteContainer"),
    _row("HEAD", _BLOB, get_blob, "Get a blob's headers", "headBlob", headers=_MD5),
    _row("GET", _BLOB, get_blob, "Get a blob", "getBlob", headers=_MD5),
    _row("PUT", _BLOB, put_blob, "Create a blob", "putBlob", 201, _TOO_LARGE, streams_body=True, asks=_MD5),
]
