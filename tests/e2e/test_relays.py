"""Ephemeral buffers through the installed commands: what goes in comes out, once, and is kept nowhere."""

import os
import re
import subprocess
import threading
import time

import pytest

from tests.support import commands as support
from tests.support import daemon as daemons
from tests.support import ending, producer

PATIENCE = 60
BOTH = {"buffers": {"in": "_", "out": "_"}}


@pytest.fixture(scope="module")
def host():
    """A daemon of its own: it is killed here."""
    with daemons.daemon(config=support.HOST) as it:
        yield it


def created(commands, directory, script, timeout=600, **parameters):
    """A run that was created: its ID, and those of its buffers."""
    file = support.run_file(directory, script, **{**BOTH, **parameters})
    done = commands.run("run", "create", "-f", file, "--timeout", f"{timeout}s")
    assert done.returncode == 0, done.stderr
    run = done.stdout.decode().strip()
    return run, commands.show(run)["job"]["buffers"]


def url_of(commands, buffer, *flags):
    done = commands.run("buffer", "access", buffer, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def test_exec(host, commands, tmp_path):
    data = os.urandom(3_000_000)
    kept = host.path / "state" / "containers"
    before = set(os.listdir(kept))
    file = support.run_file(tmp_path, "cat < $IN_PIPE > $OUT_PIPE", **BOTH)
    done = commands.run("run", "exec", "-f", file, data=data)
    assert (done.returncode, done.stdout) == (0, data), done.stderr
    # The flag says the same, and whatever standard output is.
    plain = support.run_file(tmp_path, "cat < $IN_PIPE > $OUT_PIPE")
    with open(tmp_path / "out", "wb") as out:
        done = commands.run("run", "exec", "-f", plain, "-b", "in=_", "-b", "out=_", data=data, stdout=out)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == data
    made = commands.run("buffer", "list").stdout
    assert b"temp" not in made
    assert set(os.listdir(kept)) == before


def test_attach(commands, tmp_path):
    run, _ = created(commands, tmp_path, "tr a-z A-Z < $IN_PIPE > $OUT_PIPE")
    done = commands.run("run", "attach", run, data=b"hello")
    assert (done.returncode, done.stdout) == (0, b"HELLO"), done.stderr
    done = commands.run("run", "attach", run)
    assert done.returncode == 73
    assert "the buffer endpoint can only be called once" in support.complaint(done)


def test_one_kept_and_one_not(commands, tmp_path):
    kept = commands.buffer()
    file = support.run_file(tmp_path, "tee $KEPT_PIPE < $IN_PIPE > $OUT_PIPE", outputs=("kept", "out"))
    done = commands.run("run", "exec", "-f", file, "-b", "out=_", "-b", f"kept={kept}", data=b"both")
    assert (done.returncode, done.stdout) == (0, b"both"), done.stderr
    assert commands.run("buffer", "read", kept).stdout == b"both"


def test_write_and_read_by_id(commands, tmp_path):
    run, buffers = created(commands, tmp_path, "tr a-z A-Z < $IN_PIPE > $OUT_PIPE")
    assert re.fullmatch(f"run-{run}-temp-[a-z2-7]{{26}}", buffers["in"])
    reading = commands.start("buffer", "read", buffers["out"])
    assert commands.run("buffer", "write", buffers["in"], data=b"hello").returncode == 0
    assert reading.communicate(timeout=PATIENCE)[0] == b"HELLO"
    assert reading.returncode == 0
    assert commands.ended(run)["status"] == "Succeeded"
    for verb, name, data in (("write", "in", b"x"), ("read", "out", b"")):
        done = commands.run("buffer", verb, buffers[name], data=data)
        assert done.returncode == 73
        assert "the buffer endpoint can only be called once" in support.complaint(done)


def test_write_and_read_by_access_url(commands, tmp_path):
    run, buffers = created(commands, tmp_path, "rev < $IN_PIPE > $OUT_PIPE")
    writing = url_of(commands, buffers["in"], "--write")
    assert writing.endswith("&relay=true")
    (tmp_path / "access").write_text(url_of(commands, buffers["out"]))
    reading = commands.start("buffer", "read", tmp_path / "access")
    assert commands.run("buffer", "write", writing, data=b"stressed\n").returncode == 0
    assert reading.communicate(timeout=PATIENCE)[0] == b"desserts\n"
    assert commands.ended(run)["status"] == "Succeeded"


def test_a_url_of_another_daemon(host, commands, tmp_path):
    """Whose relay is then reached over HTTP, as the original's client does."""
    run, buffers = created(commands, tmp_path, "rev < $IN_PIPE > $OUT_PIPE")
    urls = [url_of(commands, buffers["in"], "--write"), url_of(commands, buffers["out"])]
    with daemons.daemon() as other, support.commands(other) as elsewhere:
        reading = elsewhere.start("buffer", "read", urls[1])
        assert elsewhere.run("buffer", "write", urls[0], data=b"stressed\n").returncode == 0
        assert reading.communicate(timeout=PATIENCE)[0] == b"desserts\n"
        again = elsewhere.run("buffer", "read", urls[1])
        assert again.returncode == 73
        assert "error reading from relay: the buffer endpoint can only be called once" in support.complaint(
            again
        )
    assert commands.ended(run)["status"] == "Succeeded"


def test_each_byte_goes_through_at_once(commands, tmp_path):
    file = support.run_file(tmp_path, "cat < $IN_PIPE > $OUT_PIPE", **BOTH)
    process = commands.start("run", "exec", "-f", file)
    os.set_blocking(process.stdin.fileno(), True)
    for number in range(50):
        message = b"%099d\n" % number
        os.write(process.stdin.fileno(), message)
        assert process.stdout.read(100) == message  # nothing more is written until it is here
    process.stdin.close()
    assert process.stdout.read() == b""
    assert process.wait(PATIENCE) == 0


def test_a_reader_that_pauses_holds_the_job_back(commands, tmp_path):
    """All that is on its way is in the pipes: a slow reader is no reason to keep anything."""
    script = "yes 0123456789abcdef | head -c 50000000 > $OUT_PIPE; echo done >&2"
    file = support.run_file(tmp_path, script, inputs=(), buffers={"out": "_"})
    process = commands.start("run", "exec", "-f", file, "--logs")
    first = process.stdout.read(16)
    run = support.run_of(process)
    support.until(process, b"status=Running")
    # Pipes of the job, of the command, and what is on its way between: 1 MiB each at most.
    assert commands.show(run)["status"] == "Running"
    rest = process.stdout.read()
    assert len(first) + len(rest) == 50_000_000
    assert b"done" in process.stderr.read()
    assert process.wait(PATIENCE) == 0


# --- ends that are not good ends -------------------------------------------------------------------------


def test_a_job_that_fails_after_half_a_stream(commands, tmp_path):
    file = support.run_file(tmp_path, "head -c 5 < $IN_PIPE > $OUT_PIPE; exit 3", **BOTH)
    done = commands.run("run", "exec", "-f", file, data=b"hello and more")
    assert done.returncode == 1
    assert "Main exited with code 3" in support.complaint(done)
    assert done.stdout in (b"hello", b"")


def test_a_job_that_leaves_early_is_no_failure(commands, tmp_path):
    script = "head -c 5 < $IN_PIPE > $OUT_PIPE"
    file = support.run_file(tmp_path, script, **BOTH)
    with ending.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        done = commands.run("run", "exec", "-f", file, stdin=endless.stdout)
        endless.stdout.close()
    assert (done.returncode, done.stdout) == (0, b"y\ny\ny"), done.stderr
    assert b"The job takes no more of its input" in done.stderr


def test_a_job_that_never_opens_its_pipes(commands, tmp_path):
    run, buffers = created(commands, tmp_path, "true")
    reading = commands.start("buffer", "read", buffers["out"])
    done = commands.run("buffer", "write", buffers["in"], data=b"x" * 100)
    assert commands.ended(run)["status"] == "Succeeded"
    said = reading.communicate(timeout=PATIENCE)[1]
    assert reading.returncode == 74
    assert "error reading from relay: failed to open reader" in support.complaint(said)
    assert done.returncode == 74
    assert "the job has ended without opening its pipe" in support.complaint(done)


def test_a_writer_that_is_killed(commands, tmp_path):
    run, buffers = created(commands, tmp_path, "cat < $IN_PIPE > $OUT_PIPE")
    reading = commands.start("buffer", "read", buffers["out"])
    writing = commands.start("buffer", "write", buffers["in"])
    writing.stdin.write(b"half")
    writing.stdin.flush()
    assert reading.stdout.read(4) == b"half"
    writing.kill()
    ended = commands.ended(run)
    assert ended["status"] == "Failed"
    assert "buffer 'in': its writer was killed, or lost its connection" in ended["statusReason"]
    assert reading.wait(PATIENCE) == 74


def test_a_producer_that_fails(commands, tmp_path):
    run, buffers = created(commands, tmp_path, "cat < $IN_PIPE > $OUT_PIPE")
    reading = commands.start("buffer", "read", buffers["out"])
    done = commands.run("buffer", "write", buffers["in"], "--", "sh", "-c", "echo half; exit 3")
    assert done.returncode == 74
    assert commands.ended(run)["status"] == "Failed"
    assert reading.wait(PATIENCE) == 74
    assert reading.stdout.read() in (b"half\n", b"")


def test_a_reader_that_is_killed_fails_the_run(commands, tmp_path):
    run, buffers = created(commands, tmp_path, "yes > $OUT_PIPE", inputs=(), buffers={"out": "_"})
    reading = commands.start("buffer", "read", buffers["out"])
    assert reading.stdout.read(4) == b"y\ny\n"
    reading.kill()
    ended = commands.ended(run)
    assert ended["status"] == "Failed"
    assert "buffer 'out': its reader went away before it had taken everything" in ended["statusReason"]


def test_nobody_reads_it(commands, tmp_path):
    run, _ = created(commands, tmp_path, "echo x > $OUT_PIPE", 8, inputs=(), buffers={"out": "_"})
    ended = commands.ended(run)
    assert ended["status"] == "Failed"
    assert "DeadlineExceeded: nobody has read all of the ephemeral buffer 'out'" in ended["statusReason"]


def test_a_job_that_fails_is_not_kept_for_a_reader(commands, tmp_path):
    run, _ = created(commands, tmp_path, "echo x > $OUT_PIPE; exit 3", inputs=(), buffers={"out": "_"})
    ended = commands.ended(run)
    assert (ended["status"], ended["statusReason"]) == ("Failed", "Main exited with code 3")


def test_cancel(commands, tmp_path):
    run, buffers = created(commands, tmp_path, "cat < $IN_PIPE > $OUT_PIPE")
    reading = commands.start("buffer", "read", buffers["out"])
    assert commands.run("run", "cancel", run).returncode == 0
    assert reading.wait(PATIENCE) == 74
    assert "Canceled" in support.complaint(reading.stderr.read())


def test_who_comes_after_a_cancel_is_told_of_it(host, commands, tmp_path):
    run, buffers = created(commands, tmp_path, "cat < $IN_PIPE > $OUT_PIPE")
    assert commands.run("run", "cancel", run).returncode == 0
    deadline = time.monotonic() + PATIENCE
    while (host.path / "state" / "runs" / run).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # nothing tells when its supervisor has done
    done = commands.run("buffer", "read", buffers["out"])
    assert done.returncode == 74
    assert "Canceled" in support.complaint(done)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["write", "out"],
            73,
            "writing to relay: the buffer is an output buffer and cannot be written to",
        ),
        (
            ["read", "in"],
            73,
            "reading from relay: the buffer is an input buffer and cannot be read from",
        ),
        (["read", "out", "--head", "5"], 65, "an ephemeral buffer can only be read as a whole"),
    ],
)
def test_refusals(commands, tmp_path, arguments, code, said):
    run, buffers = created(commands, tmp_path, "cat < $IN_PIPE > $OUT_PIPE")
    verb, name, *more = arguments
    done = commands.run("buffer", verb, buffers[name], *more, data=b"x")
    assert done.returncode == code
    assert said in support.complaint(done)
    commands.run("run", "cancel", run)


