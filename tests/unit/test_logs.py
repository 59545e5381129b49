"""How log lines look, and that no secret is in them."""

import io
import json
import logging
import os
import pty

import pytest

from tygerd import logs


def fail(text):
    raise ValueError(text)


@pytest.fixture
def log():
    """Sets logging up as the daemon does; gives back what was written."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()

    def begin(kind, **kwargs):
        logs.set_up(kind, stream=stream, **kwargs)
        return logging.getLogger("tygerd.http.server"), stream.getvalue

    yield begin
    root.handlers[:] = before
    root.setLevel(level)
    logging.getLogger("httpx").setLevel(logging.NOTSET)


def test_questions_to_an_engine_are_for_debuggers(log):
    _, written = log("human")
    logging.getLogger("httpx").info("HTTP Request: GET http://engine/_ping")
    assert written() == ""
    _, written = log("human", debug=True)
    logging.getLogger("httpx").info("HTTP Request: GET http://engine/_ping")
    assert "_ping" in written()


def test_people_get_lines(log):
    logger, written = log("human")
    logger.warning("bound %s again", "it", extra={"request": "r1"})
    assert written().partition(" ")[2] == "warning http.server: bound it again (request=r1)\n"


def test_machines_get_objects(log):
    logger, written = log("json")
    logger.error("two\nlines", extra={"request": "r1", "path": io})
    (line,) = written().splitlines()
    found = json.loads(line)
    assert found["message"] == "two\nlines"
    assert (found["level"], found["logger"], found["request"]) == ("error", "tygerd.http.server", "r1")
    assert found["time"].endswith("+00:00")


def test_the_journal_gets_priorities_on_every_line(log):
    logger, written = log("journal")
    try:
        fail("oh")
    except ValueError:
        logger.exception("broken")
    lines = written().splitlines()
    assert lines[0] == "<3>http.server: broken"
    assert all(line.startswith("<3>") for line in lines)
    assert lines[-1] == "<3>ValueError: oh"


@pytest.mark.parametrize("kind", ["human", "json"])
def test_tracebacks_are_kept(log, kind):
    logger, written = log(kind)
    try:
        fail("oh")
    except ValueError:
        logger.exception("broken")
    assert "ValueError: oh" in written()
    assert "test_logs.py" in written()


def test_debugging_is_off_unless_asked_for(log):
    logger, written = log("human")
    logger.debug("polls")
    assert written() == ""
    logger, written = log("human", debug=True)
    logger.debug("polls")
    assert "polls" in written()


SECRETS = [
    "GET /containers/x/00/000?sv=1&sig=SECRET%2Babc%3D&se=2",
    "http+unix:///s:/containers/x?sp=r&sig=SECRET",
    "Authorization: Bearer SECRET",
    "{'authorization': 'Bearer SECRET'}",
    "headers=[('Authorization', 'Bearer SECRET')]",
    '{"Authorization":"SECRET"}',
    "authorization=SECRET",
    "bearer SECRET",
    "Authorization: Basic SECRET",
]


@pytest.mark.parametrize("kind", logs.FORMATS)
@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_never_logged(log, kind, text):
    logger, written = log(kind)
    logger.info(text)
    logger.info("in an argument: %s and %r", text, text)
    logger.info("in an extra", extra={"url": text})
    try:
        fail(text)
    except ValueError:
        logger.exception("in a traceback")
    assert "SECRET" not in written()
    assert written().count("[redacted]") >= 5


@pytest.mark.parametrize("text", ["signal=9", "design=4", "the signature does not match", "bearers of news"])
def test_what_is_no_secret_stays(text):
    assert logs.redact(text) == text


def test_the_format_suits_where_stderr_leads(tmp_path):
    leader, follower = pty.openpty()
    with os.fdopen(leader), os.fdopen(follower, "w") as terminal:
        assert logs.choose(terminal, {}) == "human"
    with open(tmp_path / "log", "w") as file:
        assert logs.choose(file, {}) == "json"
        found = os.fstat(file.fileno())
        assert logs.choose(file, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}) == "journal"
        assert logs.choose(file, {"JOURNAL_STREAM": "1:2"}) == "json"
