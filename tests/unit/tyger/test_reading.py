"""The client's half of a read against a scripted daemon: every destination, cuts, quiet, failures."""

import json
import os
import threading
from urllib.parse import parse_qsl

import pytest

from tests.support import scripted
from tyger import access, client, errors, reading, streams

BUF = access.Access(buffer="buf")


def chunks(connection, *pieces, end=b"0\r\n\r\n"):
    connection.read_request().say(scripted.CHUNKED)
    for piece in pieces:
        connection.chunk(piece)
    connection.say(end)


def read(peer, fd, stop, **options):
    return reading.read(client.Client(peer.path), BUF, fd, stop=stop, **options)


def test_bytes_arrive_whatever_the_destination(destination, stop):
    fd, content = destination
    pieces = [b"one", os.urandom(40_000), b"x"]
    with scripted.Peer(lambda connection: chunks(connection, *pieces)) as peer:
        assert read(peer, fd, stop, offset=3, length=99_999)[:2] == ("complete", 40_004)
    assert content() == b"".join(pieces)
    assert b"&offset=3&length=99999 " in peer.requests[0].head


def test_after_a_cut_it_asks_for_the_rest(destination, stop):
    fd, content = destination

    def cut_inside(connection):
        chunks(connection, b"one", end=b"5\r\ntw")

    def nothing(connection):
        chunks(connection, end=b"")

    with scripted.Peer(cut_inside, nothing, lambda connection: chunks(connection, b"o three")) as peer:
        assert read(peer, fd, stop, offset=100)[:2] == ("complete", 12)
    assert content() == b"onetwo three"
    offsets = [request.head.split(b"offset=")[1].split(b" ")[0] for request in peer.requests]
    assert offsets == [b"100", b"105", b"105"]


def test_a_failure_stands_in_the_trailer(destination, stop):
    fd, content = destination
    end = b"0\r\nTyger-Error: BufferFailed: the buffer is in a permanently failed state\r\n\r\n"
    with (
        scripted.Peer(lambda connection: chunks(connection, b"one", end=end)) as peer,
        pytest.raises(errors.Problem, match=r"^the buffer is in a permanently failed state$") as caught,
    ):
        read(peer, fd, stop)
    assert caught.value.kind is errors.BUFFER_FAILED
    assert content() == b"one"


def test_a_store_that_is_unavailable_is_no_daemon_that_is_away(destination, stop):
    """The daemon has been patient already; its word is the last."""
    fd, _ = destination
    end = b"0\r\nTyger-Error: Unavailable: the store cannot be reached\r\n\r\n"
    with (
        scripted.Peer(lambda connection: chunks(connection, b"one", end=end)) as peer,
        pytest.raises(errors.Problem, match="the store cannot be reached") as caught,
    ):
        read(peer, fd, stop)
    assert caught.value.kind is errors.UNAVAILABLE


def test_a_destination_that_went_away_ends_a_quiet_stream(stop):
    reader, writer = os.pipe()

    def quiet(connection):
        connection.read_request().say(scripted.CHUNKED)
        os.close(reader)
        connection.wait_closed()

    with scripted.Peer(quiet) as peer, pytest.raises(BrokenPipeError):
        read(peer, writer, stop)
    os.close(writer)


def test_stopping_a_read(pipe, stop):
    def quiet(connection):
        connection.read_request().say(scripted.CHUNKED)
        stop.request("interrupted")
        connection.wait_closed()

    with scripted.Peer(quiet) as peer:
        assert read(peer, pipe[1], stop)[:3] == ("stopped", 0, "interrupted")


def test_a_full_nonblocking_destination_is_waited_for(stop):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = os.urandom(3 << 20)
    got = []

    def drain():
        with os.fdopen(reader, "rb") as file:
            got.append(file.read())

    draining = threading.Thread(target=drain)
    with scripted.Peer(lambda connection: chunks(connection, data)) as peer:
        draining.start()
        assert read(peer, writer, stop).bytes == len(data)
    os.close(writer)
    draining.join()
    assert got == [data]


# --- coming back at the exact byte -----------------------------------------------------------------------


def query(connection):
    return dict(parse_qsl(connection.head.split(b" ")[1].decode().partition("?")[2]))


