"""One program of a run as a process; how a whole run ends is in test_supervise.py."""

from __future__ import annotations

import os
import select

import pytest

from tyger import errors
from tygerd.supervisor import ending, log, mains, spec


@pytest.fixture
def end():
    made = ending.Ending()
    yield made
    made.close()


@pytest.fixture
def process(end):
    def make(*argv, cwd="/", sandboxed=False, label=""):
        run = spec.ProcessSpec([*argv], dict(os.environ), cwd, sandboxed)
        return mains.make(spec.MainSpec("main", process=run, label=label), log.Stamps(), end)

    return make


def collect(main):
    """Reap it, as the loop does."""
    _, status = os.waitpid(main.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    main.reaped(code if code >= 0 else 128 - code)


def printed(main, source):
    """Wait for its first words."""
    select.select([main.sources[source]], [], [], 30)
    return main.sources[source].read()


def ended(main):
    for source in main.sources:
        source.close()
    return main.code


def test_a_process_prints_and_ends(process):
    main = process("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (main.runs, main.prints) == (False, False)
    main.start()
    assert (main.runs, main.prints) == (True, True)
    collect(main)
    assert main.sources[0].read().endswith(b" O out\n")
    assert main.sources[1].read().endswith(b" E err\n")
    assert (main.runs, main.ended, ended(main)) == (False, True, 3)


def test_lines_bear_the_programs_label(process):
    main = process("sh", "-c", "echo a; printf b", label="[job-0][main]")
    main.start()
    collect(main)
    assert main.sources[0].read().endswith(b" O [job-0][main] a\n")
    assert main.sources[0].close().endswith(b" o [job-0][main] b\n")
    ended(main)


@pytest.mark.parametrize(("how", "code"), [("terminate", 143), ("kill", 137)])
def test_a_process_is_stopped(process, how, code):
    main = process("sleep", "600")
    main.start()
    getattr(main, how)()
    collect(main)
    assert ended(main) == code


def test_a_sandbox_is_spared_what_runs_inside_is_not(process):
    main = process("sh", "-c", "sleep 600 & echo up; wait $!; echo $?", sandboxed=True)
    main.start()
    printed(main, 0)
    main.terminate()
    collect(main)
    assert main.sources[0].read().endswith(b" O 143\n")
    assert ended(main) == 0


@pytest.mark.parametrize(
    ("argv", "cwd", "reason"),
    [
        (["/no/such/program"], "/", "cannot start '/no/such/program': No such file or directory"),
        (
            ["true"],
            "/no/where",
            "cannot change to the working directory '/no/where': No such file or directory",
        ),
        (["a\0b"], "/", "cannot start 'a\0b': embedded null byte"),
    ],
)
def test_what_cannot_be_started(process, argv, cwd, reason):
    main = process(*argv, cwd=cwd)
    with pytest.raises(errors.Problem) as caught:
        main.start()
    assert caught.value.message == reason
    ended(main)


def test_a_spec_that_names_nothing(end):
    with pytest.raises(ValueError, match="main is neither a process nor a container"):
        mains.make(spec.MainSpec("main"), log.Stamps(), end)
