"""Commands that we run as producers: found or refused before all else, started as in a pipeline, ended."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from tests.support import cli
from tyger import errors, producer


@pytest.fixture
def make():
    made = []

    def make(*words, **environ):
        it = producer.Producer(words, {**os.environ, **environ})
        made.append(it)
        return it

    yield make
    for it in made:
        if it.started and not it.wait(0):
            it.end([(signal.SIGKILL, 60)])
        it.close()


def output(it):
    with open(os.dup(it.reader), "rb") as file:
        return file.read()


def ended(it):
    assert it.wait(60)
    return it.failure()


def script(path, text, mode=0o755):
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_its_output_is_the_pipe_and_its_end_counts(make):
    it = make("sh", "-c", "printf some; exit 3")
    assert not it.started
    it.start()
    assert output(it) == b"some"
    assert ended(it) == "the producer sh exited with code 3"


def test_a_good_end(make):
    it = make("true")
    it.start()
    assert output(it) == b""
    assert ended(it) is None
    assert it.ended


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (37, "signal 37")])
def test_an_end_by_a_signal(make, number, name):
    it = make("sh", "-c", f"kill -{number} $$")
    it.start()
    assert ended(it) == f"the producer sh was ended by {name}"


def test_it_gets_what_a_shell_would_give_it(make):
    """Our process group, no signal ignored or blocked that was not before, and no descriptor of ours."""
    it = make("sh", "-c", 'cut -d" " -f5 /proc/$$/stat; ls -l /proc/$$/fd')
    pipe = f"pipe:[{os.fstat(it.reader).st_ino}]"
    it.start()
    group, *shown = output(it).decode().split()
    assert int(group) == os.getpgrp()
    assert shown.count(pipe) == 1


def test_its_signals_are_as_they_were_for_us(make):
    it = make("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        it.start()  # as a thread does that takes no signals
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _, blocked, _, ignored = output(it).decode().split()
    assert int(blocked, 16) == 0
    assert int(ignored, 16) & (1 << signal.SIGPIPE - 1) == 0


def test_a_script_without_interpreter_is_the_shells(make, tmp_path):
    it = make(script(tmp_path / "acquire", 'printf "%s" "$1"\n'), "argument")
    it.start()
    assert output(it) == b"argument"
    assert ended(it) is None


@pytest.mark.parametrize(
    ("word", "kind", "why"),
    [
        ("no-such-command", errors.NOT_FOUND, "there is no such command in PATH"),
        ("./no-such-file", errors.NOT_FOUND, "No such file or directory"),
        ("/tmp", errors.FORBIDDEN, "it is a directory"),
        ("/etc/passwd", errors.FORBIDDEN, "it is not executable"),
        ("/etc/passwd/x", errors.IO_ERROR, "Not a directory"),
        ("", errors.INVALID_INPUT, "no command's name"),
    ],
)
def test_what_cannot_be_started_is_known_at_once(make, word, kind, why):
    with pytest.raises(errors.Problem, match=why) as caught:
        make(word)
    assert caught.value.kind is kind
    assert "\n" not in caught.value.message


def test_a_missing_interpreter_is_known_at_once(make, tmp_path):
    path = script(tmp_path / "acquire", "#!/no/such/python -u\n")
    with pytest.raises(errors.Problem, match="its interpreter /no/such/python does not exist"):
        make(path)


def test_the_path_is_the_callers(make, tmp_path):
    script(tmp_path / "acquire", "#!/bin/sh\nprintf here")
    (tmp_path / "other").mkdir()
    it = make("acquire", PATH=f"/nonexistent:{tmp_path}/other::{tmp_path}:/bin:/usr/bin")
    it.start()
    assert output(it) == b"here"


def test_what_only_the_kernel_refuses(make, tmp_path):
    it = make(script(tmp_path / "acquire", "#!/bin/sh\n"))
    (tmp_path / "acquire").unlink()
    with pytest.raises(errors.Problem, match="No such file") as caught:
        it.start()
    assert caught.value.kind is errors.NOT_FOUND
    assert not it.started


def test_one_that_cannot_be_watched_does_not_stay(make, monkeypatch):
    """Where no descriptor is left, or a filter forbids pidfd_open."""
    watched = []

    def refused(pid):
        watched.append(pid)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refused)
    it = make("sleep", "1000")
    with pytest.raises(errors.Problem, match="cannot start sleep: Too many open files"):
        it.start()
    assert not it.started
    with pytest.raises(ChildProcessError):
        os.waitpid(watched[0], 0)


def test_ending_one_that_obeys(make):
    it = make("sleep", "1000")
    it.start()
    it.end([(signal.SIGTERM, 60)])
    assert it.failure() == "the producer sleep was ended by SIGTERM"


def test_ending_one_that_does_not(make):
    it = make("sh", "-c", "trap '' TERM; echo ready; while :; do read x <&1; done 2>&1")
    it.start()
    assert os.read(it.reader, 6) == b"ready\n"
    it.end([(0, 0.001), (signal.SIGTERM, 0.001)])
    assert it.failure() == "the producer sh was ended by SIGKILL"


def test_a_pipe_that_is_closed_ends_one_that_writes(make):
    it = make("yes")
    it.start()
    os.read(it.reader, 1)
    it.end([(0, 60)])
    assert it.failure() == "the producer yes was ended by SIGPIPE"


def test_a_signal_cuts_one_wait_short(make):
    it = make("sh", "-c", "sleep 1000 & trap 'kill $!; exit 7' TERM; echo ready; wait")
    it.start()
    assert os.read(it.reader, 6) == b"ready\n"
    stop = os.eventfd(1)
    it.end([(0, 600), (signal.SIGTERM, 600)], stop)
    os.close(stop)
    assert it.failure() == "the producer sh exited with code 7"


def test_one_that_was_never_started_is_left_alone(make):
    make("true").end([(signal.SIGTERM, 60)])


def test_an_exit_code_is_kept_also_where_nobody_waited_for_children():
    """A parent that ignores SIGCHLD hands that down: then the kernel would throw exit codes away."""
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from tyger import producer\n"
        "it = producer.Producer(['false'], os.environ)\n"
        "it.start()\n"
        "it.wait(60)\n"
        "print(it.failure())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=cli.environ("/x"), capture_output=True, check=True, timeout=120
    )
    assert done.stdout == b"the producer false exited with code 1\n"
