"""What handlers raise, as answers."""

import pytest

from tyger import errors
from tygerd.http import problems

PROBLEM = errors.Problem(errors.API_VERSION_INVALID, "no", details={"apiVersions": ["1.0"]})


def test_a_problem_becomes_its_body():
    answer = problems.answer(PROBLEM, "id")
    assert answer.status == 400
    assert answer.body == {"error": {"code": "InvalidApiVersion", "message": "no", "apiVersions": ["1.0"]}}


def test_some_have_no_body():
    answer = problems.answer(errors.Problem(errors.NOT_FOUND, "x", empty_body=True), "id")
    assert (answer.status, answer.body) == (404, None)


def test_who_shall_try_again_is_told_when():
    answer = problems.answer(errors.Problem(errors.TRY_AGAIN, "busy"), "id")
    assert ("Retry-After", "1") in answer.headers


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (PROBLEM, PROBLEM),
        (ExceptionGroup("", [PROBLEM]), PROBLEM),
        (ExceptionGroup("", [ExceptionGroup("", [PROBLEM]), errors.not_found()]), PROBLEM),
        (ExceptionGroup("", [PROBLEM, ValueError()]), None),
        (ValueError(), None),
    ],
)
def test_a_nursery_does_not_hide_a_problem(error, found):
    assert problems.find(error) is found


def test_anything_else_is_an_incident(caplog):
    answer = problems.answer(ValueError("details for us only"), "request-7")
    assert (answer.status, answer.body) == (500, None)
    ((name, incident),) = answer.headers
    assert name == "Incident"
    assert incident in caplog.text
    assert "details for us only" in caplog.text
    assert caplog.records[0].request == "request-7"
