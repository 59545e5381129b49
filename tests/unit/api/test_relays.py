"""Ephemeral buffers over a real socket: as the original's client does (raw HTTP), and as ours does."""

import contextlib
import datetime as dt
import json
import os
import select

import h11
import pytest
import trio

from tests.support import served
from tyger import client as client_module
from tyger import errors
from tygerd.api import relays as api
from tygerd.stores import localurls
from tygerd.streams import relay, relays

INPUT, OUTPUT = "run-7-temp-" + "a" * 26, "run-7-temp-" + "b" * 26


@pytest.fixture
async def app(app, nursery, tmp_path):
    urls = localurls.LocalUrls(app.signer, "/s")
    app.relays = relays.Relays(urls, reattach_grace=60)
    await nursery.start(app.relays.run)
    app.relays.expect(7, {"in": INPUT, "out": OUTPUT}, ["in"])
    return app


@pytest.fixture
async def daemon(app):
    async with served.serving(app, api.ROUTES, app.config.limits) as served_client:
        yield served_client
        app.relays.end(7, "the test is over")


def target(app, name, *, writeable=False):
    """The request target of an access URL, as a client takes it from the URL."""
    return app.relays.url(name, dt.timedelta(hours=1), writeable).partition("/s:")[2]


class Exchange:
    """One request of which the body and the answer go on side by side."""

    def __init__(self, stream, method, where):
        self._stream = stream
        self._framing = h11.Connection(h11.CLIENT)
        fields = [("Host", "tyger-server"), ("Accept-Encoding", "gzip")]
        fields += [("Transfer-Encoding", "chunked")] if method == "PUT" else []
        self._head = h11.Request(method=method, target=where, headers=fields)

    async def begin(self):
        await self._stream.send_all(self._framing.send(self._head))
        return self

    async def send(self, data):
        await self._stream.send_all(self._framing.send(h11.Data(data=data)))

    async def end(self):
        await self._stream.send_all(self._framing.send(h11.EndOfMessage()))

    async def event(self):
        while (event := self._framing.next_event()) is h11.NEED_DATA:
            self._framing.receive_data(await self._stream.receive_some())
        return event

    async def status(self):
        answer = await self.event()
        headers = {name.decode(): value.decode() for name, value in answer.headers}
        return answer.status_code, headers.get("x-ms-error-code")

    async def read(self):
        """The next piece of the body; at its end the trailers."""
        event = await self.event()
        return bytes(event.data) if isinstance(event, h11.Data) else dict(event.headers)


@contextlib.asynccontextmanager
async def exchange(daemon, method, where):
    async with await trio.open_unix_socket(daemon.path) as stream:
        made = Exchange(stream, method, where)
        if method != "PUT":
            await made.begin()
            await made.end()
        else:
            await made.begin()
        yield made


class Job:
    """The job's end of a stream, as the supervisor makes it: our own client, its pipe passed."""

    def __init__(self, daemon, name, *, job=True):
        self._client = client_module.Client(daemon.path)
        self._name = name
        self._job = job
        reader, writer = os.pipe()
        self._role = "read" if name == INPUT else "write"
        if not job:
            self._role = "write" if name == INPUT else "read"
        self.passed, self.fd = (writer, reader) if self._role == "read" else (reader, writer)
        self.events = []

    def open(self):
        body = {"job": self._job}
        self._stream = self._client.stream(
            "POST", f"/relays/{self._name}/{self._role}", body=body, fds=[self.passed]
        )
        os.close(self.passed)
        self.passed = -1
        self._lines = self._stream.lines()

    def until(self, event):
        while not self.events or self.events[-1]["event"] != event:
            self.events.append(json.loads(next(self._lines)))
        return self.events[-1]

    def say(self, outcome, reason=None):
        body = {"outcome": outcome} | ({"reason": reason} if reason else {})
        self._client.request("POST", f"/relays/{self._name}/outcome", body=body)

    def shut(self):
        os.close(self.fd)
        self.fd = -1

    def leave(self):
        self._stream.close()

    def close(self):
        if hasattr(self, "_stream"):
            self._stream.close()
        for fd in (self.passed, self.fd):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def joins(daemon):
    with contextlib.ExitStack() as stack:

        def make(name, **options):
            return stack.enter_context(contextlib.closing(Job(daemon, name, **options)))

        yield make


def do(work, *arguments):
    return trio.to_thread.run_sync(work, *arguments)


