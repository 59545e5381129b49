"""A run's log out of its containers': on a kubelet in memory, which breaks where a test wants."""

from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import trio

from tests.support import fakekubelet
from tygerd.engines.kubernetes import logfile, logs, logsource, logspool, refusals
from tygerd.supervisor import log

START = 1_700_000_000_000_000_000


def pod(state: str, *, uid: str = "u", restarts: int = 0, leaving: bool = False, last: bool = False) -> Any:
    status: dict[str, Any] = {"name": "main", "restartCount": restarts, "state": {state: {}}}
    if last:
        status["lastState"] = {"terminated": {}}
    metadata = {"uid": uid} | ({"deletionTimestamp": "now"} if leaving else {})
    return {"metadata": metadata, "status": {"containerStatuses": [status]}}


RUNNING, ENDED = pod("running"), pod("terminated")


class Bench:
    """A directory and a kubelet."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.kubelet = fakekubelet.Kubelet()
        self.now = START

    def prints(self, *texts: bytes, name: str = "p", step: int = 1) -> None:
        for text in texts:
            self.now += step
            self.kubelet.prints(name, text, at=self.now)

    def lines(self) -> list[bytes]:
        data = (self.directory / logfile.LOG).read_bytes()
        return [record.split(b" ", 2)[2] for record in data.splitlines()]

    def letters(self) -> bytes:
        data = (self.directory / logfile.LOG).read_bytes()
        return b"".join(record.split(b" ", 2)[1] for record in data.splitlines())

    async def until(self, collector: logs.Collector, holds: Callable[[], bool]) -> None:
        with trio.fail_after(60):
            while True:
                grown = collector.next()
                if holds():
                    return
                await grown.wait()

    def collecting(self, *names: str) -> Any:
        labels = {name: f"[{name}]" if len(names) > 1 else "" for name in names or ("p",)}
        return logs.collecting(self.kubelet, str(self.directory), labels)


@pytest.fixture
def bench(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(logsource, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(logsource, "END_PAUSE", 0.01)
    monkeypatch.setattr(logsource, "LAST_WORDS", 60.0)
    return Bench(tmp_path)


async def test_one_that_has_ended_is_asked_once(bench: Bench) -> None:
    bench.prints(b"a", b"b")
    bench.kubelet.tells = False
    bench.kubelet.ends("p")
    async with bench.collecting() as collector:
        collector.observe({"p": ENDED})
        assert await collector.finish() == os.stat(bench.directory / logfile.LOG).st_size
    assert bench.lines() == [b"a", b"b"]
    assert [request.stream for request in bench.kubelet.requests] == [None, "Neither"]


async def test_one_that_prints_nothing_is_not_asked_for_its_errors(bench: Bench) -> None:
    bench.kubelet.ends("p")
    async with bench.collecting() as collector:
        collector.observe({"p": pod("waiting")})
        collector.observe({"p": ENDED})
        assert await collector.finish() == 0
    assert bench.lines() == []
    assert len(bench.kubelet.requests) == 1


async def test_it_is_followed_through_breaks(bench: Bench) -> None:
    async with bench.collecting() as collector:
        bench.prints(b"0")
        collector.observe({"p": RUNNING})
        for number in range(1, 20):
            await bench.until(collector, lambda number=number: len(bench.lines()) == number)  # type: ignore[misc]
            bench.kubelet.cut()
            if number % 3 == 0:
                bench.kubelet.trouble.append(refusals.Transient("busy", status=503))
            bench.prints(b"%d" % number, step=[1, 10**9][number % 2])
        bench.kubelet.ends("p")
        collector.observe({"p": ENDED})
        await collector.finish()
    assert bench.lines() == [b"%d" % number for number in range(20)]


async def test_another_daemon_goes_on_where_the_first_was(bench: Bench) -> None:
    for number in range(5):
        bench.prints(b"%d" % number)
        async with bench.collecting() as collector:
            collector.observe({"p": RUNNING})
            await bench.until(collector, lambda: len(bench.lines()) > number)  # noqa: B023 - within its turn
    assert bench.lines() == [b"%d" % number for number in range(5)]


async def test_restarts(bench: Bench) -> None:
    """What was printed before the last one is read from what is kept of it, as far as it was not taken."""
    async with bench.collecting() as collector:
        bench.prints(b"a")
        collector.observe({"p": RUNNING})
        await bench.until(collector, lambda: bench.lines() == [b"a"])
        bench.prints(b"b")
        bench.kubelet.restarts("p")
        bench.prints(b"c")
        collector.observe({"p": pod("waiting", restarts=1, last=True)})
        collector.observe({"p": pod("running", restarts=1, last=True)})
        await bench.until(collector, lambda: bench.lines() == [b"a", b"b", b"c"])
        await collector.finish()
    assert bench.lines() == [b"a", b"b", b"c"]


async def test_one_that_waits_to_be_restarted(bench: Bench) -> None:
    async with bench.collecting() as collector:
        bench.prints(b"a")
        bench.kubelet.ends("p")
        collector.observe({"p": pod("waiting", last=True)})
        await bench.until(collector, lambda: bench.lines() == [b"a"])
        await collector.finish()


async def test_a_pod_that_is_replaced(bench: Bench) -> None:
    """By one of the same name, as those of workers are."""
    async with bench.collecting() as collector:
        bench.prints(b"a")
        collector.observe({"p": RUNNING})
        await bench.until(collector, lambda: bench.lines() == [b"a"])
        collector.observe({})
        bench.kubelet.removes("p")
        bench.prints(b"b")
        collector.observe({"p": pod("running", uid="another")})
        await bench.until(collector, lambda: bench.lines() == [b"a", b"b"])
        await collector.finish()


async def test_the_last_words_of_a_pod_that_is_deleted(bench: Bench) -> None:
    """Whoever follows has them, though nobody can ask for them any more; so is a line without an end."""
    async with bench.collecting() as collector:
        bench.prints(b"a")
        collector.observe({"p": RUNNING})
        await bench.until(collector, lambda: bench.lines() == [b"a"])
        bench.prints(b"b")
        bench.kubelet.prints("p", b"bye", at=bench.now + 1, full=False)
        bench.kubelet.removes("p")
        collector.observe({"p": pod("terminated", leaving=True)})
        collector.observe({})
        await collector.finish()
    assert bench.lines() == [b"a", b"b", b"bye"]
    assert bench.letters() == b"OOo"


async def test_what_has_ended_is_taken_before_its_pod_is_deleted(bench: Bench) -> None:
    async with bench.collecting("p", "w") as collector:
        await collector.catch_up()
        bench.prints(b"a")
        bench.kubelet.ends("p")
        bench.kubelet.trouble.append(refusals.Transient("busy", status=503))
        collector.observe({"p": ENDED, "w": pod("running", uid="w")})
        await collector.catch_up()
        bench.kubelet.removes("p")
        await collector.finish()
    assert bench.lines() == [b"[p] a"]


async def test_a_log_that_nobody_has(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come yet, from a kubelet that has just started."""
    monkeypatch.setattr(logsource, "STARTING", 0.1)
    async with bench.collecting() as collector:
        collector.observe({"p": ENDED})
        assert await collector.finish() == 0
    assert len(bench.kubelet.requests) > 1


