"""What an answer that is no success means."""

import pytest

from tyger import errors
from tygerd.engines.kubernetes import refusals


def body(reason="", message="words", **more):
    return {"kind": "Status", "reason": reason, "message": message, **more}


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "BadRequest", refusals.Refused),
        (401, "Unauthorized", refusals.NoAccess),
        (403, "Forbidden", refusals.Refused),
        (404, "NotFound", refusals.NotFound),
        (409, "AlreadyExists", refusals.AlreadyExists),
        (409, "Conflict", refusals.Conflict),
        (410, "Expired", refusals.Gone),
        (410, "", refusals.Gone),
        (422, "Invalid", refusals.Refused),
        (429, "TooManyRequests", refusals.Transient),
        (500, "InternalError", refusals.Transient),
        (503, "ServiceUnavailable", refusals.Transient),
        (504, "Timeout", refusals.Transient),
        (418, "", refusals.Refused),
    ],
)
def test_what_there_is_to_do(status, reason, kind):
    trouble = refusals.answered(status, body(reason), what="create the pod x")
    assert type(trouble) is kind
    assert (trouble.status, trouble.reason) == (status, reason)
    assert str(trouble) == "cannot create the pod x: words"


def test_a_conflict_passes_and_a_refusal_does_not():
    assert issubclass(refusals.Conflict, refusals.Transient)
    assert not issubclass(refusals.Refused, refusals.Transient)


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        ("7", None, 7),
        (None, {"retryAfterSeconds": 2}, 2),
        ("1", {"retryAfterSeconds": 2}, 1),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None, None),
        ("-1", None, None),
        ("999999", None, None),
        (None, {}, None),
        (None, None, None),
    ],
)
def test_when_the_server_wants_to_be_asked_again(header, details, seconds):
    more = {} if details is None else {"details": details}
    assert refusals.answered(429, body(**more), retry_after=header).retry_after == seconds


def test_words_are_one_line_and_have_an_end():
    assert refusals.answered(403, "no\n  entry\t").message == "no entry"
    assert refusals.answered(403, "").message == "status 403"
    assert refusals.answered(403, {"message": None}).message == "status 403"
    long = refusals.answered(403, "x" * 5000).message
    assert len(long) == refusals.LONGEST
    assert long.endswith("...")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.CONFIG),
        (403, errors.FORBIDDEN),
        (404, errors.NOT_FOUND),
        (409, errors.UNAVAILABLE),
        (422, errors.INVALID_INPUT),
        (503, errors.UNAVAILABLE),
    ],
)
def test_it_has_a_row_in_our_table(status, kind):
    problem = refusals.answered(status, body(), what="list pods").problem()
    assert (problem.kind, problem.message) == (kind, "cannot list pods: words")
    exists = refusals.answered(409, body("AlreadyExists")).problem()
    assert exists.kind is errors.CONFLICT
