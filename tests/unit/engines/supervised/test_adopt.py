"""What a run's directory tells, and a supervisor that is slow, strange or dead."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os

import pytest
import trio

from tygerd.engines import base
from tygerd.engines.supervised import adopt
from tygerd.supervisor import control, spec

STATUS = spec.Status(
    run=1,
    status="Failed",
    reason="x",
    exit_code=1,
    started_at=5,
    finished_at=6,
    inputs={},
    outputs={"a": "complete", "b": "failed", "c": "waiting"},
)
FINAL = base.Observation(
    status="Failed", reason="x", started_at=5, finished_at=6, log_size=3, incomplete=("b", "c")
)


@pytest.fixture
def directory(tmp_path):
    """Of a run with a log of three bytes."""
    (tmp_path / spec.LOG).write_text("abc")
    return str(tmp_path)


@pytest.fixture
def lock(directory):
    """The supervisor's lock, held."""
    fd = os.open(os.path.join(directory, spec.LOCK), os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield fd
    os.close(fd)


class Recorder:
    def __init__(self):
        self.seen = []

    async def __call__(self, observation):
        self.seen.append(observation)


async def test_never_started(directory):
    assert not adopt.was_started(directory)
    with pytest.raises(base.NeverStarted):
        await adopt.follow(directory, Recorder())
    await adopt.send(directory, {"command": "cancel"})


async def test_a_directory_that_is_gone(tmp_path):
    with pytest.raises(base.NeverStarted):
        await adopt.follow(str(tmp_path / "gone"), Recorder())


async def test_an_end_that_nobody_saw(directory, lock):
    spec.write_status(directory, STATUS)
    fcntl.flock(lock, fcntl.LOCK_UN)
    assert await adopt.follow(directory, Recorder()) == FINAL


async def test_a_supervisor_that_was_killed(directory, lock):
    spec.write_spec(
        directory,
        spec.Spec(run=1, mains=(), daemon_socket="/s", outputs=(spec.Pipe("out", "id"),)),
    )
    fcntl.flock(lock, fcntl.LOCK_UN)
    end = await adopt.follow(directory, Recorder())
    assert (end.status, end.incomplete, end.log_size) == ("Failed", ("out",), 3)
    assert end.reason == "the supervisor of the run was killed, and its job with it"
    assert end.finished_at is not None


async def test_what_an_image_was_is_told_from_the_start(directory, lock):
    made = spec.Spec(run=1, mains=(), daemon_socket="/s", image_digest="sha256:5")
    spec.write_spec(directory, made)
    recorder = Recorder()
    state = {"event": "state", "phase": "starting", "startedAt": None, "running": None, "log": 0, "pipes": {}}
    async with trio.open_nursery() as nursery:
        await nursery.start(
            serve, directory, [HELLO, state, {"event": "finished", "status": STATUS._asdict()}]
        )
        end = await adopt.follow(directory, recorder)
        nursery.cancel_scope.cancel()
    assert [seen.image_digest for seen in (*recorder.seen, end)] == ["sha256:5"] * 2


OLD_SPEC = (
    '{"version": 1, "run": 7, "argv": ["a"], "env": {"X": "1"}, "cwd": "/", "daemon_socket": "/s",'
    ' "sandboxed": false, "inputs": [["in", "id1", 384]], "outputs": [["out", "id2", 384]], "timeout": 60,'
    ' "cancel_grace": 10.0, "block_size": 4194304, "flush_interval": 1.0, "retry_for": null}'
)
"""As the daemons before version 2 wrote it."""

OLD_STATUS = (
    '{"version": 1, "run": 7, "status": "Failed", "reason": "Main exited with code 3", "exit_code": 3,'
    ' "started_at": 5, "finished_at": 6, "inputs": {"in": "skipped"}, "outputs": {"out": "failed"}}'
)


async def test_a_run_of_an_older_daemon_that_has_ended(tmp_path):
    for name, text in ((spec.SPEC, OLD_SPEC), (spec.STATUS, OLD_STATUS), (spec.LOCK, "")):
        (tmp_path / name).write_text(text)
    end = await adopt.follow(str(tmp_path), Recorder())
    assert (end.status, end.reason, end.incomplete) == ("Failed", "Main exited with code 3", ("out",))
    (tmp_path / spec.STATUS).unlink()
    end = await adopt.follow(str(tmp_path), Recorder())
    assert end.reason == "the supervisor of the run was killed, and its job with it"
    assert end.incomplete == ("out",)


async def test_a_result_that_cannot_be_read(directory, lock):
    with open(os.path.join(directory, spec.STATUS), "w") as file:
        file.write('{"version": 2}')
    fcntl.flock(lock, fcntl.LOCK_UN)
    end = await adopt.follow(directory, Recorder())
    assert (end.status, "cannot be read" in end.reason) == ("Failed", True)


@contextlib.asynccontextmanager
async def listening(directory):
    """A supervisor's socket: who connects next, each time that it is called."""
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    with listener:
        with control.address(directory) as path:
            await listener.bind(path)
        listener.listen()
        yield listener.accept


async def serve(directory, conversation, *, task_status):
    """A supervisor's socket that says these lines to everybody who connects, then closes."""
    async with listening(directory) as accept:
        task_status.started()
        while True:
            sock, _ = await accept()
            with sock:
                for line in conversation:
                    await sock.send(json.dumps(line).encode() + b"\n")


HELLO = {"event": "hello", "protocol": "tyger-supervisor", "version": 1, "run": 1}


async def test_events_become_observations(directory, lock):
    conversation = [
        HELLO,
        {"event": "state", "phase": "starting", "startedAt": None, "log": 0, "pipes": {}},
        {"event": "started", "startedAt": 5},
        {"event": "running", "running": 2},
        {"event": "log", "size": 3},
        {"event": "exited", "exitCode": 1},
        {"event": "something new"},
        {"event": "finished", "status": STATUS._asdict()},
    ]
    recorder = Recorder()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, directory, conversation)
        assert await adopt.follow(directory, recorder) == FINAL
        nursery.cancel_scope.cancel()
    seen = [(seen.status, seen.started_at, seen.running_count, seen.log_size) for seen in recorder.seen]
    assert seen == [
        ("Pending", None, None, 0),
        ("Running", 5, None, 0),
        ("Running", 5, 2, 0),
        ("Running", 5, 2, 3),
        ("Running", 5, 2, 3),
        ("Running", 5, 2, 3),
    ]


@pytest.mark.parametrize("conversation", [[], [HELLO], [{**HELLO, "version": 2}]])
async def test_a_connection_that_tells_no_end_is_made_again(directory, lock, conversation, autojump_clock):
    """By the clock's pauses: until the lock is free."""
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, directory, conversation)

        async def end():
            await trio.sleep(5)
            spec.write_status(directory, STATUS)
            fcntl.flock(lock, fcntl.LOCK_UN)

        nursery.start_soon(end)
        assert await adopt.follow(directory, Recorder()) == FINAL
        nursery.cancel_scope.cancel()


async def test_a_command_is_repeated_until_it_is_accepted(directory, lock):
    heard = []

    async def supervisor(*, task_status):
        async with listening(directory) as accept:
            task_status.started()
            for answer in (None, {"event": "accepted"}):
                sock, _ = await accept()
                with sock:
                    heard.append(json.loads(await sock.recv(1000)))
                    if answer:
                        await sock.send(json.dumps(answer).encode() + b"\n")

    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor)
        await adopt.send(directory, {"command": "cancel", "reason": "r"})
    assert heard == [{"command": "cancel", "reason": "r"}] * 2
