"""`tyger-proxy run` and `start`: is one there already, then be one, or have one and wait for its word.

The child of `start` says on its standard error, one JSON object a line, where it listens. Then nobody reads
it any more, and only its log file has what it says.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import NamedTuple

import trio

from tyger import errors, programs
from tyger.cli import loggingin, output, session
from tyger_proxy import dataplane, front, logs, operations, settings

PATIENCE = 30.0
"""Seconds for a proxy to listen (cli.md 9)."""

PROBE = 5.0
"""Seconds for whatever listens on the port to say what it is."""

LISTENING, ALREADY = "Proxy is listening", "A proxy is already running on the specified port"


class Running(NamedTuple):
    """A proxy that listens on a port of this machine."""

    server_url: str
    log_path: str


def find(port: int) -> Running | None:
    """The proxy on this port; None where none is, or somebody else."""
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE)
    try:
        asking.request("GET", "/metadata")
        told = json.loads(asking.getresponse().read(operations.LARGEST))
        return Running(str(told["serverUrl"]), str(told.get("logPath", "")))
    except (
        OSError,
        http.client.HTTPException,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):
        return None
    finally:
        asking.close()


def find_ours(wanted: settings.Settings) -> Running | None:
    """The proxy that `wanted` asks for, if it runs. One for any port cannot be found.

    Raises:
        Fatal: another server's proxy has the port.
    """
    there = find(wanted.port) if wanted.port else None
    if there is not None and there.server_url != wanted.address.url:
        raise session.Fatal(
            f"{ALREADY}, but it is not targeting the same server",
            errors.Problem(errors.CONFLICT, f"port {wanted.port} serves {there.server_url}"),
        )
    return there


# --- run --------------------------------------------------------------------------------------------------


def run(wanted: settings.Settings, console: output.Console) -> None:
    """Be the proxy until a signal. Raises `Problem` or `Fatal`: why not."""
    log = logs.Log(console)
    if find_ours(wanted) is not None:
        log("info", ALREADY, port=wanted.port)
        return
    if wanted.own is not None:
        loggingin.answering(wanted.own)
    _raise_file_limit()
    told = loggingin.metadata(wanted.address)
    here = dataplane.endpoint(told.get("storageEndpoints"))
    listening = front.listen(wanted.port)
    try:
        if wanted.log_path:
            log.open(wanted.log_path)
            log("info", "Logging to file", path=log.path)
        if not wanted.networks:
            log("warn", "Whoever can reach this host may use the proxy. allowedClientCIDRs names who may.")
        log.take_all()
        port = listening.getsockname()[1]
        published = {
            "serverUrl": wanted.address.url,
            "logPath": log.path,
            "tlsCaCertificates": wanted.published_roots(),
        }
        proxy = operations.Proxy(
            address=wanted.address,
            here=here,
            log=log,
            authority=f"localhost:{port}",
            own=wanted.own,
            published={name: value for name, value in published.items() if value},
        )
        trio.run(_serve, front.Front(proxy, listening, wanted.networks), log, port)
    finally:
        listening.close()
        log.close()


def _raise_file_limit() -> None:
    """Each client's connection may need another one, to the server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 4 * front.CONNECTIONS
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(serving: front.Front, log: logs.Log, port: int) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, serving, log)
            log("info", LISTENING, port=port)
            await serving.serve()
            nursery.cancel_scope.cancel()
    log("info", "Proxy shutdown complete")


async def _obey(signals: AsyncIterator[int], serving: front.Front, log: logs.Log) -> None:
    async for _ in signals:
        log("info", "Received shutdown signal, cleaning up...")
        serving.stop()


# --- start ------------------------------------------------------------------------------------------------


def start(wanted: settings.Settings, console: output.Console, environ: Mapping[str, str]) -> None:
    """Have a proxy that outlives us. Raises `Problem` or `Fatal`: why there is none."""
    if not wanted.log_path:
        raise errors.Problem(
            errors.INVALID_INPUT, "logPath must be specified: nobody sees what a proxy in the background says"
        )
    there = find_ours(wanted)
    if there is None:
        if wanted.own is not None:  # or it would have to be started by the proxy
            loggingin.answering(wanted.own)
        with _child(wanted, environ) as child:
            port, log_path = _wait(child, wanted, console)
            child.returncode = 0  # it is nobody's child from now on, and not waited for
    else:
        port, log_path = wanted.port, there.log_path
    console.log("info", "The proxy is running", port=port, logFile=log_path)


def _child(wanted: settings.Settings, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A proxy with these options. Its end of the pipe is all that it has of us."""
    argv = [
        *programs.command("tyger-proxy"),
        "run",
        "--file",
        "-",
        "--log-format",
        "json",
        "--log-level",
        "info",
    ]
    with tempfile.TemporaryFile() as options:  # not a pipe, which may be too small for them
        options.write(wanted.text().encode())
        options.seek(0)
        return subprocess.Popen(
            argv,
            stdin=options,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env=programs.own_environment(environ),
            start_new_session=True,
            close_fds=True,
        )


def _wait(
    child: subprocess.Popen[bytes], wanted: settings.Settings, console: output.Console
) -> tuple[int, str]:
    """Wait until the child listens: its port, and its log file."""
    log_path = ""
    said = b""
    for line in _lines(child):
        said += line
        record = _record(line)
        if record.get("message") == "Logging to file":
            log_path = str(record.get("path", ""))
        elif record.get("message") == LISTENING:
            return int(str(record.get("port"))), log_path
    child.wait()
    if child.returncode == 0 and (there := find_ours(wanted)) is not None:  # somebody else was faster
        return wanted.port, there.log_path
    for line in said.splitlines():
        console.raw(line)
    last = str(_record(said.splitlines()[-1] if said else b"").get("error", ""))
    raise session.Fatal(
        "failed to start proxy",
        errors.Problem(errors.UNAVAILABLE, last or f"it ended with {child.returncode}"),
    )


def _lines(child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What the child says on its standard error, line by line, until it ends.

    Raises:
        Fatal: it has neither ended nor said what is waited for in time; it is ended then.
    """
    if child.stderr is None:
        return
    deadline = time.monotonic() + PATIENCE
    fd = child.stderr.fileno()
    rest = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            child.kill()
            raise session.Fatal(
                "Timed out waiting for proxy to start",
                errors.Problem(errors.UNAVAILABLE, f"it does not listen after {PATIENCE:.0f} seconds"),
            )
        data = os.read(fd, 65536)
        rest += data
        *lines, rest = rest.split(b"\n")
        yield from (line + b"\n" for line in lines)
        if not data:
            if rest:
                yield rest
            return


def _record(line: bytes) -> dict[str, object]:
    """A log record, empty where it is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
