"""From exceptions to answers: a `Problem` as the contract words it, anything else as a 500 with an id.

Contract rest-api.md 1.7: a 500 has no body; ours has the header `Incident`, which the log repeats beside the
traceback.
"""

from __future__ import annotations

import logging
import secrets

from tyger import errors
from tygerd.http import messages
from tygerd.osutil import nurseries

logger = logging.getLogger(__name__)


def answer(error: Exception, request_id: str) -> messages.Response:
    """The answer to a request whose handler raised `error`; what is unexpected is logged."""
    if (problem := find(error)) is None:
        return messages.Response(500, headers=[("Incident", incident(error, request_id))])
    body = None if problem.empty_body else problem.body()
    headers = [("Retry-After", "1")] if problem.kind is errors.TRY_AGAIN else []
    return messages.Response(problem.status, body, headers)


def find(error: BaseException) -> errors.Problem | None:
    """The `Problem` that `error` is, or that a nursery wrapped; None when anything else is in it."""
    if isinstance(error, errors.Problem):
        return error
    return nurseries.problem_of(error) if isinstance(error, BaseExceptionGroup) else None


def incident(error: Exception, request_id: str) -> str:
    """Log an unexpected exception; the id under which it is found there."""
    name = secrets.token_hex(6)
    logger.error(
        "incident %s: an unexpected error while a request was served",
        name,
        exc_info=error,
        extra={"incident": name, "request": request_id},
    )
    return name
