"""The adapter between a port of main and the pipes of its buffers, with real sockets and pipes."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from tests.support import joined, leftovers
from tygerd.supervisor import bridge, ending


def test_bytes_go_both_ways_and_the_ends_are_told_apart(join, listener):
    it = join()
    with joined.accept(listener) as main:
        it.send(b"question")
        assert main.recv(100) == b"question"
        main.sendall(b"answer")
        assert it.some() == b"answer"
        it.finish()
        assert main.recv(100) == b""  # half-closed: it may go on to answer
        main.sendall(b"and more")
        main.close()
        assert it.received() == b"and more"
    assert it.result() == ("complete", None)


def test_large_streams_both_ways_at_once(join, listener):
    it = join()
    content, answer = os.urandom(5_000_000), os.urandom(7_000_000)
    with joined.accept(listener) as main:
        taken: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: (it.send(content), it.finish())),
            threading.Thread(target=lambda: (main.sendall(answer), main.shutdown(socket.SHUT_WR))),
            threading.Thread(target=lambda: taken.append(joined.everything(main))),
        ]
        for thread in threads:
            thread.start()
        assert it.received() == answer
        for thread in threads:
            thread.join()
    assert taken == [content]
    assert it.result() == ("complete", None)


def test_without_an_input_the_sending_half_is_closed_at_once(join, listener):
    it = join(takes=False)
    with joined.accept(listener) as main:
        assert main.recv(1) == b""
        main.sendall(b"only an answer")
    assert it.received() == b"only an answer"
    assert it.result() == ("complete", None)


def test_without_an_output_what_comes_is_discarded(join, listener):
    it = join(gives=False)
    with joined.accept(listener) as main:
        main.sendall(bytes(5_000_000))
        it.send(b"x")
        it.finish()
        assert joined.everything(main) == b"x"
    assert it.result() == ("complete", None)


def test_an_output_may_end_long_before_the_input(join, listener):
    it = join()
    with joined.accept(listener) as main:
        main.sendall(b"done")
        main.shutdown(socket.SHUT_WR)
        assert it.received() == b"done"
        it.send(b"still")
        it.finish()
        assert joined.everything(main) == b"still"
    assert it.result() == ("complete", None)


def test_main_leaves_before_it_has_taken_all(join, listener):
    it = join()
    with joined.accept(listener) as main:
        it.send(b"0123456789")
        assert main.recv(4) == b"0123"
    reason = "socket 8080: main closed its connection before it had taken all of its input"
    assert it.result() == ("failed", reason)
    assert it.received() == b""


def test_main_goes_away_while_the_input_is_quiet(join, listener):
    it = join()
    main = joined.accept(listener)
    main.shutdown(socket.SHUT_WR)
    assert it.received() == b""
    joined.reset(main)
    reason = "socket 8080: main closed its connection before it had taken all of its input"
    assert it.result() == ("failed", reason)


def test_main_breaks_its_connection_off(join, listener):
    it = join(takes=False)
    main = joined.accept(listener)
    main.sendall(b"half an ans")
    joined.reset(main)
    state, reason = it.result()
    assert state == "failed"
    assert reason == (
        "socket 8080: main broke its connection off: it had not read all of its input, or it was killed"
    )


def test_the_output_does_not_end_before_the_run_has_failed(join, listener):
    """Its transfer takes the end of the pipe for the whole where nothing has failed by then."""
    it = join(takes=False)
    main = joined.accept(listener)
    main.sendall(b"half")
    assert it.some() == b"half"
    joined.reset(main)
    assert it.some() == b""
    assert it.end.failed


def test_a_crash_of_main_is_the_better_word(join, listener, monkeypatch):
    monkeypatch.setattr(ending, "SETTLE", joined.PATIENCE)
    it = join(takes=False)
    joined.reset(joined.accept(listener))
    it.main_ended(137)
    assert it.result() == ("failed", "Main exited with code 137")


def test_main_ends_after_its_last_word(join, listener):
    it = join()
    with joined.accept(listener) as main:
        it.finish()
        assert main.recv(1) == b""
        main.sendall(bytes(1_000_000))
        it.main_ended()
    assert len(it.received()) == 1_000_000
    assert it.result() == ("complete", None)


@pytest.fixture
def life():
    fd = os.eventfd(0)
    yield fd
    os.close(fd)


def test_what_is_on_its_way_is_kept_when_mains_network_goes(join, listener, life):
    """The last bytes of a container that has ended, whatever the transfer behind the pipe waits for."""
    it = join(life=life, takes=False)
    with joined.accept(listener) as main:
        sender = threading.Thread(target=main.sendall, args=(bytes(20_000_000),))
        sender.start()
        os.eventfd_write(life, 1)
        sender.join(joined.PATIENCE)
        assert not sender.is_alive()  # and nobody has read the pipe
    assert len(it.received()) == 20_000_000
    assert it.result() == ("complete", None)


def test_a_network_that_has_gone_before_all_was_there(join, listener, life, monkeypatch):
    monkeypatch.setattr(bridge, "SILENCE", 0.05)
    it = join(life=life, takes=False)
    with joined.accept(listener) as main:
        main.sendall(b"half")
        os.eventfd_write(life, 1)
        assert it.result() == ("failed", "socket 8080: the connection was cut as main ended")


def test_nobody_wants_what_is_on_its_way(join, listener, life):
    it = join(life=life, gives=False)
    with joined.accept(listener) as main:
        it.finish()
        main.sendall(bytes(1_000_000))
        os.eventfd_write(life, 1)
    assert it.result() == ("complete", None)


def test_the_end_of_an_input_that_was_all_sent_may_come_after_mains(join, listener, monkeypatch):
    monkeypatch.setattr(ending, "SETTLE", joined.PATIENCE)
    it = join()
    with joined.accept(listener) as main:
        it.send(b"all")
        assert main.recv(3) == b"all"
    it.main_ended()
    assert it.received() == b""
    it.finish()
    assert it.result() == ("complete", None)


def test_main_ends_and_leaves_an_input_that_goes_on(join, listener):
    it = join()
    with joined.accept(listener) as main:
        it.send(b"first")
        assert main.recv(100) == b"first"
    it.main_ended()
    reason = "socket 8080: main closed its connection before it had taken all of its input"
    assert it.result() == ("failed", reason)


def test_a_connection_that_says_no_more_after_mains_end(join, listener, monkeypatch):
    monkeypatch.setattr(bridge, "SILENCE", 0.05)
    it = join(takes=False)
    with joined.accept(listener):
        it.main_ended()
        assert it.result() == ("failed", "socket 8080: the connection was cut as main ended")


def test_a_run_that_has_failed_waits_for_nothing(join, listener):
    it = join(takes=False)
    with joined.accept(listener):
        it.main_ended(1)
        assert it.result() == ("failed", "Main exited with code 1")


def test_it_is_stopped_at_once(join, listener):
    it = join(takes=False)
    with joined.accept(listener):
        it.end.cancel("enough")
        it.adapter.stop.request("the run was stopped")
        assert it.result() == ("failed", "enough")


def test_no_descriptor_is_left(join, listener):
    had = leftovers.held()
    it = join()
    with joined.accept(listener):
        it.finish()
    assert it.received() == b""
    it.close()
    assert leftovers.since(had) == set()
