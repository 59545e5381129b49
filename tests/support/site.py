"""A small site for tests of connections: a handler for each thing that a handler can do."""

import json
import os
import tempfile

import msgspec
import trio

from tyger import errors
from tygerd import config
from tygerd.http import messages
from tygerd.http.router import Route
from tygerd.osutil import fds


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class Log:
    """What handlers saw, for the test to look at."""

    def __init__(self):
        self.ended_by = "not ended"
        self.ended = trio.Event()
        self.begun = trio.Event()
        self.calls = 0
        self.kept = []


async def plain(app: Log, request: messages.Request) -> messages.Response:
    app.calls += 1
    return messages.Response(
        body={"path": request.path, "uid": request.peer.uid, "q": request.query.get("q")}
    )


async def make(app: Log, request: messages.Request, body: Thing) -> messages.Response:
    return messages.Response(201, {"name": body.name}, [("Location", "/things/1")])


async def post(app: Log, request: messages.Request) -> messages.Response:
    return messages.Response(202)


async def problem(app: Log, request: messages.Request) -> messages.Response:
    raise errors.Problem(errors.PRECONDITION_FAILED, "ETag does not match")


async def defect(app: Log, request: messages.Request) -> messages.Response:
    raise ZeroDivisionError("oh")


async def take(app: Log, request: messages.Request) -> messages.Response:
    with os.fdopen(os.dup(request.fds[0].fileno()), "rb") as file:
        return messages.Response(body=file.read())


async def keep(app: Log, request: messages.Request) -> messages.Response:
    app.kept += request.take_fds()
    return messages.Response(204)


async def upload(app: Log, request: messages.Request) -> messages.Response:
    return messages.Response(body=sum([len(piece) async for piece in request.data]))


async def refuse_upload(app: Log, request: messages.Request) -> messages.Response:
    return messages.Response(403)


def file_of(data: bytes) -> fds.OwnedFd:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return fds.OwnedFd(os.dup(file.fileno()))


BIG = bytes(range(256)) * 4096


async def blob(app: Log, request: messages.Request) -> messages.FileResponse:
    return messages.FileResponse(file_of(BIG), len(BIG) - 10, offset=5, headers=[("Content-MD5", "x")])


async def lying_blob(app: Log, request: messages.Request) -> messages.FileResponse:
    return messages.FileResponse(file_of(b"short"), 1000)


async def chunks(app: Log, request: messages.Request) -> messages.StreamResponse:
    async def run(sink: messages.Sink) -> None:
        with file_of(BIG) as file:
            await sink.send(b"one")
            await sink.send_file(file.fileno(), 1, 100)
            await sink.send_file(file.fileno(), 0, len(BIG))
        sink.trailer("Tyger-Error", "none\nat all")

    return messages.StreamResponse(run, 201, [("Trailer", "Tyger-Error")])


async def silent(app: Log, request: messages.Request) -> messages.StreamResponse:
    async def run(sink: messages.Sink) -> None:
        app.begun.set()
        try:
            await sink.send(b"hello")
            await trio.sleep_forever()
        finally:
            app.ended_by = sink.ended_by
            app.ended.set()

    return messages.StreamResponse(run)


async def gushing(app: Log, request: messages.Request) -> messages.StreamResponse:
    async def run(sink: messages.Sink) -> None:
        try:
            with file_of(BIG) as file:
                while True:
                    await sink.send_file(file.fileno(), 0, len(BIG))
        finally:
            app.ended_by = sink.ended_by
            app.ended.set()

    return messages.StreamResponse(run)


def failing(error, announce):
    async def handler(app: Log, request: messages.Request) -> messages.StreamResponse:
        async def run(sink: messages.Sink) -> None:
            await sink.send(b"some")
            raise error

        return messages.StreamResponse(run, headers=[("Trailer", "Tyger-Error")] if announce else [])

    return handler


ROUTES = [
    Route("GET", "/plain/{id}", plain, "x", versioned=False),
    Route("GET", "/versioned", plain, "x"),
    Route("POST", "/things", make, "x", body=Thing, versioned=False),
    Route("POST", "/post", post, "x", versioned=False),
    Route("GET", "/problem", problem, "x", versioned=False),
    Route("GET", "/defect", defect, "x", versioned=False),
    Route("POST", "/take", take, "x", fds=1, versioned=False),
    Route("POST", "/keep", keep, "x", fds=2, versioned=False),
    Route("PUT", "/upload", upload, "x", streams_body=True, versioned=False),
    Route("PUT", "/refused", refuse_upload, "x", streams_body=True, versioned=False),
    Route("GET", "/blob", blob, "x", versioned=False),
    Route("HEAD", "/blob", blob, "x", versioned=False),
    Route("GET", "/lying", lying_blob, "x", versioned=False),
    Route("GET", "/chunks", chunks, "x", versioned=False),
    Route("GET", "/silent", silent, "x", versioned=False),
    Route("GET", "/gushing", gushing, "x", versioned=False),
    Route("GET", "/fails", failing(errors.Problem(errors.CORRUPT, "bad block"), True), "x", versioned=False),
    Route("GET", "/fails/quietly", failing(errors.Problem(errors.CORRUPT, "x"), False), "x", versioned=False),
    Route("GET", "/fails/badly", failing(ZeroDivisionError(), True), "x", versioned=False),
]
LIMITS = config.Limits(body_size=config.Size(1000), block_body_size=config.Size(300_000), fds_per_uid=4)


def code(answer):
    """The status of an error answer, and the machine's word in its body."""
    return answer.status, json.loads(answer.body)["error"]["code"]
