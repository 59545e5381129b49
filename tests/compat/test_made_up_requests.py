"""Requests made up from the OpenAPI document (Schemathesis), against a real daemon: every operation answers as it
is described, and none with a server error.

Half of the requests are valid and half are not; where a name stands for something, half name what is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import checks

from tests.support import commands as support
from tests.support import daemon, unixrequests
from tygerd.api import openapi, routes

SEED = 5
EXAMPLES = 10
MANY = 40
"""Requests an operation, in the quick tests and in the long ones."""

DOCUMENT = json.loads(msgspec.json.encode(openapi.document(routes.ROUTES, "1")))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

BUFFERS = 12
"""How many to have: some requests delete them."""


class Site:
    """A daemon in which there is something of each kind."""

    def __init__(self, host: daemon.Daemon) -> None:
        self.host = host
        self.session = unixrequests.session(host.socket)
        with support.commands(host) as commands:
            full, gone = commands.buffer(b"what is there"), commands.buffer(b"what was there")
            assert commands.run("buffer", "delete", gone).returncode == 0
            spec = ["codespec", "create", "known", "--image", "host", "--output", "out", "--command", "--"]
            assert commands.run(*spec, "sh", "-c", "echo hello > $OUT_PIPE").returncode == 0
            run = commands.run("run", "create", "-c", "known").stdout.decode().strip()
            assert commands.ended(run)["status"] == "Succeeded"
        self._buffers = [full, gone, *(self._post("/buffers")["id"] for _ in range(BUFFERS))]
        self._runs = [run]
        listed = self.session.get("http://tyger/transfers").json()["items"]
        self._transfers = [each["id"] for each in listed]
        self._access = urlsplit(self._post(f"/buffers/{full}/access", "writeable=true")["uri"])

    def _post(self, path: str, query: str = "") -> dict[str, str]:
        answer = self.session.post(f"http://tyger{path}?api-version=1.0&{query}", data=b"{}")
        made: dict[str, str] = answer.json()
        return made

    def there(self, case: schemathesis.Case, data: st.DataObject) -> None:
        """Let a request be about something that is there."""
        known = {
            "id": self._transfers if case.path.startswith("/transfers") else self._buffers,
            "buffer": self._buffers,
            "runId": self._runs,
            "name": ["known"],
            "version": ["1", "2"],
            "container": [self._access.path.rpartition("/")[2]],
            "blob": [".bufferstart", ".bufferend", "00/000", "new"],
        }
        for name in case.path_parameters:
            case.path_parameters[name] = data.draw(st.sampled_from(known[name]))
        if isinstance(case.body, dict):
            if case.path == "/runs":
                # Made-up tags, workers and times to live are hardly ever right together.
                kept = {name: case.body[name] for name in ("cluster", "timeoutSeconds") if name in case.body}
                case.body = {"job": {"codespec": "known/versions/1"}, **kept}
            if "url" in case.body:
                case.body["url"] = self._access.geturl()
        signed = dict(parse_qsl(self._access.query)) if "container" in case.path_parameters else {}
        case.query = {**(case.query or {}), **signed, "api-version": "1.0"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with daemon.daemon(config=support.HOST) as host:
        yield Site(host)
        assert '"level": "error"' not in host.log


def hold(site: Site, label: str, examples: int) -> None:
    """Ask for this operation in so many ways, always the same ones."""
    operation = OPERATIONS[label]
    valid = operation.as_strategy(schemathesis.GenerationMode.POSITIVE)
    invalid = operation.as_strategy(schemathesis.GenerationMode.NEGATIVE)

    @seed(SEED)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=valid | invalid, data=st.data(), about_what_is_there=st.booleans())
    def ask(case: schemathesis.Case, data: st.DataObject, about_what_is_there: bool) -> None:
        if about_what_is_there:
            site.there(case, data)
        answer = case.call(base_url="http://tyger", session=site.session)
        case.validate_response(answer, checks=CHECKS)

    ask()


@pytest.mark.parametrize("label", OPERATIONS)
def test_an_operation_answers_as_it_is_described(site: Site, label: str) -> None:
    hold(site, label, EXAMPLES)


@pytest.mark.long
@pytest.mark.parametrize("label", OPERATIONS)
def test_an_operation_answers_as_it_is_described_many_times(site: Site, label: str) -> None:
    hold(site, label, MANY)