async def test_a_log_that_comes_late(bench: Bench) -> None:
    bench.prints(b"a")
    bench.kubelet.ends("p")
    bench.kubelet.trouble.append(refusals.NotFound("no such pod here", status=404))
    async with bench.collecting() as collector:
        collector.observe({"p": ENDED})
        await collector.finish()
    assert bench.lines() == [b"a"]


async def test_a_worker_is_cut_where_it_is(bench: Bench) -> None:
    async with bench.collecting("p", "w") as collector:
        bench.prints(b"a")
        bench.prints(b"b", name="w")
        bench.kubelet.ends("p")
        collector.observe({"p": ENDED, "w": pod("running", uid="w")})
        await collector.finish()
    assert sorted(bench.lines()) == [b"[p] a", b"[w] b"]


async def test_letters_of_standard_error(bench: Bench) -> None:
    bench.prints(b"a", b"b", b"c")
    bench.kubelet.errors["p"] = [fakekubelet.Piece(START + 2, b"b")]
    bench.kubelet.ends("p")
    async with bench.collecting() as collector:
        collector.observe({"p": ENDED})
        await collector.finish()
    assert bench.letters() == b"OEO"


async def test_a_node_that_is_gone_for_good(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The end does not wait for it; it does for an API server that cannot be reached."""
    monkeypatch.setattr(logsource, "PATIENCE", 0.0)
    bench.kubelet.trouble += [refusals.Transient("no route"), refusals.Transient("no kubelet", status=500)]
    with caplog.at_level(logging.WARNING):
        async with bench.collecting() as collector:
            collector.observe({"p": ENDED})
            assert await collector.finish() == 0
    assert len(bench.kubelet.requests) == 2
    assert "no kubelet" in caplog.text


async def test_who_may_not_read_logs_is_told_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.kubelet.trouble += [refusals.Refused("pods/log is forbidden", status=403)] * 3
    with caplog.at_level(logging.WARNING):
        async with bench.collecting() as collector:
            collector.observe({"p": RUNNING})
            bench.prints(b"a")
            await bench.until(collector, lambda: bench.lines() == [b"a"])
    assert caplog.text.count("forbidden") == 1


async def test_readers_wait_for_the_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than there is room for, and all of it arrives."""
    monkeypatch.setattr(logspool, "ROOM", 100)
    bench.prints(*(b"%d" % number for number in range(500)))
    bench.kubelet.ends("p")
    async with bench.collecting() as collector:
        collector.observe({"p": ENDED})
        await collector.finish()
    assert bench.lines() == [b"%d" % number for number in range(500)]
    stamps = [record.split(b" ")[0] for record in (bench.directory / logfile.LOG).read_bytes().splitlines()]
    assert stamps == [log.timestamp(START + 1 + number).encode() for number in range(500)]
