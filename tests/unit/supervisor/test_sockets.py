"""The adapter between a port of main and the pipes of its buffers, with real sockets and pipes."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import threading

import pytest

from tygerd.supervisor import bridge, ending, sockets

PATIENCE = 20.0


class Fixed:
    """A place that is known from the start."""

    def __init__(self, *addresses: sockets.Address, ends: int = -1) -> None:
        self.ends = ends
        self.addresses = addresses
        self.looked = threading.Event()

    def look(self) -> tuple[sockets.Address, ...]:
        self.looked.set()
        return self.addresses

    def life(self) -> int:
        return self.ends


class Joined:
    """An adapter at work, main's end of the connection, and the transfers' ends of the pipes."""

    def __init__(self, directory, place, *, takes=True, gives=True) -> None:
        self.end = ending.Ending()
        self.input, self.output = (str(directory / name) for name in ("in", "out"))
        self.source = self.sink = -1
        self.closed = False
        for path in (self.input, self.output):
            os.mkfifo(path)
        if gives:
            self.sink = os.open(self.output, os.O_RDONLY | os.O_NONBLOCK)
            os.set_blocking(self.sink, True)
        files = sockets.Files(self.input if takes else None, self.output if gives else None)
        self.adapter = sockets.Adapter(8080, place, files, self.end)
        self.adapter.start()

    def send(self, data: bytes) -> None:
        """Into the input's pipe, as the transfer does."""
        if self.source < 0:
            self.source = os.open(self.input, os.O_WRONLY)
        view = memoryview(data)
        while view:
            view = view[os.write(self.source, view) :]

    def finish(self) -> None:
        self.send(b"")
        os.close(self.source)
        self.source = -1

    def some(self) -> bytes:
        """What comes next from the output's pipe."""
        assert select.select([self.sink], [], [], PATIENCE)[0], "nobody opened the output"
        return os.read(self.sink, 1 << 20)

    def received(self) -> bytes:
        """From the output's pipe, up to its end."""
        content = bytearray()
        while piece := self.some():
            content += piece
        return bytes(content)

    def result(self) -> tuple[str, str | None]:
        self.adapter.join(PATIENCE)
        assert self.adapter.ended
        return self.adapter.state, self.end.result()[1]

    def main_ended(self, code: int = 0) -> None:
        self.end.exited(code, f"Main exited with code {code}" if code else None)
        self.adapter.release()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self.adapter.is_alive():
            self.adapter.stop.request("the test is over")
            self.adapter.join(PATIENCE)
        self.adapter.close()
        for fd in (self.source, self.sink):
            if fd >= 0:
                os.close(fd)
        self.end.close()


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(PATIENCE)
        yield sock


@pytest.fixture
def join(tmp_path, listener, monkeypatch):
    """`join()` starts an adapter that connects to `listener`, or to a `place`."""
    monkeypatch.setattr(ending, "SETTLE", 0.05)
    made: list[Joined] = []

    def start(place=None, **more) -> Joined:
        joined = Joined(tmp_path, place or Fixed(sockets.Address(*listener.getsockname())), **more)
        made.append(joined)
        return joined

    yield start
    for joined in made:
        joined.close()


def accept(listener) -> socket.socket:
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    return connection


def everything(connection) -> bytes:
    content = bytearray()
    while piece := connection.recv(1 << 20):
        content += piece
    return bytes(content)


def reset(connection) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_bytes_go_both_ways_and_the_ends_are_told_apart(join, listener):
    joined = join()
    with accept(listener) as main:
        joined.send(b"question")
        assert main.recv(100) == b"question"
        main.sendall(b"answer")
        assert joined.some() == b"answer"
        joined.finish()
        assert main.recv(100) == b""  # half-closed: it may go on to answer
        main.sendall(b"and more")
        main.close()
        assert joined.received() == b"and more"
    assert joined.result() == ("complete", None)


def test_large_streams_both_ways_at_once(join, listener):
    joined = join()
    content, answer = os.urandom(5_000_000), os.urandom(7_000_000)
    with accept(listener) as main:
        taken: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: (joined.send(content), joined.finish())),
            threading.Thread(target=lambda: (main.sendall(answer), main.shutdown(socket.SHUT_WR))),
            threading.Thread(target=lambda: taken.append(everything(main))),
        ]
        for thread in threads:
            thread.start()
        assert joined.received() == answer
        for thread in threads:
            thread.join()
    assert taken == [content]
    assert joined.result() == ("complete", None)


