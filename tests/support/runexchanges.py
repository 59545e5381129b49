"""Requests that make runs, for tests of the exchanges about them."""

import json

from tests.support.answers import ask

V = "api-version=1.0"
JOB = '{"kind":"job","image":"quay.io/x"}'
GOOD = json.loads(JOB)
TAG_KEY = "Tag keys must contain up to 128 letters (a-z, A-Z), numbers (0-9) and underscores (_)"


def post(body, *headers):
    return ask("POST", f"/runs?{V}", body, *headers)


def run(codespec=None, *, job=None, **fields):
    return {"job": {"codespec": codespec or GOOD, **(job or {})}, **fields}