def test_the_block_to_go_on_in_is_counted(destination, stop):
    fd, content = destination

    def cut_inside(connection):
        chunks(connection, b"one", b"two4", end=b"9\r\nthr")

    def cut_between(connection):
        chunks(connection, b"ee5678", b"four", end=b"")

    with scripted.Peer(cut_inside, cut_between, lambda connection: chunks(connection, b"!")) as peer:
        assert read(peer, fd, stop).state == "complete"
    assert content() == b"onetwo4three5678four!"
    asked = [query(request) for request in peer.requests]
    assert "block" not in asked[0]
    assert (asked[1]["offset"], asked[1]["block"], asked[1]["start"]) == ("10", "2", "7")
    assert (asked[2]["offset"], asked[2]["block"], asked[2]["start"]) == ("20", "4", "20")


def test_a_cut_between_a_blocks_bytes_and_its_chunks_end_counts_the_block(pipe, stop):
    """Else the hint would be one block behind from then on, and the next cut would double a block."""

    def behind_the_bytes(connection):
        chunks(connection, end=b"3\r\nabc")

    def inside(connection):
        chunks(connection, b"de", end=b"4\r\nfg")

    reader, writer = pipe
    with scripted.Peer(behind_the_bytes, inside, lambda connection: chunks(connection, b"hi")) as peer:
        assert read(peer, writer, stop).bytes == 9
    assert os.read(reader, 100) == b"abcdefghi"
    asked = [query(request) for request in peer.requests]
    assert (asked[1]["offset"], asked[1]["block"], asked[1]["start"]) == ("3", "1", "3")
    assert (asked[2]["offset"], asked[2]["block"], asked[2]["start"]) == ("7", "2", "5")


def test_a_read_that_begins_in_the_middle_knows_no_block(pipe, stop):
    def cut(connection):
        chunks(connection, b"one", end=b"")

    with scripted.Peer(cut, lambda connection: chunks(connection, b"x")) as peer:
        read(peer, pipe[1], stop, offset=7, length=10)
    asked = query(peer.requests[1])
    assert (asked["offset"], asked["length"]) == ("10", "7")
    assert "block" not in asked


@pytest.mark.parametrize(("follow", "said"), [(True, None), (False, "false")])
def test_what_is_there_now_is_asked_for(pipe, stop, follow, said):
    with scripted.Peer(chunks) as peer:
        assert read(peer, pipe[1], stop, follow=follow)[:2] == ("complete", 0)
    assert query(peer.requests[0]).get("follow") == said


def test_giving_up_on_a_daemon_that_stays_away(pipe, stop):
    def cut(connection):
        chunks(connection, b"one", end=b"")

    with scripted.Peer(cut) as peer, pytest.raises(streams.GaveUpError, match="it was waited for"):
        read(peer, pipe[1], stop, patience=streams.Patience(0.001))


# --- access URLs -----------------------------------------------------------------------------------------

URL = "https://account.blob.core.windows.net/abc"


def read_url(peer, there, fd, stop, **options):
    return reading.read(client.Client(peer.path), there, fd, stop=stop, **options)


def test_a_url_stands_in_the_body_and_is_renewed_in_the_middle(pipe, stop, tmp_path):
    file = tmp_path / "url"
    file.write_text(f"{URL}?sig=1")
    expired = b"0\r\nTyger-Error: AccessExpired: Signature not valid\r\n\r\n"
    refused = scripted.answer(403, b'{"error":{"code":"AccessExpired","message":"Signature not valid"}}')

    def progress(moved):
        if moved.waiting:
            file.write_text(f"{URL}?sig={moved.bytes}")

    with scripted.Peer(
        scripted.replying(refused),
        lambda connection: chunks(connection, b"one", end=expired),
        lambda connection: chunks(connection, b"two"),
    ) as peer:
        there = access.Access(url=f"{URL}?sig=1", file=str(file), look=0.001)
        result = read_url(peer, there, pipe[1], stop, follow=False, on_progress=progress)
    assert result[:2] == ("complete", 6)
    asked = [json.loads(request.body) for request in peer.requests]
    assert [each["url"] for each in asked] == [f"{URL}?sig={number}" for number in (1, 0, 3)]
    assert asked[2] == {"url": f"{URL}?sig=3", "offset": 3, "follow": False, "block": 1, "start": 3}
    assert peer.requests[0].head.startswith(b"POST /transfers/read?")


