"""The transfers of a pod, without a pod: `test_pumppod` has all that a pump does with them."""

import dataclasses
import os

import pytest
import trio

from tests.support import blobserver
from tygerd.streams import podpipes


def fifo(tmp_path, name):
    os.mkfifo(tmp_path / name)
    return str(tmp_path / name)


def take_all(path):
    with open(path, "rb", buffering=0) as file:
        return file.read()


async def in_thread(*call):
    return await trio.to_thread.run_sync(*call)


async def filled(remote, scene, tmp_path, data):
    """Make `buffer1` complete."""
    path = fifo(tmp_path, "made")
    out = podpipes.Output("made", path, remote, scene, str(tmp_path / "spool"))

    def job():
        with open(path, "wb") as file:
            file.write(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.run)
        await in_thread(job)
        await trio.lowlevel.wait_readable(scene.end.changed)
        assert not out.ended  # a second writer is watched for
        nursery.cancel_scope.cancel()
    assert (out.state, out.ended) == ("complete", True)


async def test_inputs_that_are_never_opened_take_nobodys_threads(server, remote, connecting, scene, tmp_path):
    """More of them than trio has threads; one that main opens is moved all the same."""
    await filled(remote, scene, tmp_path, b"abc" * 9999)
    idle = [
        podpipes.Input(f"i{number}", fifo(tmp_path, f"i{number}"), connecting(), scene)
        for number in range(60)
    ]
    read = podpipes.Input("read", fifo(tmp_path, "read"), connecting(), scene)
    async with trio.open_nursery() as nursery:
        for each in (*idle, read):
            nursery.start_soon(each.run)
        assert await in_thread(take_all, str(tmp_path / "read")) == b"abc" * 9999
        scene.over.set()
    assert ({each.state for each in idle}, read.state) == ({"skipped"}, "complete")
    assert not scene.end.wanted


async def test_cancelled_what_was_not_begun_has_failed(server, remote, scene, tmp_path):
    """Main ended at once, and what a port was to give never came."""
    out = podpipes.Output("out", fifo(tmp_path, "out"), remote, scene, str(tmp_path / "spool"))
    server.fault("HEAD", ".bufferstart", blobserver.SILENCE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.run)
        await in_thread(server.until_met)
        assert ".bufferstart" not in server.blobs
        nursery.cancel_scope.cancel()
    assert (out.state, out.ended) == ("failed", True)
    assert server.stored(".bufferend") == b'{"status":"failed"}'


async def test_cancelled_what_is_not_whole_has_failed(server, remote, scene, tmp_path):
    path = fifo(tmp_path, "out")
    out = podpipes.Output("out", path, remote, scene, str(tmp_path / "spool"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.run)
        fd = await in_thread(os.open, path, os.O_WRONLY)
        await in_thread(server.wait, lambda: ".bufferstart" in server.blobs)
        nursery.cancel_scope.cancel()
    os.close(fd)
    assert (out.state, out.ended, scene.end.wanted) == ("failed", True, False)
    assert server.stored(".bufferend") == b'{"status":"failed"}'


@pytest.mark.parametrize("keeps", [True, False])
async def test_main_hears_of_trouble_when_the_pump_ends(connecting, server, scene, tmp_path, keeps):
    """Not before, or its own end by a broken pipe would pass for the cause."""
    scene = dataclasses.replace(scene, kept=[] if keeps else None)
    path = fifo(tmp_path, "out")
    out = podpipes.Output("out", path, connecting(), scene, str(tmp_path / "spool"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.run)
        fd = await in_thread(os.open, path, os.O_WRONLY)
        os.write(fd, b"x")
        await in_thread(server.wait, lambda: ".bufferstart" in server.blobs)
        nursery.cancel_scope.cancel()
    if keeps:
        assert os.write(fd, b"y") == 1
        for each in scene.kept:
            os.close(each)
    with pytest.raises(BrokenPipeError):
        os.write(fd, b"z")
    os.close(fd)
