"""The process's edges: exit codes, closed descriptors, a reader that goes away, defects."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.support import cli
from tests.support.cli import daemon, tyger

__all__ = ["daemon", "tyger"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bufer"], 'unknown command "bufer" for "tyger" (did you mean buffer?)'),
        (["buffer"], "a command is required"),
        (["buffer", "foo"], 'unknown command "foo" for "tyger buffer"'),
        (["buffer", "show"], "one buffer ID positional argument is required"),
        (["buffer", "show", "a", "b", "c"], "unexpected positional arguments after the buffer ID: [b c]"),
        (["buffer", "read"], "accepts 1 arg(s), received 0"),
        (["run", "create", "x"], 'unknown command "x" for "tyger run create"'),
        (["buffer", "list", "--tagg"], "unknown flag: --tagg (did you mean --tag?)"),
        (["buffer", "list", "--tag"], "flag needs an argument: --tag"),
        (
            ["buffer", "list", "--tag", "x"],
            'invalid argument "x" for "--tag" flag: x must be formatted as key=value',
        ),
        (
            ["run", "create", "-b", "x"],
            'invalid argument "x" for "-b, --buffer" flag: x must be formatted as key=value',
        ),
        (
            ["run", "list", "--status", "done"],
            "invalid argument \"done\" for \"--status\" flag: must be 'canceled', 'canceling', 'failed',",
        ),
        (["--log-level", "loud", "version"], 'invalid argument "loud" for "--log-level" flag: must be'),
        (["run", "show", "x"], "invalid run ID 'x'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_a_hint(tyger, arguments, said):
    done = tyger(*arguments)
    assert (done.code, done.out) == (64, "")
    error, hint = done.err.splitlines()
    assert error.startswith(f"Error: {said}")
    assert hint.startswith("Run 'tyger")
    assert hint.endswith("--help' for usage.")


def test_the_hint_is_about_the_command_whose_flag_has_no_value(tyger):
    assert tyger("buffer", "list", "--tag").err.endswith("Run 'tyger buffer list --help' for usage.\n")


def test_without_a_command_the_help_is_printed(tyger):
    done = tyger()
    assert done.code == 0
    assert done.out.startswith("Usage: tyger")


def test_help_anywhere(tyger):
    assert tyger("-h").out.startswith("Usage: tyger")
    assert tyger("buffer", "show", "--help").out.startswith("Usage: tyger buffer show [OPTIONS] BUFFER-ID")


def test_the_version_flag(tyger):
    assert tyger("--version").out.startswith("tyger version ")


def test_what_the_daemon_says_carries_its_code(tyger, daemon):
    daemon.answers["GET", "/runs/7"] = (403, {"error": {"code": "Forbidden", "message": "not yours"}})
    done = tyger("run", "show", "7")
    assert (done.code, done.err) == (77, "Error: Forbidden: not yours\n")


def test_an_answer_that_is_no_error_body(tyger, daemon):
    daemon.answers["GET", "/runs/7"] = (404, b"")
    done = tyger("run", "show", "7")
    assert (done.code, done.err) == (66, "Error: unexpected status code 404 Not Found\n")


def test_an_answer_that_is_not_json(tyger, daemon):
    daemon.answers["GET", "/runs/7"] = (200, b"<html>")
    done = tyger("run", "show", "7")
    assert done.code == 76
    assert done.err.startswith("Error: unable to understand server response: ")


def test_a_daemon_of_another_version_is_one_warning(tyger, daemon):
    daemon.version = "9.9"
    done = tyger("buffer", "show", "x")
    assert done.code == 0
    assert done.err.count("WRN") == 1
    assert "daemon=9.9" in done.err


def test_no_daemon_and_none_may_be_started():
    done = cli.run("/nonexistent/tyger.sock", "buffer", "show", "x")
    assert done.code == 69
    assert done.err.startswith("Error: ")
    assert len(done.err.splitlines()) == 1


def test_a_defect_is_one_line(tyger, daemon):
    daemon.answers["POST", "/runs"] = (201, {"job": {}})  # an answer without the id that we are promised
    daemon.codespecs["a"] = {"kind": "job", "image": "x"}
    done = tyger("run", "exec", "-c", "a")
    assert done.code == 70
    assert done.err.startswith("Error: this is a defect of tyger: KeyError: 'id' (execution.py:")
    assert len(done.err.splitlines()) == 1


def test_a_traceback_only_for_those_who_ask(daemon):
    daemon.answers["POST", "/runs"] = (201, {"job": {}})
    daemon.codespecs["a"] = {"kind": "job", "image": "x"}
    done = cli.run(daemon.path, "run", "exec", "-c", "a", environment={"TYGER_DEBUG": "1"})
    assert done.code == 70
    assert "Traceback" in done.err


def test_ctrl_c_ends_us_by_the_signal_so_that_shells_stop_their_loops(daemon):
    daemon.buffer("b", b"", state=None)
    with cli.start(daemon.path, "run", "exec", "-c", "x") as refused:
        assert refused.wait(60) == 66
    hold = threading.Event()
    asked = threading.Event()

    def answer(request):
        asked.set()
        hold.wait(60)
        return 200, {}, {}

    daemon.answers["GET", "/status"] = answer
    with cli.start(daemon.path, "status") as process:
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
        assert process.stderr.read() == b""
    hold.set()


def test_a_reader_that_goes_away_ends_us_quietly(daemon):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as out:
        done = cli.run(daemon.path, "--help", stdout=out)
    assert (done.code, done.err) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("arguments", [["buffer", "show", "x"], ["buffer", "gen", "1M"]])
def test_data_for_a_reader_that_went_away(daemon, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as out:
        done = cli.run(daemon.path, *arguments, stdout=out)
    assert (done.code, done.err) == (128 + signal.SIGPIPE, "")


def test_a_full_disk_under_standard_output(daemon):
    with open("/dev/full", "wb") as full:
        done = cli.run(daemon.path, "buffer", "show", "x", stdout=full)
    assert (done.code, done.err) == (74, "Error: cannot write to standard output: No space left on device\n")


def shell(daemon, line, **more):
    """Run a line of bash; `tyger` in it is our program."""
    function = f'tyger() {{ {sys.executable} -m tyger "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", function + line],
        env=cli.environ(daemon.path, **more),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def test_a_closed_standard_output_is_an_error(daemon):
    done = shell(daemon, "tyger buffer show x >&-")
    assert (done.returncode, done.stderr) == (74, b"Error: standard output is closed\n")


def test_a_closed_standard_input_does_not_matter_where_none_is_read(daemon):
    done = shell(daemon, "tyger buffer show x <&-")
    assert done.returncode == 0
    assert done.stdout.startswith(b"{")


def test_a_closed_standard_error_loses_only_messages(daemon):
    done = shell(daemon, "tyger run show 99 2>&-")
    assert (done.returncode, done.stdout) == (66, b"")


def test_no_descriptor_of_ours_takes_the_place_of_a_closed_one(daemon):
    done = shell(daemon, "tyger buffer create >&- <&- 2>&-")
    assert done.returncode == 74
