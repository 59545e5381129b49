"""How main ended, as the pod's pump learns it, and what that makes of outputs."""

import signal

import pytest
import trio

from tests.support import pumppods
from tygerd.streams import podlife, podmates, pumppod
from tygerd.supervisor import ending


async def test_a_main_that_failed_fails_its_outputs(pod, caplog):
    """Also one that it had closed a moment ago; the pump itself has not failed."""
    pipes = [pod.buffer(name, name) for name in ("half", "never")]
    async with pumppods.living(pod, "--output=half", "--output=never") as ends:
        await pumppods.in_thread(pumppods.write, pipes[0], b"half")
        pod.ended(7)
    assert ends == [podlife.Life("done")]
    assert [pod.stored(name)[1] for name in ("half", "never")] == [pumppods.FAILED, pumppods.FAILED]
    assert "Main exited with code 7" in caplog.text


async def test_a_pod_that_is_deleted_fails_its_outputs_whatever_main_says(pod):
    pipe = pod.buffer("out", "out")
    async with pumppods.living(pod, "--output=out") as ends:
        await pumppods.in_thread(pumppods.write, pipe, b"all")
        pod.api.deleted = True
        pod.ended(0)
    assert ends == [podlife.Life("done")]
    assert pod.stored("out")[1] == pumppods.FAILED


async def test_an_output_that_main_outlives_is_complete(pod, monkeypatch):
    monkeypatch.setattr(pumppod, "SLOW_SETTLE", 0.05)
    pipe = pod.buffer("out", "out")
    async with pumppods.living(pod, "--output=out", "-f", "1ms") as ends:
        await pumppods.in_thread(pumppods.write, pipe, b"all")
        await pumppods.in_thread(pod.heard, "out", ".bufferend")
        assert pod.stored("out") == (b"all", pumppods.COMPLETE)
        pod.ended(1)
    assert ends == [podlife.Life("done")]


async def test_no_verdict_is_given_while_it_is_not_known_how_main_ended(pod, monkeypatch):
    monkeypatch.setattr(pumppod, "SLOW_SETTLE", 0.01)
    looks = []
    is_doubtful = pumppod.Pump._is_doubtful

    def look(pump):
        looks.append(pump)
        if len(looks) == 10:
            pod.api.main = 9
        return is_doubtful(pump)

    monkeypatch.setattr(pumppod.Pump, "_is_doubtful", look)
    pipe = pod.buffer("out", "out")
    async with pumppods.living(pod, "--output=out"):
        pod.stop.send_nowait(signal.SIGTERM)
        await pumppods.in_thread(pumppods.write, pipe, b"half")
    assert len(looks) >= 10
    assert pod.stored("out")[1] == pumppods.FAILED


async def test_a_main_that_is_seen_need_not_be_waited_for_so_long(pod, monkeypatch):
    """Where processes can be seen, the verdict is a supervisor's, and as fast."""
    monkeypatch.setattr(podmates, "main_lives", lambda: True)
    monkeypatch.setattr(ending, "SETTLE", 0.05)
    pipe = pod.buffer("out", "out")
    async with pumppods.living(pod, "--output=out"):
        await pumppods.in_thread(pumppods.write, pipe, b"all")
        await pumppods.in_thread(pod.heard, "out", ".bufferend")
        pod.ended(1)
    assert pod.stored("out") == (b"all", pumppods.COMPLETE)


async def test_a_main_that_is_seen_to_have_ended_is_heard_of_however_late(pod, monkeypatch):
    """A busy kubelet may take its time: what a crash has cut is not whole."""
    looks = []

    def look():
        looks.append(trio.current_time())
        if len(looks) == 10:
            pod.ended(9)
        return False

    monkeypatch.setattr(podmates, "main_lives", look)
    monkeypatch.setattr(ending, "SETTLE", 0.01)
    pipe = pod.buffer("out", "out")
    async with pumppods.living(pod, "--output=out"):
        await pumppods.in_thread(pumppods.write, pipe, b"half")
    assert len(looks) >= 10
    assert pod.stored("out")[1] == pumppods.FAILED


@pytest.mark.parametrize("settle", [0.05, 60.0])
async def test_a_second_writer_fails_the_run(pod, monkeypatch, settle):
    monkeypatch.setattr(pumppod, "SLOW_SETTLE", settle)
    pipe = pod.buffer("out", "out")
    async with pumppods.living(pod, "--output=out") as ends:
        await pumppods.in_thread(pumppods.write, pipe, b"one")
        await pumppods.in_thread(pod.heard, "out", "00/000")
        if settle < 1:
            await pumppods.in_thread(pod.heard, "out", ".bufferend")
        await pumppods.in_thread(pumppods.write, pipe, b"two")
    [end] = ends
    assert end.stage == "failed"
    assert end.reason.startswith("buffer 'out': the job wrote to its pipe again")
