"""A container under the eyes of a test: its main, started beside an engine, and what it prints."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

from tests.support import fakedocker
from tests.support import podman as podman_support
from tygerd.supervisor import container, log, spec

PATIENCE = 60
NAME = "tyger-run-1-main-{}"


class Watched(NamedTuple):
    """A main, and what it prints."""

    main: container.ContainerMain
    changed: threading.Condition
    readers: list[threading.Thread]
    printed: dict[str, bytearray]

    def until(self, condition) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.main), PATIENCE), vars(self.main)

    def end(self) -> tuple[int | None, str | None]:
        self.until(lambda main: main.ended)
        for reader in self.readers:
            reader.join(PATIENCE)
        return self.main.code, self.main.reason

    def prints(self, text: str) -> None:
        """Until it runs, also for its engine, and has printed this."""
        self.until(lambda main: main.started_at is not None)
        with self.changed:
            assert self.changed.wait_for(lambda: text.encode() in self.printed["o"], PATIENCE), self.printed


def start(
    socket: str,
    script: str | list[str],
    name="main",
    hosts=(),
    unique="",
    addresses=(),
    reads=True,
    **more,
) -> Watched:
    """Start a program, or a shell's text, in a container of the engine at `socket`; `more` of its body."""
    host = {"NetworkMode": "none", "LogConfig": {"Type": "json-file"}, **more.pop("host", {})}
    argv = ["sh", "-c", script] if isinstance(script, str) else script
    body = {
        "Image": podman_support.BUSYBOX,
        "Entrypoint": argv[:1],
        "Cmd": argv[1:],
        "HostConfig": host,
        **more,
    }
    setup = spec.ContainerSpec(socket, unique or NAME.format(os.urandom(4).hex()), body, dict(hosts))
    changed = threading.Condition()

    def report() -> None:
        with changed:
            changed.notify_all()

    main = container.ContainerMain(spec.MainSpec(name, container=setup), setup, log.Stamps(), report)
    printed = {"o": bytearray(), "e": bytearray()}
    watched = Watched(main, changed, [], printed)

    def read(fd: int, into: bytearray) -> None:
        os.set_blocking(fd, True)
        while data := os.read(fd, 65536):
            with changed:
                into.extend(data)
                changed.notify_all()

    main.addresses = dict(addresses)
    main.start()
    for source, stream in zip(main.sources if reads else (), "oe", strict=reads):
        reader = threading.Thread(target=read, args=(source.fileno(), printed[stream]))
        watched.readers.append(reader)
        reader.start()
    return watched


def stop(watched: Watched) -> None:
    """End it, if it has not ended, and release all of it."""
    if not watched.main.ended:
        watched.main.kill()
        watched.end()
    watched.main.close()
    for source in watched.main.sources:
        source.close()


def is_left(engine, watched: Watched) -> bool:
    """Whether an engine, which may have containers of others, has this one's."""
    name = watched.main._container.name
    if isinstance(engine, fakedocker.Docker):
        return name in engine.containers
    return any(name in one["Names"] for one in engine.containers())
