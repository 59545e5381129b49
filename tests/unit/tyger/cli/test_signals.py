"""The first signal is handed on, the second ends the process, and a pending one is known at once."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support import cli
from tyger.cli import signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal(number):
    seen = []
    before = signal.getsignal(number)
    with signals.Interrupts(seen.append) as interrupts:
        assert interrupts.received() is None
        os.kill(os.getpid(), number)
        assert interrupts.received() == number
    assert seen == [number]
    assert signal.getsignal(number) is before


SENDER = """
import os, queue, signal, threading
from tyger import pipes
from tyger.cli import signals

for _ in range(20):
    with signals.Interrupts(lambda _: None) as interrupts:
        sent = queue.SimpleQueue()

        def send(sent=sent):
            os.kill(os.getpid(), signal.SIGTERM)
            sent.put(None)

        thread = threading.Thread(target=send)
        pipes.start_without_signals(thread)
        sent.get()
        assert interrupts.received() == signal.SIGTERM
        thread.join()
"""


def test_a_signal_is_known_as_soon_as_it_was_sent():
    """A thread that takes no signals sends one and tells us; by then we must know.

    In a process of its own: among pytest's threads are some that would take it.
    """
    done = subprocess.run([sys.executable, "-c", SENDER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_signals_that_were_ignored_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.Interrupts(lambda _: pytest.fail("it was ignored")) as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupts.received() is None
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_signals_are_not_taken_for_one_of_ours():
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with signals.Interrupts(lambda _: None) as interrupts:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert interrupts.received() is None
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_second_signal_ends_the_process_at_once():
    code = (
        "import os, signal\n"
        "from tyger.cli import signals\n"
        "with signals.Interrupts(lambda _: None):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    signal.pause()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=cli.environ("/x"), check=False, timeout=120)
    assert done.returncode == -signal.SIGINT


def test_names():
    assert signals.name(15) == "SIGTERM"


def test_a_call_that_ends_waiting():
    def act():
        raise InterruptedError("called")

    reader, writer = os.pipe()
    try:
        signals.after(3600, pytest.fail)
        signals.after(0.05, act)
        with pytest.raises(InterruptedError, match="called"):
            os.read(reader, 1)
        signals.after(3600, act)
        signals.after(0, pytest.fail)
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        os.close(reader)
        os.close(writer)
