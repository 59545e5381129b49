"""A client of the data plane: the blobs of one container behind an access URL (buffers.md 3, 7, 8).

It speaks to Azure's Blob service, to the original's local server and to our own daemon. Blocking, for worker
threads, any number at once. It neither retries, logs nor sleeps: `retrying` does that, from the classes of
failure that are told apart here. Every failure is a `Problem` whose text is fit for a person.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import http.client
import os
import re
import ssl
import xml.sax.saxutils
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from tyger import errors
from tygerd.blocks import container
from tygerd.stores import access, answer, bandwidth, connection, dialing, exchange, network

LARGEST = 1 << 30
"""Bytes of a blob that are received at most: a server must not decide how much memory a reader takes."""

_VERSION = "2021-08-06"
_META = "x-ms-meta-"
_PIECE = 256 * 1024
"""Bytes received and hashed in turn: they are still in the processor's cache."""

_LARGER_PIECE = 1024 * 1024
"""Bytes received at a time where they are hashed later: fewer calls, and a slow link's bytes still count."""

_BODY_LIMIT = 64 * 1024
"""Bytes of an error's body that are read; reading all of a short one keeps the connection."""

_BODY_SHOWN = 300
_CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>")
_DETAIL = re.compile(r"<AuthenticationErrorDetail>(.*?)</AuthenticationErrorDetail>", re.DOTALL)
_TRANSIENT = {408, 429, *range(500, 600)} - {501, 505}


# --- outcomes --------------------------------------------------------------------------------------------


class TransientError(errors.Problem):
    """It may well succeed in a while; not before `retry_after` seconds, where the server said so.

    `offline`: no HTTP answer came at all, so that the network or the server is likely to be away.
    `crowded`: there may be too many requests at a time; the server says so, or is silent.
    """

    def __init__(
        self, message: str, retry_after: float | None = None, *, offline: bool = False, crowded: bool = False
    ) -> None:
        super().__init__(errors.UNAVAILABLE, message)
        self.retry_after = retry_after
        self.offline = offline
        self.crowded = crowded


class ExpiredError(errors.Problem):
    """The access URL of `generation` is not valid, or no longer."""

    def __init__(self, generation: int, detail: str) -> None:
        super().__init__(
            errors.FORBIDDEN, f"invalid access URL: {detail}" if detail else "invalid access URL"
        )
        self.generation = generation


class BlobNotFoundError(errors.Problem):
    """The container has no such blob, or not yet."""

    def __init__(self) -> None:
        super().__init__(errors.NOT_FOUND, "the blob does not exist")


class ContainerNotFoundError(errors.Problem):
    """There is no such buffer."""

    def __init__(self) -> None:
        super().__init__(errors.NOT_FOUND, "the buffer does not exist")


class NotPermittedError(errors.Problem):
    """The access URL is valid but not for this. Azurite says it of an overwriting PUT, too."""

    def __init__(self, what: str) -> None:
        super().__init__(errors.FORBIDDEN, f"the access url does not allow {what} access")


class ExistsError(errors.Problem):
    """A blob is written once, and this one was; perhaps by an earlier attempt of ours."""

    def __init__(self) -> None:
        super().__init__(errors.CONFLICT, "buffer cannot be overwritten")


class LeasedError(errors.Problem):
    """Another writer holds a lease on the blob."""

    def __init__(self, code: str) -> None:
        super().__init__(errors.CONFLICT, f"another writer holds the buffer's lease ({code})")


class Md5MismatchError(errors.Problem):
    """Bytes were damaged on their way, in either direction."""

    def __init__(self) -> None:
        super().__init__(errors.CORRUPT, "MD5 mismatch")


class BrokenOffError(errors.Problem):
    """`abort` was called."""

    def __init__(self) -> None:
        super().__init__(errors.UNAVAILABLE, "the request was broken off")


class Found(NamedTuple):
    """What a blob's headers say. `md5` is base64; `meta` has lower-case names.

    `lease` is the state of Azure's lease (`leased`, `expired`, `available`, ...); None where there are none.
    """

    length: int
    md5: str | None
    meta: Mapping[str, str]
    lease: str | None = None

    @property
    def chain(self) -> str | None:
        """The hash chain's value, which every data blob has."""
        return self.meta.get(container.CHAIN_KEY)


def compare(found: Found, md5: bytes) -> None:
    """Raises Md5MismatchError when what was received has another MD5 (16 bytes) than its headers say."""
    if found.md5 != base64.b64encode(md5).decode():
        raise Md5MismatchError


