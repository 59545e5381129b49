"""Requests to an API server through the `kubernetes` client; the one place that imports it, and late: 35 MB.

The client does TLS, proxies, pooling and serialising; it is told to try nothing again, and where it fails is
here made one of `refusals`. What is secret is handed to it in files that are in memory only.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import re
import socket
import ssl
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import kubernetes.client
import msgspec
import urllib3
import urllib3.connection
import urllib3.connectionpool

from tygerd.engines.kubernetes import credentials, kubeconfig, refusals

KEEPALIVE = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
]
"""A watch or a log may be silent for hours: after 30 seconds without a word of the other kernel it is cut."""

CHUNK = 64 << 10
"""Bytes of a stream that are read at most at a time."""

# Streams are beyond what a pool keeps, which urllib3 warns of each time; and it warns at every connection of
# what an operator has asked for by `insecure-skip-tls-verify`, which `Transport` says once.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

logger = logging.getLogger(__name__)

_READ_EACH_TIME = ("ca_certs", "ca_cert_data", "cert_file", "cert_reqs", "key_file")
"""What urllib3 would read for each connection, which is much where all of this host's authorities are
trusted.
"""

OURS = re.compile(r"\[(PEM|X509|ASN1)\b|PEM lib|_ALERT_([A-Z_]*CERTIFICATE|UNKNOWN_CA)")
"""In OpenSSL's words: certificates or a key that cannot be read, or ours that the server does not accept."""


class Timeout(NamedTuple):
    """Seconds: until there is a connection, and how long it may be silent; None, without end."""

    connect: float
    silence: float | None


class Cut:
    """Ends a request from another thread, at any instant of its life; its reader is then at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.is_cut = False

    def attach(self, connected: socket.socket | None) -> None:
        """The request goes over this socket, or it has none any more."""
        with self._lock:
            self._socket = connected
            if self.is_cut:
                self._shut()

    def cut(self) -> None:
        """End it. Does not block."""
        with self._lock:
            self.is_cut = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(OSError):  # it may have ended by itself
            # Not ssl's own method, which takes the TLS away under the thread that reads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


_thread = threading.local()
"""`cut`: what may end the request that this thread is making."""


class _CanBeCut:
    """A connection that says over which socket it goes."""

    def request(self: Any, *arguments: Any, **options: Any) -> None:
        if self.sock is None:
            self.connect()
        cut: Cut | None = getattr(_thread, "cut", None)
        if cut is not None:
            cut.attach(self.sock)
        super().request(*arguments, **options)  # type: ignore[misc] # urllib3's, in both that have this


class _Connection(_CanBeCut, urllib3.connection.HTTPSConnection):
    pass


class _PlainConnection(_CanBeCut, urllib3.connection.HTTPConnection):
    pass


class _Pool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _Connection


class _PlainPool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class Answer:
    """An answer of the server, whose body was not read yet."""

    def __init__(self, response: Any, cut: Cut | None, who: str) -> None:
        self._response = response
        self._cut = cut
        self._who = who
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers

    def read(self) -> bytes:
        """All of it; the connection may then serve another request. Raises as `Transport.request`."""
        try:
            body: bytes = self._response.read(decode_content=True)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _trouble(error, self._who) from error
        finally:
            self._response.release_conn()
        return body

    def body(self) -> Mapping[str, object] | str:
        """All of it, as JSON if it is a table, else as text. Raises as `read`."""
        content = self.read()
        try:
            decoded = msgspec.json.decode(content)
        except msgspec.DecodeError:
            return content.decode(errors="replace")
        return decoded if isinstance(decoded, dict) else str(decoded)

    def pieces(self) -> Iterator[bytes]:
        """It as it comes, until its end or that of the `Cut`. Raises as `Transport.request`."""
        try:
            while piece := self._response.read1(CHUNK, decode_content=True):
                yield piece
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if self._cut is None or not self._cut.is_cut:
                raise _trouble(error, self._who) from error
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection, whatever is still to come."""
        self._response.close()
        if self._cut is not None:
            self._cut.attach(None)


def headers(credential: credentials.Credential, content_type: str | None) -> urllib3.HTTPHeaderDict:
    """Those of a request by whom the credential stands for; some are there more than once."""
    found = urllib3.HTTPHeaderDict({"Accept": "application/json", "User-Agent": "tygerd"})
    if content_type is not None:
        found["Content-Type"] = content_type
    for name, value in credential.headers:
        found.add(name, value)
    return found