def test_a_literal_url_that_has_expired(pipe, stop):
    refused = scripted.answer(403, b'{"error":{"code":"AccessExpired","message":"Signature not valid"}}')
    with (
        scripted.Peer(scripted.replying(refused)) as peer,
        pytest.raises(errors.Problem, match="Signature not valid; get another") as caught,
    ):
        read_url(peer, access.Access(url=f"{URL}?sig=1"), pipe[1], stop)
    assert caught.value.exit_code == 77


def test_stopping_while_a_url_is_waited_for(pipe, stop, tmp_path):
    file = tmp_path / "url"
    file.write_text(f"{URL}?sig=1")
    refused = scripted.answer(403, b'{"error":{"code":"AccessExpired","message":"Signature not valid"}}')
    with scripted.Peer(scripted.replying(refused)) as peer:
        there = access.Access(url=f"{URL}?sig=1", file=str(file))
        result = read_url(peer, there, pipe[1], stop, on_progress=lambda _: stop.request("enough"))
    assert result[:3] == ("stopped", 0, "enough")


# --- what a quiet read waits for -------------------------------------------------------------------------


SOON = 0.001


def quiet(held):
    """A script: begin to deliver, and keep the answer open beyond the script."""

    def script(connection):
        head = scripted.CHUNKED.replace(b"\r\n\r\n", b"\r\nTransfer-Id: t7\r\n\r\n")
        connection.read_request().say(head + b"3\r\none\r\n")  # at once: between them it would be quiet
        connection.sock = connection.sock.dup()
        held.append(connection)

    return script


def test_it_is_asked_on_a_second_connection(pipe, stop):
    held, seen = [], []

    def watched(connection):
        connection.read_request().say(scripted.CHUNKED)
        connection.chunk(b'{"id":"t7","waiting":"its writer"}\n{"id":"t7","waiting":"its writer is away"}\n')
        assert told.wait(60)
        held[0].chunk(b"two")
        held[0].say(b"0\r\n\r\n")
        connection.wait_closed()
        held[0].sock.close()

    def progress(moved):
        seen.append(moved)
        if moved.waiting == "its writer is away":
            told.set()

    told = threading.Event()
    with scripted.Peer(quiet(held), watched) as peer:
        assert read(peer, pipe[1], stop, quiet=SOON, on_progress=progress)[:2] == ("complete", 6)
    assert peer.requests[1].head.startswith(b"GET /transfers/t7/watch?")
    assert [moved[:2] for moved in seen if moved.waiting] == [(3, "its writer is away")]
    assert seen[-1] == (6, None, None)


@pytest.mark.parametrize(
    "answer",
    [
        scripted.answer(404, b'{"error":{"code":"NotFound","message":"x"}}'),
        scripted.answer(200, b"{}"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxx\n\r\n",
        b"",
    ],
)
def test_nobody_who_can_say_it_harms_nothing(pipe, stop, answer):
    held = []

    def watched(connection):
        connection.read_request().say(answer)
        held[0].say(b"0\r\n\r\n")
        held[0].sock.close()

    with scripted.Peer(quiet(held), watched) as peer:
        assert read(peer, pipe[1], stop, quiet=SOON)[:2] == ("complete", 3)


def test_a_read_that_is_not_quiet_asks_nobody(pipe, stop):
    with scripted.Peer(lambda connection: chunks(connection, b"one", b"two")) as peer:
        read(peer, pipe[1], stop)
    assert len(peer.requests) == 1


def test_a_stop_and_a_destination_that_goes_are_seen_while_it_is_asked(stop):
    reader, writer = os.pipe()
    held = []

    def watched(connection):
        connection.read_request()
        os.close(reader)
        connection.wait_closed()
        held[0].sock.close()

    with scripted.Peer(quiet(held), watched) as peer, pytest.raises(BrokenPipeError):
        read(peer, writer, stop, quiet=SOON)
    os.close(writer)
