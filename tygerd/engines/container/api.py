"""The engine's HTTP API on its Unix socket, as far as the daemon uses it: Docker's, which Podman speaks, too.

Knows requests and answers, not what they are for. What an engine refuses is a `Refused` with its own words,
for the caller to say what it means; an engine that does not answer is a `Problem`. No call is repeated here,
but the removal of a container.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

import trio

from tyger import errors
from tygerd.supervisor import dockerapi

if TYPE_CHECKING:
    import httpx

NEWEST = (1, 44)
"""The version of the API that the bodies here are of. An older engine is asked in its own."""

REMOVAL_PAUSE = 0.1
"""Seconds between two attempts to remove a container that an engine does not let go yet."""

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 60.0
"""How long an engine may take until it is there, as systemd may have to start it, and how long any answer but
that of a pull.
"""


class Refused(Exception):  # noqa: N818 - what the engine says, which the caller gives a meaning
    """The engine answered with an error. `status` is HTTP's; 0 where it came in the middle of a 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Api:
    """A connection pool to the engine that listens on `socket`. To be closed."""

    def __init__(self, socket: str) -> None:
        import httpx  # takes 50 ms: only where there is an engine to ask

        self.socket = socket
        self.version = ""
        """Of the API, once it was negotiated."""
        self.server = ""
        """The engine's name and version, in its own words."""
        self._client = httpx.AsyncClient(
            # There is no TLS on it; to load the system's certificates takes half a second.
            transport=httpx.AsyncHTTPTransport(uds=socket, verify=False),
            base_url="http://engine",
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,  # a proxy of the environment leads elsewhere
        )

    async def close(self) -> None:
        """Close all connections, also when cancelled."""
        with trio.CancelScope(shield=True):  # nobody is waited for
            await self._client.aclose()

    async def negotiate(self) -> None:
        """Find out the newest version that both sides know, for all later calls.

        Raises:
            Problem: UNAVAILABLE, nobody answers, or somebody else.
        """
        async with self._answered("GET", "/_ping", patience=CONNECT_SECONDS) as response:
            await response.aread()
            try:
                major, minor = response.headers["Api-Version"].split(".")
                theirs = (int(major), int(minor))
            except (KeyError, ValueError):
                raise self._unreachable("what answers there is not the API of Docker or Podman") from None
        self.version = "{}.{}".format(*min(theirs, NEWEST))
        self.server = response.headers.get("Server", "")

    async def get(self, path: str, **params: str) -> Any:
        """The JSON that a GET answers. Raises as `call`."""
        return await self.call("GET", path, params=params)

    async def post(self, path: str, body: object = None, **params: str) -> Any:
        """Send JSON; what is answered. Raises as `call`."""
        return await self.call("POST", path, params=params, body=body)

    async def delete(self, path: str, **params: str) -> None:
        """DELETE; what is not there is no error. Raises as `call`."""
        try:
            await self.call("DELETE", path, params=params)
        except Refused as refusal:
            if refusal.status != 404:
                raise

    async def remove_container(self, name: str) -> None:
        """Kill and remove it; what is not there is no error. Raises as `call`."""
        with contextlib.suppress(Refused):  # as it does where it runs no more
            # Podman, told to remove what runs, asks it to end and waits for ten seconds.
            await self.post(f"/containers/{name}/kill", signal="SIGKILL")
        until = trio.current_time() + dockerapi.REMOVABLE
        while True:
            try:
                await self.delete(f"/containers/{name}", force="1", v="1")
            except Refused:
                if trio.current_time() >= until:
                    raise
                await trio.sleep(REMOVAL_PAUSE)
            else:
                return

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        body: object = None,
        tar: bytes | None = None,
    ) -> Any:
        """One exchange; the answer's JSON, None where it has none.

        Raises:
            Refused: the engine's own error.
            Problem: UNAVAILABLE.
        """
        content = tar if tar is not None or body is None else json.dumps(body).encode()
        kind = "application/x-tar" if tar is not None else "application/json"
        async with self._answered(
            method, path, params=params, content=content, headers={"Content-Type": kind}
        ) as response:
            text = await response.aread()
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            return None  # `OK`, or the several lines of an import

    async def lines(
        self,
        path: str,
        take: Callable[[dict[str, Any]], None],
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> None:
        """POST, and hand on each JSON object of an answer that comes in lines, for as long as it may take.

        Raises:
            Refused: the engine's error, before or in the middle of the answer.
            Problem: UNAVAILABLE.
        """
        refusal: str | None = None
        async with self._answered("POST", path, params=params, headers=headers, patience=None) as response:
            # Nothing is raised in this loop, and nothing awaited: httpx's generators would stay unfinished.
            async for line in response.aiter_lines():
                message = _object(line)
                if error := message.get("error"):
                    refusal = str(error)
                else:
                    take(message)
        if refusal is not None:
            raise Refused(0, refusal)

    @contextlib.asynccontextmanager
    async def _answered(
        self, method: str, path: str, *, patience: float | None = ANSWER_SECONDS, **request: Any
    ) -> AsyncIterator[httpx.Response]:
        """The answer of a request that was successful, its body still to be read."""
        import httpx

        timeout = httpx.Timeout(patience, connect=CONNECT_SECONDS)
        try:
            async with self._client.stream(
                method, f"/v{self.version}{path}" if self.version else path, timeout=timeout, **request
            ) as response:
                if response.status_code >= 400:
                    raise Refused(response.status_code, _words(await response.aread(), response))
                yield response
        except httpx.TransportError as error:
            raise self._unreachable(_reason(error)) from error

    def _unreachable(self, reason: str) -> errors.Problem:
        return errors.Problem(
            errors.UNAVAILABLE, f"cannot reach the container engine on {self.socket}: {reason}"
        )


def _object(line: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        message = json.loads(line)
        if isinstance(message, dict):
            return message
    return {}


def _words(body: bytes, response: httpx.Response) -> str:
    """What an error answer says."""
    with contextlib.suppress(ValueError, AttributeError):
        message = json.loads(body).get("message")
        if message:
            return str(message)
    return body.decode(errors="replace").strip() or f"{response.status_code} {response.reason_phrase}"


def _reason(error: BaseException) -> str:
    """The system's own words for an exchange that broke, which are below those of the libraries."""
    said: BaseException | None = error
    silent = type(error).__name__ == "ReadTimeout"
    while said is not None:
        # Closed by `Link`, which has found in the meantime that nobody answers.
        silent |= isinstance(said, trio.ClosedResourceError)
        if isinstance(said, OSError) and said.strerror:
            return said.strerror
        said = said.__cause__ or said.__context__
    return "it does not answer" if silent else str(error) or type(error).__name__