def test_without_an_input_the_sending_half_is_closed_at_once(join, listener):
    joined = join(takes=False)
    with accept(listener) as main:
        assert main.recv(1) == b""
        main.sendall(b"only an answer")
    assert joined.received() == b"only an answer"
    assert joined.result() == ("complete", None)


def test_without_an_output_what_comes_is_discarded(join, listener):
    joined = join(gives=False)
    with accept(listener) as main:
        main.sendall(bytes(5_000_000))
        joined.send(b"x")
        joined.finish()
        assert everything(main) == b"x"
    assert joined.result() == ("complete", None)


def test_an_output_may_end_long_before_the_input(join, listener):
    joined = join()
    with accept(listener) as main:
        main.sendall(b"done")
        main.shutdown(socket.SHUT_WR)
        assert joined.received() == b"done"
        joined.send(b"still")
        joined.finish()
        assert everything(main) == b"still"
    assert joined.result() == ("complete", None)


def test_main_leaves_before_it_has_taken_all(join, listener):
    joined = join()
    with accept(listener) as main:
        joined.send(b"0123456789")
        assert main.recv(4) == b"0123"
    reason = "socket 8080: main closed its connection before it had taken all of its input"
    assert joined.result() == ("failed", reason)
    assert joined.received() == b""


def test_main_goes_away_while_the_input_is_quiet(join, listener):
    joined = join()
    main = accept(listener)
    main.shutdown(socket.SHUT_WR)
    assert joined.received() == b""
    reset(main)
    reason = "socket 8080: main closed its connection before it had taken all of its input"
    assert joined.result() == ("failed", reason)


def test_main_breaks_its_connection_off(join, listener):
    joined = join(takes=False)
    main = accept(listener)
    main.sendall(b"half an ans")
    reset(main)
    state, reason = joined.result()
    assert state == "failed"
    assert reason == (
        "socket 8080: main broke its connection off: it had not read all of its input, or it was killed"
    )


def test_the_output_does_not_end_before_the_run_has_failed(join, listener):
    """Its transfer takes the end of the pipe for the whole where nothing has failed by then."""
    joined = join(takes=False)
    main = accept(listener)
    main.sendall(b"half")
    assert joined.some() == b"half"
    reset(main)
    assert joined.some() == b""
    assert joined.end.failed


def test_a_crash_of_main_is_the_better_word(join, listener, monkeypatch):
    monkeypatch.setattr(ending, "SETTLE", PATIENCE)
    joined = join(takes=False)
    reset(accept(listener))
    joined.main_ended(137)
    assert joined.result() == ("failed", "Main exited with code 137")


def test_main_ends_after_its_last_word(join, listener):
    joined = join()
    with accept(listener) as main:
        joined.finish()
        assert main.recv(1) == b""
        main.sendall(bytes(1_000_000))
        joined.main_ended()
    assert len(joined.received()) == 1_000_000
    assert joined.result() == ("complete", None)


@pytest.fixture
def life():
    fd = os.eventfd(0)
    yield fd
    os.close(fd)


def test_what_is_on_its_way_is_kept_when_mains_network_goes(join, listener, life):
    """The last bytes of a container that has ended, whatever the transfer behind the pipe waits for."""
    joined = join(Fixed(sockets.Address(*listener.getsockname()), ends=life), takes=False)
    with accept(listener) as main:
        sender = threading.Thread(target=main.sendall, args=(bytes(20_000_000),))
        sender.start()
        os.eventfd_write(life, 1)
        sender.join(PATIENCE)
        assert not sender.is_alive()  # and nobody has read the pipe
    assert len(joined.received()) == 20_000_000
    assert joined.result() == ("complete", None)


def test_a_network_that_has_gone_before_all_was_there(join, listener, life, monkeypatch):
    monkeypatch.setattr(bridge, "SILENCE", 0.05)
    joined = join(Fixed(sockets.Address(*listener.getsockname()), ends=life), takes=False)
    with accept(listener) as main:
        main.sendall(b"half")
        os.eventfd_write(life, 1)
        assert joined.result() == ("failed", "socket 8080: the connection was cut as main ended")


def test_nobody_wants_what_is_on_its_way(join, listener, life):
    joined = join(Fixed(sockets.Address(*listener.getsockname()), ends=life), gives=False)
    with accept(listener) as main:
        joined.finish()
        main.sendall(bytes(1_000_000))
        os.eventfd_write(life, 1)
    assert joined.result() == ("complete", None)


