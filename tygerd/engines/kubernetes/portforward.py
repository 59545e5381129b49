"""A connection to a port inside a pod, through the API server: the one that is dialled is always the cluster.

A WebSocket with the subprotocol `v4.channel.k8s.io`: the first byte of a message is its channel, 0 data and 1
an error in words; the first message of each names the port and says nothing. A thread carries bytes between
it and one end of a socket pair, whose other end is the caller's. Source: the Kubernetes API's
`pods/portforward`, as kubelets and API servers of 1.30 and newer speak it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import select
import socket
import threading
from typing import Any

import msgspec

from tygerd.engines.kubernetes import access, refusals

CONNECT_SECONDS = 10.0

PING_SECONDS = 30.0
"""Between signs of life on a quiet connection, which something in between may otherwise cut."""

SILENT_SECONDS = 60.0
"""Without any word of the other side, which answers pings: it is gone."""

PIECE = 64 * 1024

_DATA, _ERROR = 0, 1

logger = logging.getLogger(__name__)


class Forward:
    """An open connection. `socket` is the caller's end, which he closes; then all of it ends."""

    def __init__(self, link: Any, what: str) -> None:
        """`link` is a connected `websocket.WebSocket`."""
        self.socket, self._ours = socket.socketpair()
        self.error: str | None = None
        """What the cluster has said, once it has closed the connection because of that."""
        self._link = link
        self._named: set[int] = set()
        thread = threading.Thread(target=self._carry, name=what, daemon=True)
        thread.start()

    def _carry(self) -> None:
        """Carry bytes until either side ends."""
        import websocket

        try:
            self._until_end()
        except (websocket.WebSocketException, OSError) as error:
            self.error = self.error or str(error)
        finally:
            self._ours.close()
            with contextlib.suppress(websocket.WebSocketException, OSError):
                self._link.close(timeout=0)
            with contextlib.suppress(OSError):
                self._link.shutdown()

    def _until_end(self) -> None:
        poller = select.poll()
        poller.register(self._link.sock, select.POLLIN)
        poller.register(self._ours, select.POLLIN)
        silent = 0.0
        while True:
            ready = dict(poller.poll(PING_SECONDS * 1000))
            if not ready:
                silent += PING_SECONDS
                if silent > SILENT_SECONDS:
                    raise OSError(errno.ETIMEDOUT, "the connection to the pod has been silent for too long")
                self._link.ping()
            if self._link.sock.fileno() in ready:
                silent = 0.0
                if not self._receive():
                    return
            if self._ours.fileno() in ready:
                data = self._ours.recv(PIECE)
                if not data:
                    return
                self._link.send_binary(bytes([_DATA]) + data)

    def _receive(self) -> bool:
        """Take all messages that have come; False at the end."""
        import websocket

        while True:
            code, frame = self._link.recv_data_frame(control_frame=True)
            if code == websocket.ABNF.OPCODE_CLOSE:
                return False
            if code == websocket.ABNF.OPCODE_BINARY and frame.data:
                channel, data = frame.data[0], frame.data[1:]
                if channel not in self._named:
                    self._named.add(channel)  # the port's number
                elif channel == _DATA:
                    self._ours.sendall(data)
                elif channel == _ERROR:
                    self.error = refusals.one_line(data.decode(errors="replace"))
                    return False
            pending = getattr(self._link.sock, "pending", None)
            if pending is None or not pending():
                return True


def dial(reached: access.Access, pod: str, port: int) -> Forward:
    """Connect to a port of a pod. Blocking.

    Whether somebody listens there turns out later: the connection ends, and `Forward.error` says why.

    Raises:
        Trouble: of the kind that says what there is to do.
    """
    import websocket

    what = f"reach port {port} of the pod {pod}"
    client = reached.client()
    configuration = client.configuration
    server = str(configuration.host)
    path = f"/api/v1/namespaces/{reached.namespace}/pods/{pod}/portforward?ports={port}"
    try:
        link: Any = websocket.WebSocket(
            sslopt=_trust(configuration, server),
            skip_utf8_validation=True,
            sockopt=configuration.socket_options,
        )
        link.settimeout(CONNECT_SECONDS)
        link.connect(
            server.replace("http", "ws", 1) + path,
            header=_headers(client),
            subprotocols=["v4.channel.k8s.io"],
            suppress_origin=True,
            redirect_limit=0,  # who we are is for nobody else
            **_proxy(configuration),
        )
        link.settimeout(None)
    except websocket.WebSocketBadStatusException as error:
        raise refusals.answered(error.status_code, _body(error.resp_body), what=what) from None
    except (websocket.WebSocketException, OSError) as error:
        raise refusals.Transient(f"the API server {server} does not answer: {error}", what=what) from error
    try:
        return Forward(link, what)
    except BaseException:
        link.shutdown()
        raise


def _headers(client: Any) -> list[str]:
    """Who we are."""
    found = dict(client.default_headers)
    if token := client.configuration.api_key.get("BearerToken"):
        found["Authorization"] = token
    return [f"{name}: {value}" for name, value in found.items()]


def _trust(configuration: Any, server: str) -> dict[str, Any]:
    """Whom to trust, and the certificate that says who we are, in the library's words."""
    import ssl

    if not server.startswith("https:"):
        return {}
    found: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE}
    if not configuration.verify_ssl:
        found["check_hostname"] = False
    elif configuration.ssl_ca_cert:
        found["ca_certs"] = configuration.ssl_ca_cert
    if configuration.cert_file:
        found |= {"certfile": configuration.cert_file, "keyfile": configuration.key_file}
    if configuration.tls_server_name:
        found["server_hostname"] = configuration.tls_server_name
    return found


def _proxy(configuration: Any) -> dict[str, Any]:
    from urllib.parse import urlsplit

    if not configuration.proxy:
        return {"http_no_proxy": ["*"]}  # else the library reads the environment by rules of its own
    parts = urlsplit(configuration.proxy)
    found: dict[str, Any] = {
        "http_proxy_host": parts.hostname,
        "http_proxy_port": parts.port or 80,
        "proxy_type": "http",
    }
    if parts.username:
        found["http_proxy_auth"] = (parts.username, parts.password or "")
    if configuration.no_proxy:
        found["http_no_proxy"] = configuration.no_proxy.split(",")
    return found


def _body(content: bytes | None) -> dict[str, object] | str:
    try:
        decoded = msgspec.json.decode(content or b"")
    except msgspec.DecodeError:
        return (content or b"").decode(errors="replace")
    return decoded if isinstance(decoded, dict) else str(decoded)
