"""One ephemeral buffer: its ends, what they are told, and how it ends."""

import contextlib
import os
import pathlib
import pty
import signal

import pytest
import trio

from tyger import errors
from tygerd.streams import relay


class Side:
    """One end with its pipe: `fd` is what a test writes to or reads from, `events` what the end was told."""

    def __init__(self, it, role, **options):
        reader, writer = os.pipe()
        self.passed, self.fd = (reader, writer) if role == "writer" else (writer, reader)
        options.setdefault("of_job", role == it.job_role)
        self.end = relay.End(role, self.passed, **options)
        self.events = []
        self._told = trio.Event()
        self._relay = it

    @property
    def told(self):
        return [event["event"] for event in self.events if event["event"] != "progress"]

    async def serve(self, task_status=trio.TASK_STATUS_IGNORED):
        """As a request does: until the stream is over, or the client gone."""
        self._relay.claim(self.end)
        try:
            with trio.CancelScope() as self.connection:
                task_status.started()
                await self._relay.follow(self.end, self._report)
        finally:
            await self._relay.leave(self.end, gone=True)
            self.drop()

    async def _report(self, event):
        self.events.append(event)
        self._told.set()
        self._told = trio.Event()

    async def hears(self, event):
        while event not in self.told:
            await self._told.wait()

    def close(self):
        for fd in (self.fd, self.passed):
            if fd >= 0:
                os.close(fd)

    def drop(self):
        if self.passed >= 0:
            os.close(self.passed)
            self.passed = -1

    def shut(self):
        os.close(self.fd)
        self.fd = -1


@pytest.fixture
def sides():
    with contextlib.ExitStack() as stack:

        def make(it, role, **options):
            return stack.enter_context(contextlib.closing(Side(it, role, **options)))

        yield make


@pytest.fixture(params=["input", "output"])
def it(request, nursery):
    return relay.Relay("run-1-temp-a", request.param, nursery.start_soon, grace=60)


async def read(side, count=100):
    return await trio.to_thread.run_sync(os.read, side.fd, count)


async def phase(it, wanted):
    while it.phase is not wanted:
        changed = it.changed
        await changed.wait()


async def pair(it, sides, nursery, **options):
    writer, reader = sides(it, "writer", **options), sides(it, "reader", **options)
    await nursery.start(writer.serve)
    await nursery.start(reader.serve)
    return writer, reader


async def test_a_stream_from_end_to_end(it, sides, nursery):
    writer, reader = await pair(it, sides, nursery)
    os.write(writer.fd, b"some bytes")
    assert await read(reader) == b"some bytes"
    with pytest.raises(errors.Problem, match="end of file has not been seen"):
        it.say("complete", None)
    writer.shut()
    await writer.hears("eof")
    it.say("complete", None)
    it.say("complete", None)
    await reader.hears("complete")
    await writer.hears("complete")
    assert await read(reader) == b""  # nobody has the write end any more
    assert writer.told == ["attached", "joined", "eof", "complete"]
    assert reader.told == ["attached", "joined", "complete"]
    assert writer.events[-1] == reader.events[-1] == {"event": "complete", "bytes": 10}
    with pytest.raises(errors.Problem, match="already complete"):
        it.say("failed", "too late")


async def test_each_end_is_claimed_once(it, sides, nursery):
    await pair(it, sides, nursery)
    for role in ("writer", "reader"):
        with pytest.raises(errors.Problem, match=relay.ALREADY_CALLED):
            it.claim(sides(it, role).end)


async def test_the_jobs_end_is_the_jobs(it, sides):
    said = "an input buffer and cannot be read from"
    if it.direction == "output":
        said = "an output buffer and cannot be written to"
    with pytest.raises(relay.WrongWayError, match=said):
        it.claim(sides(it, it.job_role, of_job=False).end)
    other = "writer" if it.job_role == "reader" else "reader"
    with pytest.raises(relay.WrongWayError):
        it.claim(sides(it, other, of_job=True).end)


@pytest.mark.parametrize("role", ["writer", "reader"])
async def test_an_end_that_waits_is_told_for_what(it, sides, nursery, autojump_clock, role):
    side = sides(it, role)
    await nursery.start(side.serve)
    await trio.sleep(relay.QUIET / 2)
    assert side.events == [{"event": "attached"}]
    await trio.sleep(relay.QUIET)
    said = "the job has not opened its pipe yet"
    if role == it.job_role:
        said = f"its {'reader' if role == 'writer' else 'writer'} has not come yet"
    assert side.events[1:] == [{"event": "progress", "bytes": 0, "waiting": said}]


async def test_a_writer_that_is_gone_fails_it(it, sides, nursery):
    writer, reader = await pair(it, sides, nursery)
    os.write(writer.fd, b"half")
    assert await read(reader) == b"half"
    writer.connection.cancel()
    await reader.hears("failed")
    why = relay.WRITER_GONE if it.direction == "input" else relay.JOB_LOST
    assert reader.events[-1] == {"event": "failed", "bytes": 4, "reason": why}
    with pytest.raises(BrokenPipeError):
        os.write(writer.fd, b"more")


async def test_a_reader_that_is_gone_closes_it(it, sides, nursery):
    writer, reader = await pair(it, sides, nursery)
    await phase(it, relay.Phase.MOVING)
    reader.connection.cancel()
    await writer.hears("closed")
    why = relay.JOB_HAD_ENOUGH if it.direction == "input" else relay.READER_GONE
    assert writer.events[-1] == {"event": "closed", "bytes": 0, "reason": why}


