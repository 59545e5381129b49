"""The host's clock jumps by an hour, both ways, while streams are at work; the server's does not."""

import contextlib
import email.utils
import glob
import os
import subprocess
import sys
import time

import pytest

from tests.support import cloud as clouds
from tests.support import daemon, faultproxy, streaming

MIB = 1 << 20
SKEW = 15 * 60
"""Seconds that Azure tolerates in a signed request's date; Azurite does not look."""


@pytest.fixture
def library():
    """libfaketime, for programs with threads."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        pytest.skip("needs libfaketime (Debian package faketime)")
    return found[0]


class Clock:
    """What the daemon takes for the time, as an offset from ours in seconds."""

    def __init__(self, path):
        self.path = path
        self.set(0)

    def set(self, offset):
        draft = self.path.with_suffix(".new")
        draft.write_text(f"{offset:+d}s\n")
        os.replace(draft, self.path)


def faked(library, clock):
    """The environment of a program whose wall clock is `clock`, and no other clock of it.

    Without the last, libfaketime 0.9.10 ends every timed wait for a condition of the monotonic clock at once.
    Such is Python's for its interpreter lock: each thread that waits for it spins, reading `clock`'s file all
    the time, and a daemon takes ten times the processor's time. `time.sleep` stays broken (EINVAL).
    """
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(clock.path),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


@pytest.fixture
def site(azurite, library):
    """A daemon whose clock is ours to set; nobody else's."""
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(faultproxy.Proxy(("127.0.0.1", azurite.port)))
        text = clouds.config(azurite, proxy.address[1], access_ttl='"30s"')
        it = stack.enter_context(daemon.daemon(start=False, config=text))
        streams = stack.enter_context(streaming.streaming(it, block=clouds.BLOCK))
        streams.environment = dict(it.env)
        it.clock = Clock(it.path / "clock")
        it.env |= faked(library, it.clock)
        it.start()
        yield clouds.Cloud(proxy, it, streams, azurite)


def check_signed_dates(cloud):
    """What the account's key signs has the server's time, whatever this host believes."""
    now = time.time()
    signed = [seen.headers["x-ms-date"] for seen in cloud.proxy.seen if "authorization" in seen.headers]
    assert signed
    for date in signed:
        assert abs(email.utils.parsedate_to_datetime(date).timestamp() - now) < SKEW


WAITING = """
import ctypes, time
libc = ctypes.CDLL(None)
attributes, condition, mutex = (ctypes.create_string_buffer(64) for _ in range(3))
libc.pthread_condattr_init(attributes)
libc.pthread_condattr_setclock(attributes, time.CLOCK_MONOTONIC)
libc.pthread_cond_init(condition, attributes)
libc.pthread_mutex_init(mutex, None)
libc.pthread_mutex_lock(mutex)
began = time.monotonic()
until = (ctypes.c_long * 2)(*divmod(int((began + 0.2) * 1e9), 10**9))
libc.pthread_cond_timedwait(condition, mutex, until)
print(time.time(), time.monotonic() - began)
"""
"""Wait for 0.2 s as Python's threads wait for the interpreter lock."""


@pytest.mark.parametrize("offset", [0, 3600, -3600])
def test_waiting_takes_its_time_whatever_the_clock_says(library, tmp_path, offset):
    """What these tests fake is the wall clock, and nothing that a daemon waits by."""
    clock = Clock(tmp_path / "clock")
    clock.set(offset)
    env = os.environ | faked(library, clock)
    done = subprocess.run([sys.executable, "-c", WAITING], env=env, capture_output=True, check=True)
    said, waited = map(float, done.stdout.split())
    assert abs(said - time.time() - offset) < streaming.PATIENCE
    assert 0.2 <= waited < streaming.PATIENCE


@pytest.mark.parametrize("jump", [3600, -3600])
def test_within_a_stream(site, jump):
    streams = site.streams
    buffer = streams.buffer()
    writing = streams.write(buffer, 1, 20 * MIB, rate=4 * MIB)
    reading = streams.read(buffer, 1)
    streams.wait_transfer(buffer, lambda transfer: transfer["shipped"] > 2 * MIB)
    site.daemon.clock.set(jump)
    streams.wait_transfer(buffer, lambda transfer: transfer["shipped"] > 10 * MIB)
    site.daemon.clock.set(0)
    made = writing.finish()
    assert reading.finish() == made
    assert [seen for seen in site.proxy.seen if seen.status == 403] == []
    check_signed_dates(site)


@pytest.mark.parametrize("offset", [3600, -3600])
def test_before_the_daemon_starts(site, offset):
    """It learns the server's time from the first answer, which may be a refusal."""
    site.daemon.clock.set(offset)
    site.daemon.restart()
    before = len(site.proxy.seen)
    buffer = site.streams.buffer()
    made = site.streams.write(buffer, 1, 4 * MIB).finish()
    assert site.streams.read(buffer, 1).finish() == made
    assert len([seen for seen in site.proxy.seen[before:] if seen.status == 403]) <= 2


@pytest.mark.parametrize("jump", [3600, -3600])
def test_while_the_network_is_away(site, jump):
    """Waiting is counted by another clock: it neither ends early nor lasts an hour longer."""
    streams = site.streams
    buffer = streams.buffer()
    site.proxy.throttle(up=MIB)  # or all of it would be there before the network goes
    writing = streams.write(buffer, 1, 8 * MIB)
    streams.wait_transfer(buffer, lambda transfer: transfer["shipped"] > 0)
    site.proxy.refuse()
    streams.wait_transfer(buffer, lambda transfer: "offline" in (transfer.get("waiting") or ""))
    site.daemon.clock.set(jump)
    assert writing.producer.wait() == 0
    site.proxy.throttle()
    site.proxy.restore()
    made = writing.finish()
    assert streams.read(buffer, 1).finish() == made
