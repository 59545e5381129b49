"""Whether a container of an engine can use our pipes: it is tried, with an image and a program of our own.

Where an engine's containers run in a virtual machine, or the daemon itself is in a container, a directory of
ours can be mounted, but what one side writes into a pipe there never comes out on the other. So a program of
a few bytes (`elf`) carries a word from one pipe to another, as restricted as the programs of runs are.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import os
import secrets
import shutil
import tarfile
import tempfile
from typing import Any, NamedTuple, Self

import trio

from tyger import errors
from tygerd.engines.container import api, body, elf
from tygerd.osutil import nurseries

logger = logging.getLogger(__name__)

PROBE = "tyger-probe"
"""Label of the probe's container and image, with the installation's id: an interrupted one's are found."""

DIRECTORY = "probe-"
"""How the name of a probe's directory begins, beside those of the runs, which are numbers."""

SECONDS = 20.0
"""From the program's start to its word; a container that works takes a fraction of a second."""

CLEANING_SECONDS = 30.0
"""In which an engine is asked again to remove what a probe has made."""


class Answer(NamedTuple):
    """`init`: the engine can start an init in a container. `reason`: why pipes do not work; None: they do.

    `kind` is CONFIG where trying again is of no use.
    """

    init: bool
    reason: str | None
    kind: errors.Kind = errors.UNAVAILABLE


async def pipes(engine: api.Api, place: body.Place, directory: str) -> Answer:
    """Try it, below `directory`, where the runs' pipes are as well. Cancelled, it leaves nothing.

    Raises:
        Problem: it could not be tried: UNAVAILABLE, or IO_ERROR.
    """
    program = elf.program(place.facts.architecture)
    if program is None:
        logger.warning("no way to tell whether pipes work in containers on %s", place.facts.architecture)
        return Answer(init=False, reason=None)
    with contextlib.suppress(api.Refused, errors.Problem):  # it is tried again at the end
        await clean(engine, place.installation)
    try:
        image = await _import_image(engine, place, program)
        with _Pipes(directory) as own:
            container = _Container(engine, place, image, own)
            answer = Answer(await container.create(), await container.carry(own), errors.CONFIG)
    except api.Refused as refusal:
        answer = Answer(init=False, reason=f"the engine refuses to run a container: {refusal.message}")
    except OSError as error:
        raise errors.Problem(
            errors.IO_ERROR, f"cannot make pipes in {directory}: {error.strerror}"
        ) from error
    finally:
        await _clean_up(engine, place.installation)
    return answer


async def clean(engine: api.Api, installation: str) -> None:
    """Remove what probes of this installation have made; what is refused keeps nothing else.

    Raises:
        Refused: the engine does not want to, now; the first of all.
        Problem: UNAVAILABLE.
    """
    wanted = _mine(installation)
    first: api.Refused | None = None
    removals = [
        functools.partial(engine.remove_container, container["Id"])
        for container in await engine.get("/containers/json", all="1", **wanted)
    ]
    removals += [
        functools.partial(engine.delete, f"/images/{image['Id']}", force="1")
        for image in await engine.get("/images/json", **wanted)
    ]
    for remove in removals:
        try:
            await remove()
        except api.Refused as refusal:
            first = first or refusal
    if first is not None:
        raise first


async def _clean_up(engine: api.Api, installation: str) -> None:
    """`clean`, also when cancelled; what cannot be removed is logged, and stays for the next probe."""
    reason = "the engine takes too long"
    unanswered = 0
    with trio.move_on_after(CLEANING_SECONDS, shield=True):
        while unanswered < 2:  # one connection may be cut; an engine that is away is not waited for
            try:
                await clean(engine, installation)
            except api.Refused as refusal:
                reason = refusal.message
            except errors.Problem as problem:
                reason = str(problem)
                unanswered += 1
            else:
                return
            await trio.sleep(api.REMOVAL_PAUSE)
    logger.warning("what the probe of the container engine has made is left there: %s", reason)


