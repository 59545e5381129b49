"""Back to a run: its streams, its end, and what becomes of it."""

import signal
import subprocess
import threading

import pytest

from tests.support import cli, fakedaemon


@pytest.fixture
def daemon():
    with fakedaemon.FakeDaemon() as fake:
        for name, inputs, outputs in (("c", "i", "o"), ("source", "", "o"), ("two", "ij", "op")):
            buffers = {"inputs": list(inputs), "outputs": list(outputs)}
            fake.codespecs[name] = {"kind": "job", "image": "x", "buffers": buffers}
        yield fake


@pytest.fixture
def held(daemon):
    """A run waits until this is set, then gives some bytes."""
    hold = threading.Event()
    daemon.program = lambda data: hold.wait(60) and (data + b"0123456789", "Succeeded", None)
    yield hold
    hold.set()


def create(daemon, codespec="c", *arguments):
    done = cli.run(daemon.path, "run", "create", "-c", codespec, *arguments)
    assert done.code == 0
    return done.out.decode().strip()


def attach(daemon, *arguments, **options):
    return cli.run(daemon.path, "run", "attach", *arguments, **options)


def test_its_input_and_its_output(daemon):
    daemon.program = lambda data: (data[::-1], "Succeeded", None)
    done = attach(daemon, create(daemon), data=b"abc")
    assert (done.code, done.out) == (0, b"cba")
    assert "INF Attached to the run runId=1\n" in done.err
    assert "status=Succeeded" in done.err


def test_once_more_after_the_end(daemon):
    run = create(daemon)
    attach(daemon, run, data=b"abc")
    done = attach(daemon, run, data=b"not used")
    assert (done.code, done.out) == (0, b"abc")
    assert daemon.buffers["run1-i"].data == b"abc"


def test_an_input_that_is_being_written_by_somebody_else(daemon):
    run = create(daemon)
    with cli.start(daemon.path, "buffer", "write", "run1-i") as writer:
        writer.stdin.write(b"theirs")
        writer.stdin.flush()
        buffer = daemon.buffers["run1-i"]
        buffer.wait(lambda: buffer.data)
        with cli.start(daemon.path, "run", "attach", run) as process:
            while b"standard input is not used" not in (line := process.stderr.readline()):
                assert line
            writer.stdin.close()
            assert process.stdout.read() == b"theirs"
            assert process.wait(60) == 0
        assert writer.wait(60) == 0


def test_an_input_that_is_meant_and_was_written(daemon, held):
    run = create(daemon)
    daemon.buffers["run1-i"].update(b"abc", "complete")
    with cli.start(daemon.path, "run", "attach", run, "--input", "-") as process:
        daemon.wait_asked("POST", "/transfers")
        held.set()  # it does not wait long for the run's own reason, but the test has no need to wait at all
        _, err = process.communicate(b"more", timeout=120)
    assert process.returncode == 73
    assert b"was already written" in err


def test_a_device_is_no_input_unless_it_is_said(daemon, held):
    run = create(daemon)
    with cli.start(daemon.path, "run", "attach", run, stdin=subprocess.DEVNULL) as process:
        while b"status=Running" not in (line := process.stderr.readline()):
            assert line
        assert daemon.buffers["run1-i"].state == "new"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == cli.ended_by(signal.SIGTERM)


def test_a_producer(daemon):
    done = attach(daemon, create(daemon), "--", "echo", "hello")
    assert (done.code, done.out) == (0, b"hello\n")


def test_a_part_of_the_output(daemon, held):
    held.set()
    run = create(daemon, "source")
    assert attach(daemon, run, "--range", "4-").out == b"456789"
    assert attach(daemon, run, "--range", "2-3").out == b"23"
    assert attach(daemon, run, "--range", "10-").out == b""


def test_mapped_buffers_are_not_joined(daemon, held):
    daemon.buffer("given", b"abc")
    daemon.buffer("kept")
    held.set()
    run = create(daemon, "c", "-b", "i=given", "-b", "o=kept")
    done = attach(daemon, run)
    assert (done.code, done.out) == (0, b"")
    done = attach(daemon, run, "--input", "-")
    assert done.code == 64
    assert "--input is given, but the job has no unmapped input buffer" in done.err


def test_several_of_a_kind(daemon, held):
    held.set()
    run = create(daemon, "two")
    for name in "ij":
        daemon.buffers[f"run1-{name}"].update(b"x", "complete")
    done = attach(daemon, run)
    assert (done.code, done.out) == (0, b"")
    assert 'Standard output is not used: the job has several unmapped outputs outputs="o, p"' in done.err
    assert "several unmapped input buffers: i, j" in attach(daemon, run, "--", "true").err


def test_a_run_that_failed(daemon):
    daemon.program = lambda _: (b"", "Failed", "Main exited with code 3")
    done = attach(daemon, create(daemon, "source"))
    assert done.code == 1
    assert 'FTL Run failed error="run failed with status Failed (Main exited with code 3)"' in done.err


def test_logs(daemon):
    daemon.logs[1] = [b"2026-01-31T00:00:01Z first"]
    assert "\nfirst\n" in attach(daemon, create(daemon, "source"), "--logs").err


@pytest.mark.parametrize(("flags", "status"), [([], "Running"), (["--on-exit", "cancel"], "Canceled")])
def test_the_first_signal(daemon, held, flags, status):
    run = create(daemon, "source")
    with cli.start(daemon.path, "run", "attach", run, *flags) as process:
        while b"status=Running" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == cli.ended_by(signal.SIGINT)
    assert daemon.runs[1]["status"] == status


def test_a_run_that_is_not_there(daemon):
    done = attach(daemon, "9")
    assert (done.code, done.err) == (66, "Error: NotFound: The resource was not found\n")
