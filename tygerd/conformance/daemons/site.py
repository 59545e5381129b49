"""The frame of the checks that look at an engine through a daemon's socket: a `Site`, and runs made there.

A check raises AssertionError with what it found. Checks share nothing and may run in any order; any of them
may kill the daemon, so no two may run at the same time at one site. What an engine declares (`Site.traits`)
must work; what it does not declare must be refused by name, before there is a run.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

from tyger import access, errors, reading, streams, writing
from tyger import client as client_module
from tygerd.conformance import verdicts
from tygerd.engines import base

PATIENCE = 120.0
"""Seconds until a check gives up on something that takes next to none."""

FINAL = ("Succeeded", "Failed", "Canceled")


class Site(Protocol):
    """A daemon with an engine behind it, which is ours to kill."""

    socket: str
    traits: base.Traits
    image: str
    """An image that the engine can run and that has a POSIX shell, the usual small tools and `busybox`."""
    unknown_image: str
    """One that it can't."""
    starts_within: int
    """Seconds in which a job has surely begun to run, also on a busy machine."""

    def next_port(self) -> int:
        """A port on which nobody listens where the engine's jobs do."""
        ...

    def restart(self) -> None:
        """Kill the daemon at once, as a crash would, and start it again; returns when it serves."""
        ...


Check = Callable[[Site], None]

CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Put a check on the list, under its own name."""
    if function.__name__ in CHECKS:
        raise ValueError(f"there are two checks {function.__name__}")
    CHECKS[function.__name__] = function
    return function


def codespec(
    site: Site, script: str, inputs: Sequence[str] = (), outputs: Sequence[str] = (), **more: object
) -> dict[str, Any]:
    """An inline codespec for a shell text; `more` are further members, as they are on the wire."""
    buffers = {"inputs": list(inputs), "outputs": list(outputs)}
    command = ["sh", "-c", script]
    return {"kind": "job", "image": site.image, "command": command, "buffers": buffers, **more}


class Run:
    """A run of a check. What is asked of the daemon waits for it while it is away."""

    def __init__(self, site: Site, made: Mapping[str, Any]) -> None:
        self.site = site
        self.made = made
        self.id: int = made["id"]
        self.client = client_module.Client(site.socket)

    @classmethod
    def start(
        cls,
        site: Site,
        script: str,
        *,
        inputs: Mapping[str, bytes | str] | None = None,
        outputs: Sequence[str] | Mapping[str, str] = (),
        codespec_more: Mapping[str, object] | None = None,
        job_more: Mapping[str, object] | None = None,
        **more: object,
    ) -> Run:
        """Create a run.

        An input is content, for which a buffer is made and written, or `_`, or a buffer's id; an output is a
        name, or a name with `_` or with an id.
        """
        given = {
            name: buffer(site, value) if isinstance(value, bytes) else value
            for name, value in (inputs or {}).items()
        }
        if isinstance(outputs, Mapping):
            given |= outputs
        spec = codespec(site, script, list(inputs or {}), list(outputs), **(codespec_more or {}))
        body = {"job": {"codespec": spec, "buffers": given, **(job_more or {})}, **more}
        return cls(site, asked(client_module.Client(site.socket), "POST", "/runs", body))

    def shown(self) -> dict[str, Any]:
        """The run as it is."""
        return asked(self.client, "GET", f"/runs/{self.id}")

    def ended(self) -> dict[str, Any]:
        """The run's last state."""
        deadline = time.monotonic() + PATIENCE
        last: dict[str, Any] = {}
        while last.get("status") not in FINAL:
            if time.monotonic() > deadline:
                raise AssertionError(f"the run has not ended: {last}")
            with (
                again(deadline),
                self.client.stream("GET", f"/runs/{self.id}", query=[("watch", "true")]) as it,
            ):
                for line in it.lines():
                    last = json.loads(line)
        return last

    def logged(self, text: str) -> None:
        """Follow the run's log until a line has this text at its end."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            query = [("follow", "true")]
            with again(deadline), self.client.stream("GET", f"/runs/{self.id}/logs", query=query) as it:
                if any(line.decode().endswith(text) for line in it.lines()):
                    return
                if self.shown().get("status") in FINAL:
                    break
        raise AssertionError(f"the run never said {text!r}")

    def log(self) -> list[str]:
        """What it has logged, without the prefixes that say which part did."""
        answer = self.client.request("GET", f"/runs/{self.id}/logs")
        return [line.rpartition("] ")[2] for line in answer.body.decode().splitlines()]

    def cancel(self) -> None:
        """As a user does."""
        asked(self.client, "POST", f"/runs/{self.id}/cancel")

    def output(self, name: str) -> bytes:
        """All of an output, which is waited for. Raises Problem where it has failed."""
        return content(self.site, self.made["job"]["buffers"][name])


class again:  # noqa: N801 - used like a function, as contextlib.suppress is
    """Let a daemon be away until the deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, errors.Problem) or error.kind is not errors.UNAVAILABLE:
            return False
        if time.monotonic() > self._deadline:
            return False
        time.sleep(0.02)  # it has no event for us while it is away
        return True