# --- the client ------------------------------------------------------------------------------------------


class File(NamedTuple):
    """A blob's bytes: the first `length` bytes of a file, which is opened for each attempt."""

    path: str
    length: int


Body = bytes | File


class DataPlane:
    """One container. Safe from any thread; to be closed, or aborted, by its owner."""

    def __init__(self, opened: access.Access, settings: network.Network | None = None) -> None:
        self.access = opened
        self._settings = settings
        self._connections = exchange.Connections(opened.url, settings)

    def again(self) -> DataPlane:
        """Another client of the same container, whose connections are its own: for after an `abort`."""
        fresh = DataPlane(self.access, self._settings)
        fresh._connections = self._connections.again()
        return fresh

    def abort(self) -> None:
        """Break off every request under way (they raise), close all connections. Idempotent."""
        self._connections.abort()

    def head(self, name: str) -> Found:
        """A blob's headers.

        Raises:
            Problem: one of the classes above, or PROTOCOL for an answer that none stands for.
        """
        with self._request("HEAD", name) as response:
            return _found(response)

    def get(
        self,
        name: str,
        take: Callable[[int], memoryview],
        share: bandwidth.Share | None = None,
        *,
        verify: bool = True,
    ) -> Found:
        """Receive a blob into memory that `take` gives for its length; its MD5 was compared.

        On an error that memory holds anything. `share` is of the host's bandwidth, None without limit.
        Without `verify`, to `compare` the MD5 is the caller's affair.

        Raises:
            Problem: as `head`; a body that breaks off is a TransientError.
        """
        with self._request("GET", name, share=share) as said:
            found = _found(said)
            if found.length > LARGEST:
                raise errors.Problem(errors.PROTOCOL, f"the blob is larger than {LARGEST} bytes")
            digest = hashlib.md5(usedforsecurity=False)
            view = take(found.length)[: found.length]
            piece = _PIECE if verify else _LARGER_PIECE
            received = 0
            while received < found.length:
                count = said.readinto(view[received : received + piece])
                if count == 0:
                    raise TransientError(f"the answer broke off after {received} of {found.length} bytes")
                if verify:
                    digest.update(view[received : received + count])
                received += count
            said.finish()
        if found.md5 is None:
            raise errors.Problem(errors.PROTOCOL, "expected Content-MD5 header missing")
        if verify:
            compare(found, digest.digest())
        return found

    def put(
        self,
        name: str,
        body: Body,
        md5: bytes,
        meta: Mapping[str, str],
        share: bandwidth.Share | None = None,
    ) -> None:
        """Create a blob; never overwrites. `md5` is 16 bytes, of all of `body`; `share` as in `get`.

        Repeating it is safe: one attempt succeeds, the others raise. After an error the blob may be there.

        Raises:
            Problem: as `head`; ExistsError, or from some stores NotPermittedError, when the blob exists;
                IO_ERROR or CORRUPT when the file cannot be read or is too short.
        """
        headers = {
            "x-ms-blob-type": "BlockBlob",
            "Content-MD5": base64.b64encode(md5).decode(),
            "Content-Length": str(len(body) if isinstance(body, bytes) else body.length),
        }
        headers |= {_META + key: value for key, value in meta.items()}
        with _opened(body) as sent, self._request("PUT", name, headers, sent, share):
            pass

    @contextlib.contextmanager
    def _request(
        self,
        method: str,
        name: str,
        headers: Mapping[str, str] | None = None,
        body: exchange.Body | None = None,
        share: bandwidth.Share | None = None,
    ) -> Iterator[answer.Answer]:
        """One exchange; yields a success, and turns everything else into a Problem."""
        generation, url = self.access.current()
        every = {"Date": email.utils.format_datetime(self.access.clock.now()), "x-ms-version": _VERSION}
        every |= headers or {}
        answered = False
        try:
            with self._connections.request(method, url.target(name), every, body, share=share) as said:
                answered = True
                self.access.clock.learn(said.header("date"))
                if said.status not in {200, 201}:
                    text = said.read(_BODY_LIMIT).decode("utf-8", "replace")
                    raise _refusal(method, said, text, generation)
                yield said
                if method != "GET":
                    said.finish()
        except ssl.SSLCertVerificationError as error:
            message = f"the certificate of {url.place} is not trusted: {error.verify_message}"
            if self._settings is not None and self._settings.pinned is not None:
                raise TransientError(message) from None  # what is pinned is about to be replaced, too
            hint = "; if its authority is your own, name it in tygerd.toml, [transfer] ca_file"
            raise errors.Problem(errors.CONFIG, message + hint) from None
        except connection.ShortFileError as error:
            raise errors.Problem(errors.CORRUPT, f"a file in the spool is damaged: {error}") from None
        except exchange.AbortedError:
            raise BrokenOffError from None
        except dialing.ProxyError as error:
            raise _refused_by_proxy(error) from None
        except (OSError, http.client.HTTPException) as error:
            done = "the answer broke off" if answered else "unable to send request"
            raise TransientError(
                f"{done}: {_words(error)} ({url.place})",
                offline=isinstance(error, OSError) and not answered,
                crowded=isinstance(error, TimeoutError),
            ) from error


