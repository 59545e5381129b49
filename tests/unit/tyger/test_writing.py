"""The client's half of a write against a scripted daemon: verdicts, cuts, every kind of descriptor."""

import json
import os
import signal
import socket
import tempfile

import pytest

from tests.support import scripted
from tyger import access, client, errors, producer, streams, writing


@pytest.fixture
def stop():
    made = streams.Stop()
    yield made
    made.close()


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def events(connection, *said):
    connection.read_request().say(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
    for event in said:
        connection.chunk(json.dumps(event).encode() + b"\n")


def body(connection):
    return json.loads(connection.body)


def target(connection):
    return connection.head.split(b" ")[1].decode().partition("?")[0]


ATTACHED = {"event": "attached"}
BUF = access.Access(buffer="buf")
COMPLETE = {"event": "complete", "bytes": 5, "blocks": 2}


def completing(said, *before):
    """Two scripts: the attachment, and the outcome that lets it end; what was said is put in `said`."""
    attachments = []

    def attachment(connection):
        events(connection, ATTACHED, *before, {"event": "eof", "bytes": 5})
        # The outcome comes on a connection of its own, which this thread must play first.
        connection.sock = connection.sock.dup()
        attachments.append(connection)

    def outcome(connection):
        connection.read_request()
        said.append(body(connection))
        connection.say(scripted.answer(200, b"{}"))
        attachments[0].chunk(json.dumps(COMPLETE).encode() + b"\n")
        attachments[0].sock.close()

    return attachment, outcome


def write(peer, fd, stop, verdict=lambda: ("complete", None), **options):
    return writing.write(client.Client(peer.path), BUF, fd, verdict=verdict, stop=stop, **options)


def test_end_of_file_is_complete_only_by_the_verdict(pipe, stop):
    said, progress = [], []
    with scripted.Peer(*completing(said, {"event": "progress", "bytes": 3, "blocks": 1})) as peer:
        result = write(
            peer,
            pipe[0],
            stop,
            block_size=100,
            flush_interval=0.5,
            run=7,
            on_progress=progress.append,
        )
    assert result[:4] == ("complete", 5, None, None)
    assert said == [{"outcome": "complete"}]
    asked = body(peer.requests[0])
    assert len(asked.pop("id")) == 32
    assert asked == {"buffer": "buf", "blockSize": 100, "flushInterval": 0.5, "run": 7}
    assert (3, None, None) in progress


def test_a_failed_producer_is_passed_on_with_its_reason(pipe, stop):
    said = []
    with scripted.Peer(*completing(said)) as peer:
        write(peer, pipe[0], stop, verdict=lambda: ("failed", "exit status 3"))
    assert said == [{"outcome": "failed", "reason": "exit status 3"}]


def test_after_a_cut_it_attaches_again_and_asks_its_verdict_once(pipe, stop):
    said, asked = [], []

    def cut(connection):
        events(connection, ATTACHED, {"event": "eof", "bytes": 5})

    with scripted.Peer(
        cut,
        scripted.hanging_up,
        scripted.hanging_up,
        scripted.hanging_up,
        scripted.hanging_up,
        *completing(said),
    ) as peer:
        result = write(peer, pipe[0], stop, verdict=lambda: asked.append(1) or ("complete", None))
    assert result.state == "complete"
    assert asked == [1]
    transfer = body(peer.requests[0])["id"]
    assert target(peer.requests[-2]) == f"/transfers/{transfer}/attach"
    assert target(peer.requests[-1]) == f"/transfers/{transfer}/outcome"
    assert len(peer.requests[-2].fds) == 1


@pytest.mark.parametrize("kind", [errors.TRY_AGAIN, errors.UNAVAILABLE])
def test_a_word_that_is_not_heard_is_said_again(pipe, stop, monkeypatch, kind):
    """Too many connections, say. To let go of the attachment would fail the buffer."""
    monkeypatch.setattr(writing, "AGAIN", 0.001)
    said = []
    attachment, outcome = completing(said)
    no = scripted.replying(scripted.answer(503, json.dumps(errors.Problem(kind, "not now").body()).encode()))
    with scripted.Peer(attachment, no, no, outcome) as peer:
        assert write(peer, pipe[0], stop).state == "complete"
    assert said == [{"outcome": "complete"}]


def test_progress_never_goes_back(pipe, stop):
    """A daemon that was restarted begins to count again."""
    progress = []

    def cut(connection):
        events(connection, ATTACHED, {"event": "progress", "bytes": 4, "blocks": 1})

    with scripted.Peer(cut, *completing([], {"event": "progress", "bytes": 0, "blocks": 0})) as peer:
        write(peer, pipe[0], stop, on_progress=lambda moved: progress.append(moved.bytes))
    assert progress == sorted(progress)
    assert 4 in progress


def test_a_request_whose_answer_was_lost_is_sent_again_as_the_same_transfer(pipe, stop):
    with scripted.Peer(scripted.hanging_up, *completing([])) as peer:
        write(peer, pipe[0], stop)
    first, second = (body(request) for request in peer.requests[:2])
    assert first == second


def test_stopping_fails_the_buffer(pipe, stop):
    def attachment(connection):
        events(connection, ATTACHED)
        stop.request("interrupted")

    said = []

    def outcome(connection):
        connection.read_request().say(scripted.answer(200, b"{}"))
        said.append(body(connection))

    with scripted.Peer(attachment, outcome) as peer:
        result = write(peer, pipe[0], stop)
    assert result[:3] == ("stopped", 0, "interrupted")
    assert said == [{"outcome": "failed", "reason": "interrupted"}]


def test_the_daemons_refusal_is_raised(pipe, stop):
    refusal = scripted.answer(409, b'{"error":{"code":"Conflict","message":"buffer cannot be overwritten"}}')
    with (
        scripted.Peer(scripted.replying(refusal)) as peer,
        pytest.raises(errors.Problem, match="overwritten"),
    ):
        write(peer, pipe[0], stop)


def test_giving_up_on_a_daemon_that_stays_away(pipe, stop):
    with scripted.Peer(scripted.hanging_up) as peer, pytest.raises(streams.GaveUpError):
        write(peer, pipe[0], stop, patience=streams.Patience(0))


def _regular(data):
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        return os.dup(file.fileno())


def _socket(data):
    near, far = socket.socketpair()
    far.sendall(data)
    far.close()
    return near.detach()


@pytest.mark.parametrize("kind", [_regular, _socket, lambda _: os.open("/dev/null", os.O_RDONLY)])
def test_anything_else_is_pumped_through_a_pipe(kind, stop):
    data = b"" if kind not in (_regular, _socket) else b"some bytes"
    fd = kind(data)
    got = []
    attachment, outcome = completing([])

    def reading(connection):
        attachment(connection)
        with os.fdopen(os.dup(connection.fds[0]), "rb") as file:
            got.append(file.read())

    with scripted.Peer(reading, outcome) as peer:
        assert write(peer, fd, stop).state == "complete"
    assert got == [data]
    os.close(fd)


def test_a_read_error_fails_the_buffer_with_the_systems_word(stop):
    fd = os.open("/", os.O_RDONLY)  # reading a directory is an error
    said = []
    attachment, outcome = completing(said)

    def reading(connection):
        attachment(connection)
        with os.fdopen(os.dup(connection.fds[0]), "rb") as file:
            file.read()

    with scripted.Peer(reading, outcome) as peer:
        write(peer, fd, stop)
    assert said == [{"outcome": "failed", "reason": "cannot read the input: Is a directory"}]
    os.close(fd)


def test_a_daemon_that_was_met_is_waited_for_even_if_none_may_be_started(pipe, stop):
    """`ensure` refuses (TYGER_AUTOSTART=0): final before the first answer, the daemon's absence after it."""
    refusals = []

    def refuse():
        refusals.append(1)
        asking.socket_path = second.path
        raise errors.Problem(errors.UNAVAILABLE, "none may be started")

    asking = client.Client("/nowhere/tyger.sock", ensure=refuse)
    with scripted.Peer(*completing([])) as second:
        with pytest.raises(errors.Problem, match="none may be started"):
            writing.write(asking, BUF, pipe[0], verdict=lambda: ("complete", None), stop=stop)

        def cut_and_vanish(connection):
            events(connection, ATTACHED)
            asking.socket_path = "/nowhere/tyger.sock"

        with scripted.Peer(cut_and_vanish) as first:
            asking.socket_path = first.path
            result = writing.write(asking, BUF, pipe[0], verdict=lambda: ("complete", None), stop=stop)
    assert result.state == "complete"
    assert len(refusals) == 2


def test_a_daemon_that_does_not_start_for_its_configuration_is_waited_for(pipe, stop):
    """Its owner mends tygerd.toml meanwhile; a pipe that has begun is not given up for that."""

    def fail():
        asking.socket_path = second.path
        raise errors.Problem(errors.CONFIG, "tygerd.toml line 3: ...")

    def cut_and_vanish(connection):
        events(connection, ATTACHED)
        asking.socket_path = "/nowhere/tyger.sock"

    asking = client.Client("/nowhere/tyger.sock", ensure=fail)
    with scripted.Peer(*completing([])) as second, scripted.Peer(cut_and_vanish) as first:
        asking.socket_path = first.path
        result = writing.write(asking, BUF, pipe[0], verdict=lambda: ("complete", None), stop=stop)
    assert result.state == "complete"


# --- a producer of ours ----------------------------------------------------------------------------------


@pytest.fixture
def run_producer():
    made = []

    def make(script):
        it = producer.Producer(["sh", "-c", script], os.environ)
        made.append(it)
        return it

    yield make
    for it in made:
        it.end([(signal.SIGKILL, 10)])
        it.close()


@pytest.fixture
def hold(tmp_path):
    """A named pipe that a producer reads a line from, and the descriptor to write it to."""
    path = tmp_path / "hold"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    yield path, fd
    os.close(fd)


def through(connection, *said):
    """A script's first half: attach, take the pipe to its end, say so."""
    events(connection, ATTACHED)
    with os.fdopen(os.dup(connection.fds[0]), "rb") as file:
        connection.taken = file.read()
    for event in (*said, {"event": "eof", "bytes": len(connection.taken)}):
        connection.chunk(json.dumps(event).encode() + b"\n")


class Held:
    """An open answer that outlives its script, which has to end before the next connection is played."""

    def __init__(self):
        self.sock = None

    def hold(self, connection):
        self.sock = connection.sock = connection.sock.dup()
        self._chunk = connection.chunk

    def say(self, *said):
        for event in said:
            self._chunk(json.dumps(event).encode() + b"\n")


@pytest.fixture
def held():
    it = Held()
    yield it
    if it.sock is not None:
        it.sock.close()


def taking(held, *said):
    """A script: attach, take the pipe to its end, say that and more."""

    def attachment(connection):
        through(connection, *said)
        held.hold(connection)

    return attachment


def attaching(held, *said):
    """A script: attach, and say something, without a look at the pipe."""

    def attachment(connection):
        events(connection, ATTACHED, *said)
        held.hold(connection)

    return attachment


def hearing(held, said, *last, answer=b"{}", status=200):
    """A script: hear the outcome, or another access URL, then let the open answer say `last`."""

    def hear(connection):
        connection.read_request()
        said.append(body(connection))
        connection.say(scripted.answer(status, answer))
        held.say(*(event or {"event": "failed", "reason": said[-1]["reason"]} for event in last))

    return hear


AS_TOLD = None
"""For `hearing`: fail for the reason that was told."""


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
    with scripted.Peer(taking(held), hearing(held, said, COMPLETE)) as peer:
        write(peer, it.reader, stop, producer=it)
    assert said == [told]


def test_a_producer_is_not_started_for_a_buffer_that_is_refused(run_producer, stop):
    it = run_producer("true")
    refusal = scripted.answer(404, b'{"error":{"code":"NotFound","message":"The resource was not found"}}')
    with scripted.Peer(scripted.replying(refusal)) as peer, pytest.raises(errors.Problem, match="not found"):
        write(peer, it.reader, stop, producer=it)
    assert not it.started


def test_a_producer_that_the_kernel_refuses_fails_the_buffer(tmp_path, stop, held):
    path = tmp_path / "acquire"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    it = producer.Producer([str(path)], os.environ)
    path.unlink()
    with scripted.Peer(attaching(held), hearing(held, [], AS_TOLD)) as peer:
        result = write(peer, it.reader, stop, producer=it)
    it.close()
    assert result.state == "failed"
    assert result.reason == "cannot start acquire: No such file or directory"


def test_a_producer_that_failed_does_not_wait_for_what_holds_its_pipe(
    run_producer, stop, held, hold, monkeypatch
):
    monkeypatch.setattr(writing, "EOF_GRACE", 0.001)
    it = run_producer(f"read x <{hold[0]} & exit 4")
    with scripted.Peer(attaching(held), hearing(held, [], AS_TOLD)) as peer:
        result = write(peer, it.reader, stop, producer=it)
    os.write(hold[1], b"\n")
    assert result.reason == "the producer sh exited with code 4"


def test_a_good_producer_whose_child_holds_the_pipe_is_told(run_producer, stop, monkeypatch, hold, held):
    monkeypatch.setattr(writing, "REMARK", 0.001)
    it, said, waits = run_producer(f"(read x <{hold[0]}; printf 12345) & exit 0"), [], []

    def progress(moved):
        if moved.waiting and not waits:
            waits.append(moved.waiting)
            os.write(hold[1], b"\n")

    with scripted.Peer(taking(held), hearing(held, said, COMPLETE)) as peer:
        write(peer, it.reader, stop, producer=it, on_progress=progress)
    assert waits == ["sh has ended, but what it started still holds its output open"]
    assert said == [{"outcome": "complete"}]


def test_one_that_runs_on_without_output_is_waited_for(run_producer, stop, monkeypatch, hold, held):
    """Also over a new daemon."""
    monkeypatch.setattr(writing, "REMARK", 0.001)
    it, said, waits = run_producer(f"printf 12345; exec >&-; read x <{hold[0]}; exit 5"), [], []

    def cut(connection):
        through(connection)
        while not waits:
            connection.chunk(b"\n")

    def again(connection):
        attachment(connection)
        os.write(hold[1], b"\n")

    attachment = taking(held)
    with scripted.Peer(cut, again, hearing(held, said, AS_TOLD)) as peer:
        write(
            peer,
            it.reader,
            stop,
            producer=it,
            on_progress=lambda moved: waits.append(moved.waiting) if moved.waiting else None,
        )
    assert waits[0] == "sh has closed its output and still runs"
    assert said == [{"outcome": "failed", "reason": "the producer sh exited with code 5"}]


def test_one_that_ended_while_the_daemon_was_away(run_producer, stop, held):
    it, said = run_producer("exit 6"), []

    def cut(connection):
        events(connection, ATTACHED)

    def ends_meanwhile(moved):
        if moved.waiting == streams.AWAY:
            assert it.wait(10)

    with scripted.Peer(cut, taking(held), hearing(held, said, COMPLETE)) as peer:
        write(peer, it.reader, stop, producer=it, on_progress=ends_meanwhile)
    assert said == [{"outcome": "failed", "reason": "the producer sh exited with code 6"}]


# --- spools, codes, giving up ----------------------------------------------------------------------------

SPOOLED = {"event": "spooled", "bytes": 5, "blocks": 2}


@pytest.fixture
def ended():
    """The read end of a pipe whose writer has ended."""
    reader, writer = os.pipe()
    os.close(writer)
    yield reader
    os.close(reader)


def test_detaching_returns_when_all_is_in_the_spool(ended, stop, held):
    with scripted.Peer(taking(held), hearing(held, [], SPOOLED)) as peer:
        result = write(peer, ended, stop, detach=True)
    assert result[:2] == ("spooled", 5)
    assert result.transfer == body(peer.requests[0])["id"]


def test_without_detaching_the_store_is_waited_for(ended, stop, held):
    moved, waiting = [], "retrying block 41 after 503 ServerBusy"
    shipping = {"event": "progress", "bytes": 5, "shipped": 3, "waiting": waiting}
    with scripted.Peer(taking(held), hearing(held, [], SPOOLED, shipping, COMPLETE)) as peer:
        assert write(peer, ended, stop, on_progress=moved.append).state == "complete"
    assert streams.Moved(5, waiting, 3) in moved


CONFLICT = b'{"error":{"code":"Conflict","message":"the buffer is already %s"}}'


@pytest.mark.parametrize("leaves", [True, False])
def test_stopping_behind_the_spool(ended, stop, held, leaves):
    """A Ctrl-C gives the buffer up; a TERM, which a shutdown sends, too, leaves it to the daemon."""

    def on_progress(moved):
        if moved.shipped:
            stop.request("interrupted", leaves=leaves)

    shipping = {"event": "progress", "bytes": 5, "shipped": 3}
    answers = (scripted.answer(409, CONFLICT % b"spooled"), scripted.answer(200, b"{}"))
    cancelling = [] if leaves else [scripted.replying(answer) for answer in answers]
    with scripted.Peer(taking(held), hearing(held, [], SPOOLED, shipping), *cancelling) as peer:
        result = write(peer, ended, stop, on_progress=on_progress)
    assert result.state == "stopped"
    assert ("will be stored" in result.reason) is leaves
    if not leaves:
        assert target(peer.requests[-1]) == f"/transfers/{result.transfer}/cancel"


def test_stopping_when_it_has_just_become_complete(ended, stop, held):
    conflict = scripted.answer(409, CONFLICT % b"complete")

    def late(connection):
        connection.read_request()
        stop.request("interrupted")
        connection.wait_closed()

    with scripted.Peer(taking(held), late, *[scripted.replying(conflict)] * 2) as peer:
        result = write(peer, ended, stop)
    assert result[:3] == ("stopped", 0, "interrupted; the buffer is already complete")


def test_the_code_of_a_failure_is_kept(pipe, stop):
    failed = {"event": "failed", "bytes": 0, "reason": "no write permission", "code": "Forbidden"}
    with scripted.Peer(lambda connection: events(connection, ATTACHED, failed)) as peer:
        result = write(peer, pipe[0], stop)
    assert result[:4] == ("failed", 0, "no write permission", "Forbidden")


def test_an_outcome_that_comes_too_late_gives_way_to_how_it_ended(ended, stop, held):
    failed = {"event": "failed", "reason": "cancelled by user"}
    late = hearing(held, [], failed, answer=CONFLICT % b"failed: cancelled by user", status=409)
    with scripted.Peer(taking(held), late) as peer:
        assert write(peer, ended, stop)[:3] == ("failed", 0, "cancelled by user")


def test_giving_up_says_what_becomes_of_the_buffer(pipe, stop):
    def cut(connection):
        events(connection, ATTACHED)

    with (
        scripted.Peer(cut) as peer,
        pytest.raises(errors.Problem, match="daemon marks the buffer as failed") as caught,
    ):
        write(peer, pipe[0], stop, patience=streams.Patience(0.001))
    assert caught.value.exit_code == 69


def test_giving_up_behind_our_word(pipe, stop):
    def cut(connection):
        events(connection, ATTACHED, {"event": "eof", "bytes": 0})

    with (
        scripted.Peer(cut, scripted.hanging_up, *[scripted.hanging_up] * 3) as peer,
        pytest.raises(errors.Problem, match=r"`tyger transfer show \w{32}` says, when it is back, whether"),
    ):
        write(peer, pipe[0], stop, patience=streams.Patience(0.001))


# --- access URLs -----------------------------------------------------------------------------------------

URL = "http+unix:///run/other.sock:/containers/abc"
EXPIRED = scripted.answer(403, b'{"error":{"code":"AccessExpired","message":"Signature not valid"}}')


@pytest.fixture
def renewable(tmp_path, monkeypatch):
    """A file with an access URL, which is renewed as soon as somebody waits for that."""
    monkeypatch.setattr(access, "LOOK", 0.001)
    file = tmp_path / "url"
    file.write_text(f"{URL}?sig=1")
    return access.Access(url=f"{URL}?sig=1", file=str(file)), lambda moved: _renew(file, moved)


def _renew(file, moved):
    if moved.waiting and "the access URL has expired" in moved.waiting:
        assert "sig=" not in moved.waiting
        file.write_text(f"{URL}?sig=2")


def write_url(peer, there, fd, stop, **options):
    return writing.write(
        client.Client(peer.path), there, fd, verdict=lambda: ("complete", None), stop=stop, **options
    )


RENEW = {"event": "renew"}


def test_a_url_that_has_expired_is_renewed_from_its_file(pipe, stop, renewable, held):
    there, on_progress = renewable
    with scripted.Peer(attaching(held, RENEW), hearing(held, [], COMPLETE)) as peer:
        assert write_url(peer, there, pipe[0], stop, on_progress=on_progress).state == "complete"
    begun = body(peer.requests[0])
    assert (begun["url"], begun["renewable"]) == (f"{URL}?sig=1", True)
    assert target(peer.requests[1]) == f"/transfers/{begun['id']}/access"
    assert body(peer.requests[1]) == {"url": f"{URL}?sig=2"}


def test_a_new_daemon_is_offered_the_url_that_we_have(pipe, stop, renewable, held):
    there, on_progress = renewable

    def cut(connection):
        events(connection, ATTACHED)

    with scripted.Peer(cut, attaching(held, RENEW), hearing(held, [], COMPLETE)) as peer:
        write_url(peer, there, pipe[0], stop, on_progress=on_progress)
    assert body(peer.requests[-1]) == {"url": f"{URL}?sig=1"}


def test_a_url_that_had_expired_before(pipe, stop, renewable):
    there, on_progress = renewable
    with scripted.Peer(scripted.replying(EXPIRED), *completing([])) as peer:
        assert write_url(peer, there, pipe[0], stop, on_progress=on_progress).state == "complete"
    assert [body(request)["url"] for request in peer.requests[:2]] == [f"{URL}?sig=1", f"{URL}?sig=2"]


def test_a_literal_url_that_expires(pipe, stop, held):
    with (
        scripted.Peer(attaching(held, RENEW), hearing(held, [])) as peer,
        pytest.raises(errors.Problem, match="the access URL has expired") as caught,
    ):
        write_url(peer, access.Access(url=f"{URL}?sig=1"), pipe[0], stop)
    assert caught.value.exit_code == 77
    assert body(peer.requests[1])["outcome"] == "failed"
    assert "renewable" not in body(peer.requests[0])


def test_stopping_while_a_url_is_waited_for(pipe, stop, tmp_path):
    file = tmp_path / "url"
    file.write_text(f"{URL}?sig=1")
    there = access.Access(url=f"{URL}?sig=1", file=str(file))
    refused = scripted.answer(404, b"{}")
    with scripted.Peer(scripted.replying(EXPIRED), scripted.replying(refused)) as peer:
        result = write_url(peer, there, pipe[0], stop, on_progress=lambda _: stop.request("enough"))
    assert result[:3] == ("stopped", 0, "enough")
