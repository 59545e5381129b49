"""The proxy's log: both places, and no secret in either."""

import json
import logging
import os
import re
import stat

import pytest

from tyger import errors
from tyger.cli import output
from tyger_proxy import logs


@pytest.fixture
def log():
    made = logs.Log(output.Console({}))
    yield made
    made.close()


@pytest.fixture
def root():
    """What the test does to the process's log is undone."""
    logger = logging.getLogger()
    before = (logger.handlers[:], logger.level)
    yield logger
    logger.handlers[:], level = before
    logger.setLevel(level)


@pytest.mark.parametrize(
    ("where", "directory"),
    [("/a/b", True), ("/a/b.log", False), ("/a/b.log/", True), ("/a.b/c", True), ("/tmp", True)],
)
def test_what_is_a_directory(where, directory):
    assert logs.is_directory(where) == directory


def test_records_in_both_places(log, tmp_path, capfd):
    previous = os.umask(0o077)
    try:
        log.open(f"{tmp_path}/new/dir")
    finally:
        os.umask(previous)
    log("info", "Proxy is listening", port=7)
    log("debug", "not of interest")
    assert re.fullmatch(r"tyger-proxy-\d{8}T\d{6}Z-[0-9a-f]{8}\.log", os.path.basename(log.path))
    assert stat.S_IMODE(os.stat(log.path).st_mode) == 0o644
    with open(log.path, encoding="utf-8") as file:
        [line] = file.read().splitlines()
    record = json.loads(line)
    assert (record["level"], record["message"], record["port"]) == ("info", "Proxy is listening", 7)
    assert capfd.readouterr().err.endswith(" INF Proxy is listening port=7\n")


def test_a_file_is_added_to(log, tmp_path):
    (tmp_path / "x.log").write_text("before\n")
    log.open(f"{tmp_path}/x.log")
    log("warn", "after")
    before, after = (tmp_path / "x.log").read_text().splitlines()
    assert (before, json.loads(after)["message"]) == ("before", "after")


def test_a_place_that_cannot_be_written(log):
    with pytest.raises(errors.Problem, match="cannot write the log /proc/nowhere/") as caught:
        log.open("/proc/nowhere/x.log")
    assert caught.value.kind is errors.CONFIG


def test_the_modules_of_the_process_log_here_too(log, root, tmp_path, capfd):
    log.open(f"{tmp_path}/x.log")
    log.take_all()
    logging.getLogger("tygerd.http").error("GET /x?sig=%s failed", "secret")
    logging.getLogger("tygerd.http").debug("not of interest")
    log("info", "x", url="http://h/?sig=secret&a=b")
    written = (tmp_path / "x.log").read_text() + capfd.readouterr().err
    assert "secret" not in written
    assert written.count("sig=[redacted]") == 4
    assert "interest" not in written