class Transport:
    """Connections to one server with one client certificate. Blocking, from any thread."""

    def __init__(
        self,
        target: kubeconfig.Target,
        credential: credentials.Credential,
        environ: Mapping[str, str],
        *,
        connections: int,
    ) -> None:
        self.who = f"the API server {target.server}"
        self._server = target.server
        if target.insecure:
            logger.warning("%s is not verified, as %s says", self.who, target.origin)
        self._files = _Files()
        self.configuration = self._configure(target, credential, environ, connections)
        self.configuration.files = self._files  # who has got the client may outlive us
        self.client: Any = kubernetes.client.ApiClient(self.configuration)
        """For what the client does by itself, such as port-forward."""
        pools = self.client.rest_client.pool_manager
        pools.pool_classes_by_scheme = {"https": _Pool, "http": _PlainPool}
        for key in _READ_EACH_TIME:
            pools.connection_pool_kw.pop(key, None)
        pools.connection_pool_kw["ssl_context"] = self._trust(target)

    def close(self) -> None:
        """Let go of idle connections; what is under way goes on."""
        self.client.rest_client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: urllib3.HTTPHeaderDict,
        body: object = None,
        timeout: Timeout,
        cut: Cut | None = None,
    ) -> Answer:
        """Send a request, and wait for the head of its answer, whichever that is.

        Raises:
            Transient: nobody answered, in the system's words.
            NoAccess: the server's certificate, or ours, can't be used.
        """
        _thread.cut = cut
        try:
            answer = self.client.rest_client.request(
                method, self._server + path, headers=headers, body=body, _request_timeout=tuple(timeout)
            )
        except kubernetes.client.ApiException as error:  # the client's word for trouble with TLS
            raise _trouble(error, self.who) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _trouble(error, self.who) from error
        finally:
            _thread.cut = None
        return Answer(answer.response, cut, self.who)

    def _trust(self, target: kubeconfig.Target) -> ssl.SSLContext:
        """What every connection goes by. Raises as `request`."""
        chosen = self.configuration
        try:
            context = ssl.create_default_context(cafile=chosen.ssl_ca_cert)
            # Neither is kubectl so strict, nor are the authorities of clusters.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if target.insecure:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if chosen.cert_file is not None:
                context.load_cert_chain(chosen.cert_file, chosen.key_file)
        except ssl.SSLError as error:
            raise _trouble(error, self.who) from error
        return context

    def _configure(
        self,
        target: kubeconfig.Target,
        credential: credentials.Credential,
        environ: Mapping[str, str],
        connections: int,
    ) -> Any:
        configuration = kubernetes.client.Configuration(host=target.server)
        configuration.retries = False
        configuration.connection_pool_maxsize = connections
        configuration.socket_options = KEEPALIVE
        configuration.verify_ssl = not target.insecure
        configuration.tls_server_name = target.tls_server_name
        configuration.proxy = target.proxy or _proxy(target.server, environ)
        kubeconfig.check_proxy(configuration.proxy, "the environment has a variable for proxies")
        configuration.no_proxy = None if target.proxy else _variable("NO_PROXY", environ)
        if target.authority is not None and not target.insecure:
            configuration.ssl_ca_cert = self._files.path(target.authority)
        if credential.certificate is not None and credential.key is not None:
            configuration.cert_file = self._files.path(credential.certificate)
            configuration.key_file = self._files.path(credential.key)
        return configuration


class _Files:
    """Files without a name, which no disk ever holds: the libraries below take certificates only as files.

    They are there as long as this is.
    """

    def __init__(self) -> None:
        self._descriptors: list[int] = []
        weakref.finalize(self, _close, self._descriptors)

    def path(self, content: bytes) -> str:
        """Where it can be opened, in this process."""
        descriptor = os.memfd_create("certificate")
        self._descriptors.append(descriptor)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        return f"/proc/self/fd/{descriptor}"


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _proxy(server: str, environ: Mapping[str, str]) -> str | None:
    return _variable("HTTPS_PROXY" if server.startswith("https:") else "HTTP_PROXY", environ)


def _variable(name: str, environ: Mapping[str, str]) -> str | None:
    return environ.get(name) or environ.get(name.lower()) or None


# --- what went wrong ---------------------------------------------------------------------------------------


def _trouble(error: Exception, who: str) -> refusals.Trouble:
    """What a failure of the connection means."""
    reason = _reason(error)
    if isinstance(error, kubernetes.client.ApiException | ssl.SSLError | urllib3.exceptions.SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            detail = reason.partition("CERTIFICATE_VERIFY_FAILED] ")[2].partition(" (_ssl.c")[0] or reason
            return refusals.NoAccess(f"{who} is not to be trusted: {detail}")
        if OURS.search(reason):
            return refusals.NoAccess(
                f"the certificates for {who} cannot be used: {reason.partition(' (_ssl.c')[0]}"
            )
    return refusals.Transient(f"{who} does not answer: {reason}")


def _reason(error: BaseException) -> str:
    """The system's own words, out of all that the libraries have put around them."""
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError) and not isinstance(
        error, urllib3.exceptions.NewConnectionError
    ):
        return "timed out"
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return "it kept silent for too long"
    if isinstance(error, urllib3.exceptions.ProtocolError) and isinstance(
        error.__cause__ or error.__context__, http.client.HTTPException
    ):
        return "the connection was closed before all had come"
    if isinstance(error, urllib3.exceptions.ProxyError):
        return f"its proxy does not let us through: {_reason(error.original_error)}"
    inner = error.__cause__ or error.__context__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(inner, OSError) and inner.strerror and not isinstance(inner, ssl.SSLError):
        return inner.strerror
    if isinstance(error, kubernetes.client.ApiException):
        return str(error.reason).partition("\n")[2] or str(error.reason)
    return str(error)
