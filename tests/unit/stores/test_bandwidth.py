"""The global limit: kept in the long run, smooth in the short, shared, and left at once by who must stop."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tygerd.stores import bandwidth

MIB = 1024 * 1024


def never():
    return False


# --- arithmetic ------------------------------------------------------------------------------------------


@given(
    st.floats(1e3, 1e10),
    st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 1)), min_size=1, max_size=200),
)
def test_no_more_goes_than_the_rate_allows(rate, steps):
    """However long the pauses between pieces are, and however much of a piece is used."""
    bucket = bandwidth.Bucket(rate, 0.0)
    now, gone = 0.0, 0
    for idle, part in steps:
        now += idle
        now += bucket.wait(now)
        assert bucket.wait(now) < 1e-6
        count = int(bucket.piece * part)
        bucket.took(count)
        gone += count
        # What was saved up, and the piece that is paid for afterwards.
        assert gone <= rate * (now + bandwidth.BURST_SECONDS) * (1 + 1e-6) + bucket.piece


@pytest.mark.parametrize("rate", [125_000, MIB, 100 * MIB, 1 << 33])
def test_a_busy_link_is_used_to_the_full_in_small_pieces(rate):
    bucket = bandwidth.Bucket(rate, 0.0)
    now = gone = 0
    while now < 1:
        wait = bucket.wait(now)
        assert wait <= 2 * bandwidth.PIECE_SECONDS
        now += wait or 1e-7
        bucket.took(bucket.piece)
        gone += bucket.piece
    assert gone >= rate * 0.95


# --- sharing ---------------------------------------------------------------------------------------------


PIECE = 1000


def serve(queue, rounds, requests):
    """Who gets what while all of them always wait for more; bytes by request."""
    got = dict.fromkeys(requests, 0)
    for request in requests:
        queue.arrive(request)
    for _ in range(rounds):
        first = queue.first()
        queue.serve(first, PIECE)
        queue.leave(first)
        got[first] += PIECE
        queue.arrive(first)
    for request in requests:
        queue.leave(request)
    return list(got.values())


def requests_of(*shares):
    return [bandwidth.Request(share, threading.Lock()) for share in shares]


def test_transfers_get_equal_parts_however_many_requests_they_have():
    gate = bandwidth.Gate(1)
    one, other = gate.share(), gate.share()
    got = serve(bandwidth.Queue(), 1000, requests_of(one, other, other, other))
    assert abs(got[0] - sum(got[1:])) <= PIECE
    assert min(got[1:]) > 0


def test_bulk_gets_little_beside_live_but_never_nothing():
    gate = bandwidth.Gate(1)
    live, bulk = serve(bandwidth.Queue(), 2100, requests_of(gate.share(), gate.share(bulk=True)))
    assert bulk * bandwidth.BULK_COSTS == pytest.approx(live, rel=0.05)


def test_who_was_silent_has_saved_up_nothing():
    queue, gate = bandwidth.Queue(), bandwidth.Gate(1)
    old, fresh = gate.share(), gate.share()
    serve(queue, 100, requests_of(old))
    one, other = serve(queue, 100, requests_of(old, fresh))
    assert abs(one - other) <= 2 * PIECE


def test_nobody_is_first_where_nobody_waits():
    assert bandwidth.Queue().first() is None


def test_threads_share_the_rate():
    gate = bandwidth.Gate(2e6)
    got = [0, 0]

    def work(index, share):
        while sum(got) < 600_000 or not all(got):  # who comes late gets his part, too
            got[index] += share.take(1 << 20, never)

    started = time.monotonic()
    threads = [threading.Thread(target=work, args=(index, gate.share())) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started >= 0.15


def test_who_is_told_to_stop_does_not_wait_for_its_bytes():
    gate = bandwidth.Gate(1.0)
    share = gate.share()
    share.take(1 << 20, never)  # an hour's worth
    stop = threading.Event()
    thread = threading.Thread(target=share.take, args=(1, stop.is_set))
    thread.start()
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