# --- as the original's client ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [INPUT, OUTPUT])
async def test_a_ping_needs_no_signature(daemon, name):
    assert (await daemon.call("HEAD", f"/relays/{name}")).status == 200
    assert (await daemon.call("HEAD", "/relays/abc")).status == 404


async def test_an_upload_goes_on_as_it_comes(daemon, app, joins):
    job = joins(INPUT)
    async with exchange(daemon, "PUT", target(app, INPUT, writeable=True)) as upload:
        await upload.send(b"before the job is there")
        await do(job.open)
        assert await do(os.read, job.fd, 100) == b"before the job is there"
        for number in range(5):
            await upload.send(b"%d" % number)
            assert await do(os.read, job.fd, 100) == b"%d" % number
        await upload.end()
        assert (await upload.status()) == (202, None)
    assert await do(job.until, "complete") == {"event": "complete", "bytes": 28}
    assert await do(os.read, job.fd, 100) == b""


async def test_a_large_upload_with_a_length(daemon, app, joins):
    job = joins(INPUT)
    await do(job.open)
    data = os.urandom(3_000_000)  # ten times as much as the site takes of a block
    got = bytearray()

    def take():
        while piece := os.read(job.fd, 1 << 20):
            got.extend(piece)

    async with trio.open_nursery() as inner:
        inner.start_soon(do, take)
        answer = await daemon.call("PUT", target(app, INPUT, writeable=True), data)
        assert (answer.status, answer.body) == (202, b"")
    assert bytes(got) == data


async def test_a_download_goes_on_as_it_comes(daemon, app, joins):
    job = joins(OUTPUT)
    async with exchange(daemon, "GET", target(app, OUTPUT)) as download:
        assert await download.status() == (200, None)  # at once, whatever the job does
        await do(job.open)
        for number in range(5):
            os.write(job.fd, b"%d" % number)
            assert await download.read() == b"%d" % number
        job.shut()
        await do(job.until, "eof")
        await do(job.say, "complete")
        assert await download.read() == {}
    assert (await do(job.until, "complete"))["bytes"] == 5


async def test_a_large_download(daemon, app, joins):
    job = joins(OUTPUT)
    data = os.urandom(3_000_000)

    def produce():
        job.open()
        with open(job.fd, "wb", closefd=False) as file:
            file.write(data)
        job.shut()
        job.until("eof")
        job.say("complete")

    async with trio.open_nursery() as inner:
        inner.start_soon(do, produce)
        assert (await daemon.call("GET", target(app, OUTPUT))).body == data


async def test_signatures(daemon, app):
    for method, name in (("PUT", INPUT), ("GET", OUTPUT)):
        unsigned = await daemon.call(method, f"/relays/{name}")
        assert unsigned.error == (403, "AuthenticationFailed", None)
    reading = await daemon.call("PUT", target(app, INPUT))
    assert reading.error == (403, "AuthorizationPermissionMismatch", None)
    other = target(app, INPUT).replace(INPUT, OUTPUT)
    assert (await daemon.call("GET", other)).error == (403, "AuthenticationFailed", None)


async def test_the_wrong_way(daemon, app):
    assert (await daemon.call("PUT", target(app, OUTPUT, writeable=True))).status == 405
    assert (await daemon.call("GET", target(app, INPUT))).status == 405


async def test_each_is_called_once(daemon, app):
    where = target(app, INPUT, writeable=True)
    async with exchange(daemon, "PUT", where) as first:
        await first.send(b"x")
        relayed = app.relays.find(INPUT)
        while not relayed._ends:
            changed = relayed.changed
            await changed.wait()
        assert (await daemon.call("PUT", where)).error == (400, "AlreadyCalled", None)
    where = target(app, OUTPUT)
    async with exchange(daemon, "GET", where) as first:
        await first.status()
        assert (await daemon.call("GET", where)).error == (400, "AlreadyCalled", None)


async def test_what_is_gone(daemon, app):
    where = target(app, INPUT, writeable=True).replace("aaa", "ccc")
    assert (await daemon.call("PUT", where)).error == (404, "ContainerNotFound", None)


async def test_an_upload_that_is_cut_fails_the_stream(daemon, app, joins):
    job = joins(INPUT)
    async with exchange(daemon, "PUT", target(app, INPUT, writeable=True)) as upload:
        await upload.send(b"half")
        await do(job.open)
        assert await do(os.read, job.fd, 100) == b"half"
    assert (await do(job.until, "failed"))["reason"] == relay.WRITER_GONE