@contextlib.contextmanager
def _opened(body: Body) -> Iterator[exchange.Body]:
    if isinstance(body, bytes):
        yield body
        return
    try:
        fd = os.open(body.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise errors.Problem(errors.IO_ERROR, f"{body.path} cannot be read: {error.strerror}") from error
    try:
        yield exchange.File(fd, body.length)
    finally:
        os.close(fd)


def _found(said: answer.Answer) -> Found:
    length = said.header("content-length")
    if not (length.isascii() and length.isdigit()):
        raise TransientError("the answer has no Content-Length")
    meta = {name[len(_META) :]: value for name, value in said.headers.items() if name.startswith(_META)}
    return Found(
        int(length), said.header("content-md5") or None, meta, said.header("x-ms-lease-state") or None
    )


def _refusal(method: str, said: answer.Answer, text: str, generation: int) -> errors.Problem:
    """The outcome that an error answer stands for; the code decides, the status only where there is none."""
    inside = _CODE.search(text)
    code = said.header("x-ms-error-code") or (inside[1] if inside else "")
    match said.status, code:
        case 404, "BlobNotFound":
            return BlobNotFoundError()
        case ((404 | 409), ("ContainerNotFound" | "ContainerBeingDeleted")):
            return ContainerNotFoundError()
        case 403, "AuthenticationFailed":
            return ExpiredError(generation, _detail(text))
        case 403, "AuthorizationFailure":  # Azurite's word for it; Azure's firewall's, and that costs one URL
            return ExpiredError(generation, code)
        case 403, "AuthorizationPermissionMismatch":
            return NotPermittedError("write" if method == "PUT" else "read")
        case ((403 | 409), ("UnauthorizedBlobOverwrite" | "BlobAlreadyExists")):
            return ExistsError()
        case ((409 | 412), code) if code.startswith("Lease"):
            return LeasedError(code)
        case 400, "Md5Mismatch":
            return Md5MismatchError()
        case 407, _:
            message = "the proxy asks for a user name and a password: set transfer.proxy, http://NAME:PASSWORD@HOST:PORT"
            return errors.Problem(errors.CONFIG, message)
        case 413, _:
            message = "the store does not accept blocks of this size; write with a smaller block size"
            return errors.Problem(errors.PAYLOAD_TOO_LARGE, message)
        case status, _:
            shown = " ".join(f"{code} {text}".split())[:_BODY_SHOWN]
            message = f"unexpected status code {status}" + (f": {shown}" if shown else "")
            # A 400 without a code is not the store's: its HTTP server got less of the body than was meant.
            if status in _TRANSIENT or (status == 400 and not code and method == "PUT"):
                crowded = status in {408, 429, 503} or code == "OperationTimedOut"
                return TransientError(message, _retry_after(said), crowded=crowded)
            return errors.Problem(errors.FORBIDDEN if status == 403 else errors.PROTOCOL, message)


def _detail(text: str) -> str:
    """Azure's reason for a refusal, in one line."""
    found = _DETAIL.search(text)
    return " ".join(xml.sax.saxutils.unescape(found[1]).split()) if found else ""


def _refused_by_proxy(error: dialing.ProxyError) -> errors.Problem:
    if error.status in _TRANSIENT:
        return TransientError(str(error), offline=True)
    advice = "; set transfer.proxy, http://NAME:PASSWORD@HOST:PORT" if error.status == 407 else ""
    return errors.Problem(errors.CONFIG, f"{error}{advice}")


def _retry_after(said: answer.Answer) -> float | None:
    """Seconds that the server asks for; a date counts from the server's own."""
    value = said.header("retry-after").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
        since = email.utils.parsedate_to_datetime(said.header("date"))
        return max(0.0, (until - since).total_seconds())
    except (TypeError, ValueError):  # no date, or one with a time zone and one without
        return None


def _words(error: OSError | http.client.HTTPException) -> str:
    """An exception in words; some have no text but their class's name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
