"""`--errors json`: each way to fail as one line for programs."""

import json
import os
import signal

import pytest

from tests.support import cli
from tyger import errors
from tyger.cli import failures


def last(done):
    return json.loads(done.err.splitlines()[-1])


def test_every_kind_has_a_hint():
    assert {kind.code for kind in errors.KINDS} <= set(failures.HINTS)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("--errors json run list", True),
        ("run list --errors=JSON", True),
        ("run list --errors", False),
        ("--errors json --errors text", False),
        ("run list", False),
        ("buffer write x -- --errors json", False),
    ],
)
def test_asking_for_it_on_any_command_line(line, wanted):
    assert failures.asked_for(line.split()) is wanted


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bufer --errors json", 'unknown command "bufer" for "tyger"'),
        ("--errors=json run list --nope", "unknown flag: --nope"),
        ("run --errors json", "a command is required"),
        ("run list --status done --errors json", 'invalid argument "done" for "--status" flag'),
    ],
)
def test_a_wrong_command_line(tyger, line, message):
    done = tyger(*line.split())
    assert (done.code, done.out, done.err.count("\n")) == (64, "", 1)
    said = last(done)
    assert said.pop("message").startswith(message)
    assert said.pop("hint").startswith("Run 'tyger")
    assert said == {"code": "Usage", "exitStatus": 64}


def test_a_form_that_is_none(tyger):
    done = tyger("--errors", "xml", "run", "list")
    assert done.code == 64
    assert done.err.startswith('Error: invalid argument "xml" for "--errors" flag: must be')


def test_what_the_daemon_says(tyger, daemon):
    done = tyger("run", "show", "9", "--errors", "json")
    assert (done.code, done.err.count("\n")) == (66, 1)
    assert last(done) == {
        "code": "NotFound",
        "message": "The resource was not found",
        "exitStatus": 66,
        "hint": failures.HINTS["NotFound"],
    }
    daemon.answers["GET", "/runs/9"] = (418, {"error": {"code": "Teapot", "message": "short\nand stout"}})
    done = tyger("run", "show", "9", "--errors", "json")
    assert done.err.count("\n") == 1
    assert last(done) == {"code": "Teapot", "message": "short\nand stout", "exitStatus": 1}


def test_no_way_to_the_daemon(tyger):
    done = cli.run("/nowhere/s", "run", "list", "--errors", "json")
    assert done.code == 69
    assert last(done)["code"] == "Unavailable"


def test_a_transfer_that_fails(tyger, daemon):
    daemon.buffer("b", b"abc", "failed")
    done = cli.run(daemon.path, "buffer", "read", "b", "--errors", "json")
    assert (done.code, done.out) == (74, b"abc")
    said = last(done)
    assert said["code"] == "BufferFailed"
    assert said["message"] == "Failed to read buffer: its writer failed: gone"
    assert " FTL " not in done.err


def test_a_version_that_differs_is_told_before_it(daemon):
    daemon.version = "9"
    done = cli.run(daemon.path, "run", "show", "9", "--errors", "json")
    assert "another version" in done.err.splitlines()[0]
    assert last(done)["code"] == "NotFound"


def test_a_signal(daemon):
    daemon.buffer("b", b"abc", "writing")
    with cli.start(daemon.path, "buffer", "read", "b", "--errors", "json") as process:
        assert process.stdout.read(3) == b"abc"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == cli.ended_by(signal.SIGTERM)
        said = json.loads(process.stderr.read().splitlines()[-1])
    assert said == {"code": "Interrupted", "message": "ended by SIGTERM", "exitStatus": 143}


def test_a_reader_that_went_away(daemon):
    daemon.answers["GET", "/runs"] = (200, {"items": [{"id": n, "job": {}} for n in range(1000)]})
    reader, writer = os.pipe()
    os.close(reader)
    done = cli.run(daemon.path, "run", "list", "--errors", "json", stdout=writer)
    os.close(writer)
    assert done.code == 141
    assert last(done) == {
        "code": "Interrupted",
        "message": "the reader of standard output went away",
        "exitStatus": 141,
    }


def test_an_answer_that_makes_no_sense(tyger, daemon):
    daemon.answers["GET", "/runs"] = (200, {"items": [{"id": 1, "job": {}}], "nextLink": 7})
    daemon.answers["GET", "/7"] = (200, b"[")
    done = tyger("run", "list", "--limit", "2", "--errors", "json")
    assert last(done)["code"] == "Protocol"


def test_names_that_are_no_text():
    line = failures.Failure("NotFound", "no file \udcff", 66).line()
    assert line.isascii()
    assert json.loads(line)["message"] == "no file \udcff"