def asked(
    client: client_module.Client,
    method: str,
    path: str,
    body: object = None,
    query: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """The object that a request is answered with."""
    found = client.request(method, path, body=body, query=query).json()
    if not isinstance(found, dict):
        raise AssertionError(f"{method} {path} is answered with {found!r}")  # noqa: TRY004 - a check's verdict
    return found


# --- buffers ---------------------------------------------------------------------------------------------


def buffer(site: Site, data: bytes | None = None) -> str:
    """A new buffer, complete where there is data."""
    client = client_module.Client(site.socket)
    made = asked(client, "POST", "/buffers", {})
    if data is not None:
        with Writer(site, made["id"]) as writer:
            writer.send(data)
    name: str = made["id"]
    return name


class Writer:
    """Writes a buffer piece by piece; complete behind the block or `close`, failed where the block raised."""

    def __init__(self, site: Site, name: str) -> None:
        self._open = True
        self._reader, self._pipe = os.pipe()
        self._stop = streams.Stop()
        self._result: streams.Result | None = None
        self._problem: errors.Problem | None = None
        self._thread = threading.Thread(target=self._write, args=(site, name))
        self._thread.start()

    def _write(self, site: Site, name: str) -> None:
        try:
            self._result = writing.write(
                client_module.Client(site.socket),
                access.Access(buffer=name),
                self._reader,
                verdict=lambda: ("complete", None),
                stop=self._stop,
                flush_interval=0.05,
            )
        except errors.Problem as problem:
            self._problem = problem
        finally:
            os.close(self._reader)

    def send(self, data: bytes) -> None:
        """Write a piece."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._pipe, view) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, _: object, __: object) -> None:
        if kind is None:
            self.close()
            return
        self._stop.request("the check has failed")
        self._end()

    def close(self) -> None:
        """End the stream and wait until all of it is stored. Raises Problem where that failed. Idempotent."""
        self._end()
        if self._problem is not None:
            raise self._problem
        if self._result is None or self._result.state != "complete":
            raise AssertionError(f"the buffer was not written: {self._result}")

    def _end(self) -> None:
        if self._open:
            self._open = False
            os.close(self._pipe)
            self._thread.join(PATIENCE)


class Reader:
    """Reads a buffer while the block runs."""

    def __init__(self, site: Site, name: str) -> None:
        self._pipe, self._writer = os.pipe()
        self._stop = streams.Stop()
        self.problem: errors.Problem | None = None
        self._thread = threading.Thread(target=self._read, args=(site, name))
        self._thread.start()

    def _read(self, site: Site, name: str) -> None:
        try:
            client = client_module.Client(site.socket)
            reading.read(client, access.Access(buffer=name), self._writer, stop=self._stop)
        except errors.Problem as problem:
            self.problem = problem
        except BrokenPipeError:
            pass  # the check has what it wanted
        finally:
            os.close(self._writer)

    def exactly(self, size: int) -> bytes:
        """The next bytes, or what is left."""
        data = b""
        while len(data) < size and (piece := os.read(self._pipe, size - len(data))):
            data += piece
        return data

    def rest(self) -> bytes:
        """All bytes to the end. Raises Problem where the buffer has failed."""
        pieces = list(iter(lambda: os.read(self._pipe, 1 << 20), b""))
        self._thread.join(PATIENCE)
        if self.problem is not None:
            raise self.problem
        return b"".join(pieces)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.request("the check has seen enough")
        os.close(self._pipe)
        self._thread.join(PATIENCE)


def content(site: Site, name: str) -> bytes:
    """All of a buffer. Raises Problem where it has failed."""
    with Reader(site, name) as reader:
        return reader.rest()


# --- verdicts --------------------------------------------------------------------------------------------


expect, longer = verdicts.expect, verdicts.longer


def refused(ask: Callable[[], object]) -> errors.Problem:
    """What something was refused with."""
    try:
        answer = ask()
    except errors.Problem as problem:
        return problem
    raise AssertionError(f"it was not refused: {answer!r}")


def numbered(size: int) -> Iterator[bytes]:
    """Lines of 100 bytes that tell where in the stream they stand."""
    for number in range(size // 100):
        yield b"%099d\n" % number
