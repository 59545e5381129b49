"""Answers that many recorded exchanges have in common, written as tests/support/exchanges.py says."""

from __future__ import annotations

import json
from collections.abc import Sequence

JSON = "Content-Type: application/json; charset=utf-8"


def ask(method: str, target: str, body: object = None, *headers: str) -> str:
    """A request; `body` is JSON, or a text that is sent as it is."""
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    return _written(">", f"{method} {target}", headers, text)


def answer(status: str, body: str, *headers: str) -> str:
    """An answer in JSON."""
    return _written("<", status, (JSON, *headers), body)


def _written(side: str, first: str, headers: Sequence[str], body: str | None) -> str:
    lines = [first, *headers] + ([] if body is None else ["", *body.split("\n")])
    return "".join(f"{side} {line}\n" for line in lines)


def refusal(status: str, code: str, message: str) -> str:
    """The answer that refuses something: contract rest-api.md 1.7."""
    return answer(status, f'{{"error":{{"code":"{code}","message":{json.dumps(message)}}}}}')


def invalid(message: str) -> str:
    """A rule that a body breaks."""
    return refusal("400 Bad Request", "InvalidInput", message)


def bad(message: str) -> str:
    """A parameter that does not bind."""
    return refusal("400 Bad Request", "BadRequest", message)


GONE = refusal("404 Not Found", "NotFound", "The resource was not found")
EMPTY_GONE = "< 404 Not Found\n"
EMPTY_STALE = "< 412 Precondition Failed\n"