def _mine(installation: str) -> dict[str, str]:
    return {"filters": json.dumps({"label": [f"{PROBE}={installation}"]})}


async def _import_image(engine: api.Api, place: body.Place, program: bytes) -> str:
    """Make the image; its id."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("probe")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    await engine.call(
        "POST",
        "/images/create",
        params={
            "fromSrc": "-",
            "repo": f"localhost/{PROBE}",
            "tag": place.installation[:8],
            "changes": f"LABEL {PROBE}={place.installation}",
        },
        tar=archive.getvalue(),
    )
    found = await engine.get("/images/json", **_mine(place.installation))
    if not found:
        raise api.Refused(0, "it has not imported the image of the probe")
    return str(found[0]["Id"])


class _Pipes:
    """A directory with the two pipes, and our ends of them."""

    def __init__(self, directory: str) -> None:
        self._parent = directory

    def __enter__(self) -> Self:
        with os.scandir(self._parent) as entries:
            for entry in entries:
                if entry.name.startswith(DIRECTORY):  # of a daemon that was killed; there is one at a time
                    shutil.rmtree(entry.path, ignore_errors=True)
        self.directory = tempfile.mkdtemp(prefix=DIRECTORY, dir=self._parent)
        self._fds: list[int] = []
        try:
            os.chmod(self.directory, 0o711)  # noqa: S103 - as that of a run's pipes
            for name in ("in", "out"):
                path = os.path.join(self.directory, name)
                os.mkfifo(path)
                os.chmod(path, 0o666)  # noqa: S103 - for whatever user the image has
                # For reading and writing: neither end waits for the other then, nor ends before it.
                self._fds.append(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            os.close(fd)
        shutil.rmtree(self.directory, ignore_errors=True)

    async def exchange(self) -> bool:
        """Send a word; True once it has come back. Another one than ours does not count."""
        word = secrets.token_hex(16).encode()
        os.write(self._fds[0], word)
        await trio.lowlevel.wait_readable(self._fds[1])
        return os.read(self._fds[1], 64) == word


class _Container:
    """The one that runs the program."""

    def __init__(self, engine: api.Api, place: body.Place, image: str, pipes: _Pipes) -> None:
        self._engine = engine
        self._id = ""
        self._request: dict[str, Any] = {
            "Image": image,
            "Entrypoint": ["/probe"],
            "Labels": {PROBE: place.installation},
            "HostConfig": body.confined(place) | body.mount(pipes.directory, "/pipes"),
        }

    async def create(self) -> bool:
        """Create and start it, with an init if the engine has one; whether it has."""
        for init in (True, False):
            self._request["HostConfig"]["Init"] = init
            try:
                created = await self._engine.post("/containers/create", self._request)
                self._id = str(created["Id"])
                await self._engine.post(f"/containers/{self._id}/start")
            except api.Refused as refusal:
                if not init or "init" not in refusal.message:
                    raise
            else:
                return init
        raise AssertionError("the loop has returned or raised")

    async def carry(self, own: _Pipes) -> str | None:
        """Why the word did not come back; None when it did."""
        came = False
        ended: str | None = None
        try:
            async with trio.open_nursery() as nursery:

                async def watch() -> None:
                    nonlocal ended
                    end = await self._engine.post(f"/containers/{self._id}/wait")
                    with trio.move_on_after(1):  # its word may still be on its way
                        await trio.sleep_forever()
                    ended = f"exit code {end.get('StatusCode')}"
                    nursery.cancel_scope.cancel()

                nursery.start_soon(watch)
                with trio.move_on_after(SECONDS):
                    came = await own.exchange()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise nurseries.outcome(group) from None
        if came:
            return None
        return (
            "what a container of this engine writes into a named pipe does not arrive on this host"
            f" ({ended or 'nothing came'}): its containers run in a virtual machine, or tygerd does"
        )
