"""A write whose bytes come from a program that we started: its own end counts."""

import os
import signal
import threading

import pytest

from tests.support import scripted, scriptedwrites
from tyger import errors, producer, streams

ATTACHED = scriptedwrites.ATTACHED
COMPLETE = scriptedwrites.COMPLETE
AS_TOLD = scriptedwrites.AS_TOLD

SOON = scriptedwrites.PATIENT._replace(remark=0.001)


@pytest.fixture
def run_producer():
    made = []

    def make(script):
        it = producer.Producer(["sh", "-c", script], os.environ)
        made.append(it)
        return it

    yield make
    for it in made:
        it.end([(signal.SIGKILL, 60)])
        it.close()


@pytest.fixture
def hold(tmp_path):
    """A named pipe that a producer reads a line from, and the descriptor to write it to."""
    path = tmp_path / "hold"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    yield path, fd
    os.close(fd)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("printf 12345", {"outcome": "complete"}),
        ("printf 12345; exit 3", {"outcome": "failed", "reason": "the producer sh exited with code 3"}),
        ("kill -9 $$", {"outcome": "failed", "reason": "the producer sh was ended by SIGKILL"}),
    ],
)
def test_the_producers_own_end_counts(run_producer, stop, script, told, held):
    it, said = run_producer(script), []
    with scripted.Peer(scriptedwrites.taking(held), scriptedwrites.hearing(held, said, COMPLETE)) as peer:
        scriptedwrites.write(peer, it.reader, stop, producer=it)
    assert said == [told]


def test_a_producer_is_not_started_for_a_buffer_that_is_refused(run_producer, stop):
    it = run_producer("true")
    refusal = scripted.answer(404, b'{"error":{"code":"NotFound","message":"The resource was not found"}}')
    with scripted.Peer(scripted.replying(refusal)) as peer, pytest.raises(errors.Problem, match="not found"):
        scriptedwrites.write(peer, it.reader, stop, producer=it)
    assert not it.started


def test_a_producer_that_the_kernel_refuses_fails_the_buffer(tmp_path, stop, held):
    path = tmp_path / "acquire"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    it = producer.Producer([str(path)], os.environ)
    path.unlink()
    with scripted.Peer(scriptedwrites.attaching(held), scriptedwrites.hearing(held, [], AS_TOLD)) as peer:
        result = scriptedwrites.write(peer, it.reader, stop, producer=it)
    it.close()
    assert result.state == "failed"
    assert result.reason == "cannot start acquire: No such file or directory"


def test_a_producer_that_failed_does_not_wait_for_what_holds_its_pipe(run_producer, stop, held, hold):
    pace = scriptedwrites.PATIENT._replace(eof_grace=0.001)
    it = run_producer(f"read x <{hold[0]} & exit 4")
    with scripted.Peer(scriptedwrites.attaching(held), scriptedwrites.hearing(held, [], AS_TOLD)) as peer:
        result = scriptedwrites.write(peer, it.reader, stop, producer=it, pace=pace)
    assert result.reason == "the producer sh exited with code 4"
    os.write(hold[1], b"\n")
    assert os.read(it.reader, 1) == b""  # what held it has ended, too


def test_a_good_producer_whose_child_holds_the_pipe_is_told(run_producer, stop, hold, held):
    it, said, waits = run_producer(f"(read x <{hold[0]}; printf 12345) & exit 0"), [], []

    def progress(moved):
        if moved.waiting and not waits:
            waits.append(moved.waiting)
            os.write(hold[1], b"\n")

    with scripted.Peer(scriptedwrites.taking(held), scriptedwrites.hearing(held, said, COMPLETE)) as peer:
        scriptedwrites.write(peer, it.reader, stop, producer=it, pace=SOON, on_progress=progress)
    assert waits == ["sh has ended, but what it started still holds its output open"]
    assert said == [{"outcome": "complete"}]


def test_one_that_runs_on_without_output_is_waited_for(run_producer, stop, hold, held):
    """Also over a new daemon."""
    it, said, waits = run_producer(f"printf 12345; exec >&-; read x <{hold[0]}; exit 5"), [], []
    told = threading.Event()

    def cut(connection):
        scriptedwrites.through(connection)
        assert told.wait(60)

    def again(connection):
        attachment(connection)
        os.write(hold[1], b"\n")

    def on_progress(moved):
        if moved.waiting:
            waits.append(moved.waiting)
            told.set()

    attachment = scriptedwrites.taking(held)
    with scripted.Peer(cut, again, scriptedwrites.hearing(held, said, AS_TOLD)) as peer:
        scriptedwrites.write(peer, it.reader, stop, producer=it, pace=SOON, on_progress=on_progress)
    assert waits[0] == "sh has closed its output and still runs"
    assert said == [{"outcome": "failed", "reason": "the producer sh exited with code 5"}]


def test_one_that_ended_while_the_daemon_was_away(run_producer, stop, held):
    it, said = run_producer("exit 6"), []

    def cut(connection):
        scriptedwrites.events(connection, ATTACHED)

    def ends_meanwhile(moved):
        if moved.waiting == streams.AWAY:
            assert it.wait(60)

    with scripted.Peer(
        cut, scriptedwrites.taking(held), scriptedwrites.hearing(held, said, COMPLETE)
    ) as peer:
        scriptedwrites.write(peer, it.reader, stop, producer=it, on_progress=ends_meanwhile)
    assert said == [{"outcome": "failed", "reason": "the producer sh exited with code 6"}]