def test_nobodys_buffer(commands):
    unknown = "run-1-temp-" + "a" * 26
    for verb in ("read", "write"):
        done = commands.run("buffer", verb, unknown)
        assert done.returncode == 66
        assert "buffer relay server does not exist" in support.complaint(done)
    done = commands.run("buffer", "access", unknown)
    assert done.returncode == 66


# --- another daemon --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sig", [9, 15])
def test_a_stream_goes_on_over_a_restart_of_the_daemon(host, commands, tmp_path, sig):
    """Not a byte is lost or repeated: each is in one of the pipes."""
    seed, sent = 5, 0
    enough = threading.Event()

    def make(stdin):
        nonlocal sent
        with stdin:
            for piece in producer.pieces(seed):
                stdin.write(piece)
                sent += len(piece)
                if enough.wait(0.01):  # some 20 MB a second; it ends once it has been interrupted
                    return

    file = support.run_file(tmp_path, "cat < $IN_PIPE > $OUT_PIPE", **BOTH)
    process = commands.start("run", "exec", "-f", file)
    making = threading.Thread(target=make, args=(process.stdin,))
    with ending.Popen(producer.checking(seed), stdin=process.stdout, stdout=subprocess.PIPE) as checking:
        process.stdout.close()
        making.start()
        try:
            support.until(process, b"Transfer progress")
            host.restart(sig)
        finally:
            enough.set()
        making.join()
        checked = producer.load(checking.communicate(timeout=PATIENCE)[0])
        assert process.wait(PATIENCE) == 0, process.stderr.read()
    assert (checked.ended, checked.bytes) == ("end", sent)


def test_a_run_that_waits_for_its_input_waits_for_the_daemon_too(host, commands, tmp_path):
    run, buffers = created(commands, tmp_path, "cat < $IN_PIPE > $OUT_PIPE")
    reading = commands.start("buffer", "read", buffers["out"])
    support.until(reading, b"has not opened its pipe yet")
    host.restart()
    assert commands.run("buffer", "write", buffers["in"], data=b"late").returncode == 0
    assert reading.communicate(timeout=PATIENCE)[0] == b"late"
    assert commands.ended(run)["status"] == "Succeeded"
