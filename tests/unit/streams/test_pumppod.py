"""A pod's pump in this process: what goes through its pipes, and what is in their place."""

import contextlib
import os

import pytest
import trio

from tests.support import pumppods
from tyger import errors
from tygerd.streams import podlife

DATA = os.urandom(300_000)


async def test_there_and_back(pod):
    pipe = await pumppods.filled(pod, "in", DATA)
    assert pod.stored("in") == (DATA, pumppods.COMPLETE)
    async with pumppods.living(pod, "--input=in") as ends:
        assert await pumppods.in_thread(pumppods.read, pipe) == DATA
        pod.ended(0)
    assert ends == [podlife.Life("done")]


async def test_many_buffers_at_once(pod):
    """More than trio has threads; main opens all of them before it writes to any."""
    names = [f"out{number}" for number in range(50)]
    pipes = [pod.buffer(name, name) for name in names]

    def main():
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(open(pipe, "wb", buffering=0)) for pipe in pipes]
            for name, file in zip(names, files, strict=True):
                file.write(name.encode())

    async with pumppods.living(pod, *(f"--output={name}" for name in names)) as ends:
        await pumppods.in_thread(main)
        pod.ended(0)
    assert ends == [podlife.Life("done")]
    assert [pod.stored(name) for name in names] == [(name.encode(), pumppods.COMPLETE) for name in names]


async def test_pipes_that_main_never_opened(pod):
    await pumppods.filled(pod, "in", DATA)
    pod.buffer("out", "out")
    pod.ended(0)
    assert await pod.live("--input=in", "--output=out") == podlife.Life("done")
    assert pod.stored("out") == (b"", pumppods.COMPLETE)


async def test_an_input_may_be_left_unread_and_opened_again(pod):
    pipe = await pumppods.filled(pod, "in", DATA)
    async with pumppods.living(pod, "--input=in") as ends:
        assert await pumppods.in_thread(pumppods.read, pipe, 10) == DATA[:10]
        assert await pumppods.in_thread(pumppods.read, pipe, 10) == DATA[10:20]
        pod.ended(0)
    assert ends == [podlife.Life("done")]


async def test_a_file_in_the_place_of_a_pipe(pod):
    pipe = pod.buffer("out", "out")
    async with pumppods.living(pod, "--output=out") as ends:
        await pumppods.in_thread(pod.heard, "out", ".bufferstart")
        os.unlink(pipe)
        pumppods.write(pipe, b"lost")
        pod.ended(0)
    assert ends[0].reason.startswith("buffer 'out': the job has put a file in the place of its pipe")
    assert pod.stored("out")[1] == pumppods.FAILED


async def test_an_input_that_fails_fails_the_run_and_all_outputs(pod):
    pod.buffer("in", "in", "reader")
    pod.server.containers.pop("in")
    pipes = [str(pod.path / "fifos/in"), pod.buffer("out", "out")]
    async with pumppods.living(pod, "--input=in", "--output=out") as ends, trio.open_nursery() as nursery:
        nursery.start_soon(pumppods.in_thread, pumppods.read, pipes[0])
    assert ends == [podlife.Life("failed", "buffer 'in': the buffer does not exist")]
    assert pod.stored("out")[1] == pumppods.FAILED


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--input=gone"], "buffer 'gone': .*/access/gone is not an access URL, and as a file it cannot"),
        (["--socket=80:nothing:"], "socket 80: cannot open .*/fifos/nothing: No such file"),
    ],
)
async def test_what_is_missing_is_named(pod, argv, words):
    with pytest.raises(errors.Problem, match=words):
        await pod.live(*argv)


async def test_a_pipe_that_is_none(pod):
    pod.buffer("out", "out")
    os.unlink(pod.path / "fifos/out")
    (pod.path / "fifos/out").write_text("a file")
    assert "is not a named pipe" in (await pod.live("--output=out")).reason