async def test_a_pipe_that_nobody_reads_closes_it(it, sides, nursery):
    _, reader = await pair(it, sides, nursery)
    reader.shut()
    await it.over.wait()
    assert (it.phase, it.reason) == (relay.Phase.CLOSED, relay.READER_GONE)


async def test_the_writers_word_fails_it_at_any_time(it, sides, nursery):
    writer, reader = await pair(it, sides, nursery)
    it.say("failed", "exit code 3")
    await trio.testing.wait_all_tasks_blocked()
    assert reader.events[-1]["reason"] == writer.events[-1]["reason"] == "exit code 3"


async def test_a_user_who_waits_may_give_up_and_another_one_come(nursery, sides):
    it = relay.Relay("run-1-temp-a", "output", nursery.start_soon, grace=60)
    first = sides(it, "reader")
    await nursery.start(first.serve)
    first.connection.cancel()
    await trio.testing.wait_all_tasks_blocked()
    writer, reader = await pair(it, sides, nursery)
    os.write(writer.fd, b"x")
    assert await read(reader) == b"x"
    it.end("over")


@pytest.mark.parametrize(
    ("direction", "failure", "expected", "reason"),
    [
        ("input", None, "closed", relay.NEVER_OPENED),
        ("output", None, "failed", relay.FAILED_TO_OPEN),
        ("input", "it crashed", "failed", "it crashed"),
        ("output", "it crashed", "failed", "it crashed"),
    ],
)
async def test_a_job_that_never_opens_its_pipe(nursery, sides, direction, failure, expected, reason):
    it = relay.Relay("run-1-temp-a", direction, nursery.start_soon, grace=60)
    user = sides(it, "writer" if direction == "input" else "reader")
    await nursery.start(user.serve)
    it.end(failure)
    it.end("twice changes nothing")
    await trio.testing.wait_all_tasks_blocked()
    assert it.never_opened
    assert user.events[-1] == {"event": expected, "bytes": 0, "reason": reason}
    with pytest.raises(relay.AlreadyCalledError):
        it.claim(sides(it, user.end.role).end)
    late = "reader" if direction == "input" else "writer"
    with pytest.raises(errors.Problem, match=reason.partition(":")[0]):
        it.claim(sides(it, late).end)


async def test_whoever_holds_a_pipes_lock_holds_nobody_else(it, sides, nursery, monkeypatch):
    """He splices from a terminal into the pipe that he passed to us, and never types."""
    monkeypatch.setattr(relay, "HALT_PATIENCE", 0.1)
    writer, reader = sides(it, "writer"), sides(it, "reader")
    master, terminal = pty.openpty()
    child = os.fork()
    if child == 0:
        try:
            os.splice(terminal, writer.fd, 100)
        finally:
            os._exit(0)
    try:
        splicing(child)
        await nursery.start(writer.serve)
        await nursery.start(reader.serve)
        await phase(it, relay.Phase.MOVING)
        await trio.to_thread.run_sync(splicing, os.getpid())
        reader.connection.cancel()
        await writer.hears("closed")
    finally:
        os.kill(child, signal.SIGKILL)
        await trio.to_thread.run_sync(os.waitpid, child, 0)
        os.close(master)
        os.close(terminal)


def splicing(process):
    """Wait until a thread of a process is in `splice`."""
    tasks = pathlib.Path(f"/proc/{process}/task")
    while not any(map(in_splice, tasks.iterdir())):
        os.sched_yield()


def in_splice(task):
    with contextlib.suppress(OSError):  # it has ended meanwhile
        return task.joinpath("syscall").read_text().startswith(f"{SPLICE} ")
    return False


SPLICE = "275"
"""Its number on x86-64, as /proc/PID/syscall shows it."""


# --- another daemon --------------------------------------------------------------------------------------


async def test_both_come_back_to_the_next_daemon(it, sides, nursery):
    writer, reader = await pair(it, sides, nursery)
    os.write(writer.fd, b"before ")
    await phase(it, relay.Phase.MOVING)
    for side in (writer, reader):
        await it.leave(side.end, gone=False)
    os.write(writer.fd, b"and after")
    again = relay.Relay(it.name, it.direction, nursery.start_soon, grace=60)
    for side in (writer, reader):
        end = relay.End(side.end.role, side.passed, of_job=side.end.of_job, joined=True)
        again.claim(end)
        nursery.start_soon(again.follow, end, side._report)
    writer.shut()
    await phase(again, relay.Phase.ENDED)
    again.say("complete", None)
    reader.drop()
    with open(reader.fd, "rb", closefd=False) as output:
        assert output.read() == b"before and after"
    it.end(None)


async def test_who_comes_back_alone_is_told_so(it, sides, nursery, autojump_clock):
    writer = sides(it, "writer", joined=True)
    await nursery.start(writer.serve)
    await it.over.wait()
    assert (it.phase, it.reason) == (relay.Phase.FAILED, relay.NOT_BACK)


async def test_a_new_end_is_not_joined_to_half_a_stream(it, sides, nursery):
    await nursery.start(sides(it, "writer", joined=True).serve)
    await nursery.start(sides(it, "reader").serve)
    assert (it.phase, it.reason) == (relay.Phase.FAILED, relay.NOT_BACK)


async def test_an_http_end_cannot_come_back(it, sides, nursery):
    writer, reader = sides(it, "writer"), sides(it, "reader", comes_back=False)
    await nursery.start(writer.serve)
    await nursery.start(reader.serve)
    await phase(it, relay.Phase.MOVING)
    it.stop()
    assert (it.phase, it.reason) == (relay.Phase.FAILED, relay.STOPS)
