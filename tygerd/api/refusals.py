"""Refusals as the store's protocol has them: a status, a code in a header, and no body."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any

from tygerd.api import context
from tygerd.http import messages

HEADER = "x-ms-error-code"

Handler = Callable[[context.App, messages.Request], Coroutine[Any, Any, messages.Answer]]


class Refused(Exception):  # noqa: N818 - an answer, not a failure of ours
    """An error answer: the code, where there is one, in a header."""

    def __init__(self, status: int, code: str | None = None) -> None:
        super().__init__(code)
        self.answer = messages.Response(status, None, [(HEADER, code)] if code else [])


def answers(handler: Handler) -> Handler:
    """A handler whose refusals become answers."""

    @functools.wraps(handler)
    async def answering(app: context.App, request: messages.Request) -> messages.Answer:
        try:
            return await handler(app, request)
        except Refused as refused:
            return refused.answer

    return answering