async def test_a_job_that_has_had_enough(daemon, app, joins):
    job = joins(INPUT)
    async with exchange(daemon, "PUT", target(app, INPUT, writeable=True)) as upload:
        await upload.send(b"half")
        await do(job.open)
        await do(os.read, job.fd, 100)
        job.leave()
        assert await upload.status() == (500, None)


async def test_a_download_whose_writer_fails(daemon, app, joins):
    job = joins(OUTPUT)
    async with exchange(daemon, "GET", target(app, OUTPUT)) as download:
        await download.status()
        await do(job.open)
        os.write(job.fd, b"half")
        assert await download.read() == b"half"
        await do(job.say, "failed", "exit code 3")
        assert await download.read() == {b"x-ms-error-code": b"TransferFailed"}


async def test_a_download_whose_client_leaves(daemon, app, joins):
    job = joins(OUTPUT)
    async with exchange(daemon, "GET", target(app, OUTPUT)) as download:
        await download.status()
        await do(job.open)
        await do(job.until, "joined")
    assert (await do(job.until, "closed"))["reason"] == relay.READER_GONE


async def test_a_job_that_never_opened_its_pipes(daemon, app):
    async with (
        exchange(daemon, "PUT", target(app, INPUT, writeable=True)) as upload,
        exchange(daemon, "GET", target(app, OUTPUT)) as download,
    ):
        await download.status()
        await upload.send(b"x" * 100)
        urls = [target(app, OUTPUT), target(app, INPUT, writeable=True)]
        app.relays.end(7, None)
        await upload.send(b"y" * 100)
        await upload.end()
        assert await upload.status() == (202, None)
        assert await download.read() == {b"x-ms-error-code": b"FailedToOpenReader"}
    # For a minute it answers so to those who come late.
    assert (await daemon.call("GET", urls[0])).error == (500, "FailedToOpenReader", None)
    assert (await daemon.call("PUT", urls[1], b"late")).status == 202


async def test_a_run_that_is_canceled_while_a_reader_waits(daemon, app):
    async with exchange(daemon, "GET", target(app, OUTPUT)) as download:
        await download.status()
        app.relays.end(7, "Canceled by user")
        assert await download.read() == {b"x-ms-error-code": b"ContextCancelled"}


async def test_a_daemon_that_stops_keeps_nobody_who_cannot_come_back(daemon, app):
    async with exchange(daemon, "PUT", target(app, INPUT, writeable=True)) as upload:
        await upload.send(b"x")
        relayed = app.relays.find(INPUT)
        while not relayed._ends:
            changed = relayed.changed
            await changed.wait()
        app.relays.stop()
        assert await upload.status() == (500, None)


# --- as our client ---------------------------------------------------------------------------------------


async def test_two_pipes(app, joins):
    user, job = joins(INPUT, job=False), joins(INPUT)
    await do(user.open)
    await do(job.open)
    os.write(user.fd, b"spliced")
    assert await do(os.read, job.fd, 100) == b"spliced"
    user.shut()
    await do(user.until, "eof")
    await do(user.say, "complete")
    assert (await do(user.until, "complete")) == (await do(job.until, "complete"))


async def test_a_client_that_goes_away(joins):
    user, job = joins(INPUT, job=False), joins(INPUT)
    await do(user.open)
    await do(job.open)
    await do(job.until, "joined")
    user.leave()
    assert (await do(job.until, "failed"))["reason"] == relay.WRITER_GONE
    closed = select.poll()
    closed.register(user.fd, 0)
    assert await do(closed.poll, 30_000) == [(user.fd, select.POLLERR)]


async def test_refusals(daemon, joins):
    refused = joins(INPUT, job=False)
    refused._role = "read"
    with pytest.raises(errors.Problem, match="an input buffer and cannot be read from"):
        refused.passed, refused.fd = refused.fd, refused.passed
        await do(refused.open)
    client = client_module.Client(daemon.path)

    def ask(where, fd):
        with pytest.raises(errors.Problem) as caught:
            client.request("POST", where, body={}, fds=[fd])
        return caught.value.message

    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "wb"), open(os.devnull, "rb") as nothing:
        assert await do(ask, f"/relays/{INPUT}/write", nothing.fileno()) == "the descriptor is not a pipe"
        said = await do(ask, f"/relays/{INPUT}/write", writer)
        assert said == "the descriptor is the write end of its pipe"
        said = await do(ask, f"/relays/{OUTPUT}/read", reader)
        assert said == "the descriptor is the read end of its pipe"
        said = await do(ask, f"/relays/{INPUT}c/write", reader)
        assert said == "buffer relay server does not exist"