def test_the_end_of_an_input_that_was_all_sent_may_come_after_mains(join, listener, monkeypatch):
    monkeypatch.setattr(ending, "SETTLE", PATIENCE)
    joined = join()
    with accept(listener) as main:
        joined.send(b"all")
        assert main.recv(3) == b"all"
    joined.main_ended()
    assert joined.received() == b""
    joined.finish()
    assert joined.result() == ("complete", None)


def test_main_ends_and_leaves_an_input_that_goes_on(join, listener):
    joined = join()
    with accept(listener) as main:
        joined.send(b"first")
        assert main.recv(100) == b"first"
    joined.main_ended()
    reason = "socket 8080: main closed its connection before it had taken all of its input"
    assert joined.result() == ("failed", reason)


def test_a_connection_that_says_no_more_after_mains_end(join, listener, monkeypatch):
    monkeypatch.setattr(bridge, "SILENCE", 0.05)
    joined = join(takes=False)
    with accept(listener):
        joined.main_ended()
        assert joined.result() == ("failed", "socket 8080: the connection was cut as main ended")


def test_a_run_that_has_failed_waits_for_nothing(join, listener):
    joined = join(takes=False)
    with accept(listener):
        joined.main_ended(1)
        assert joined.result() == ("failed", "Main exited with code 1")


def test_it_is_stopped_at_once(join, listener):
    joined = join(takes=False)
    with accept(listener):
        joined.end.cancel("enough")
        joined.adapter.stop.request("the run was stopped")
        assert joined.result() == ("failed", "enough")


def test_main_never_listens(join):
    joined = join(place := Fixed())
    assert place.looked.wait(PATIENCE)
    joined.main_ended()
    assert joined.result() == ("failed", "socket 8080: main ended, and nobody had listened on port 8080")


def test_main_does_not_listen_in_time(join, monkeypatch):
    monkeypatch.setattr(sockets, "CONNECT_SECONDS", 0.01)
    joined = join(Fixed())
    assert joined.result() == ("failed", "socket 8080: main did not listen on port 8080 within 0.01 seconds")


def test_it_tries_until_somebody_listens(join, listener):
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))  # taken, but it does not listen: connections are refused
        late.settimeout(PATIENCE)
        joined = join(place := Fixed(sockets.Address(*late.getsockname())), takes=False)
        assert place.looked.wait(PATIENCE)
        late.listen()
        with accept(late) as main:
            main.sendall(b"late")
    assert joined.received() == b"late"


def test_a_proxy_that_finds_nobody_behind_it(join, listener, monkeypatch):
    monkeypatch.setattr(sockets, "PROBATION", PATIENCE)
    joined = join(Fixed(sockets.Address(*listener.getsockname(), proxied=True)))
    accept(listener).close()
    reset(accept(listener))
    with accept(listener) as main:
        main.sendall(b"here")  # or it would say nothing for as long as a proxy takes
        joined.send(b"now")
        joined.finish()
        assert everything(main) == b"now"
    assert joined.received() == b"here"
    assert joined.result() == ("complete", None)


SERVER = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    print("listening", flush=True)
    connection, _ = server.accept()
    connection.sendall(b"ours")
"""


def test_a_proxy_with_somebody_behind_it_who_says_nothing(join, listener):
    joined = join(Fixed(sockets.Address(*listener.getsockname(), proxied=True)), gives=False)
    with accept(listener) as main:
        joined.send(b"now")
        joined.finish()
        assert everything(main) == b"now"
    assert joined.result() == ("complete", None)


def test_a_port_of_this_host_that_a_child_of_ours_listens_on(join, listener):
    port = listener.getsockname()[1]
    listener.close()
    child = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=subprocess.PIPE)
    with child:
        joined = join(sockets.OwnPort(port), takes=False)
        assert joined.received() == b"ours"
        assert joined.result() == ("complete", None)


def test_a_port_of_this_host_that_another_listens_on(join, listener):
    port = listener.getsockname()[1]  # ours, but of no descendant of ours
    joined = join(sockets.OwnPort(port))
    reason = f"socket 8080: another program listens on port {port} of this host"
    assert joined.result() == ("failed", reason)
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()  # and got no connection


def test_no_descriptor_is_left(join, listener):
    before = os.listdir("/proc/self/fd")
    joined = join()
    with accept(listener):
        joined.finish()
    assert joined.received() == b""
    joined.close()
    assert os.listdir("/proc/self/fd") == before
