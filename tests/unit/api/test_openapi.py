"""The OpenAPI document says what the rows say, and is one."""

from typing import Any

import msgspec
import openapi_spec_validator
import pytest

from tygerd.api import openapi, routes
from tygerd.http import messages
from tygerd.http.router import Parameter, Reply, Route


class Thing(msgspec.Struct):
    name: str


async def make(app: object, request: messages.Request, body: Thing) -> messages.Response:
    return messages.Response()


async def upload(app: object, request: messages.Request) -> messages.Response:
    return messages.Response()


DOCUMENT = openapi.document(
    [
        Route(
            "POST", "/things/{id}", make, "Make it", operation="makeThing",
            access="owner", body=Thing, query={"q": Parameter("what"), "tag": Parameter("t", {}, deep=True)},
            asks={"If-Match": Parameter("state")},
            status=201, response=list[Thing], headers={"ETag": Parameter("state")},
            also=[Reply(404), Reply(400, str), Reply(400, Thing)],
        ),
        Route(
            "PUT", "/blobs/{container}/{blob...}", upload, "Put it", operation="putBlob",
            versioned=False, streams_body=True, media="text/plain", response=Any,
        ),
        Route("POST", "/pipes", upload, "Bring it", operation="bring", versioned=False, fds=1),
        Route("GET", "/pipes", upload, "See it", operation="see", versioned=False),
    ],
    "1.2.3",
)  # fmt: skip
THING = {"$ref": "#/components/schemas/Thing"}


def answer_of(operation, status, media="application/json"):
    return operation["responses"][status]["content"][media]


def test_an_operation():
    operation = DOCUMENT["paths"]["/things/{id}"]["post"]
    assert (operation["operationId"], operation["summary"]) == ("makeThing", "Make it")
    assert operation["x-tyger-access"] == "owner"
    assert [(each["name"], each["in"], each.get("required", False)) for each in operation["parameters"]] == [
        ("id", "path", True),
        ("q", "query", False),
        ("tag", "query", False),
        ("api-version", "query", True),
        ("If-Match", "header", False),
    ]
    assert operation["parameters"][2]["style"] == "deepObject"
    assert operation["requestBody"]["content"]["application/json"]["schema"] == THING


def test_its_answers():
    operation = DOCUMENT["paths"]["/things/{id}"]["post"]
    assert list(operation["responses"]) == ["201", "400", "404", "413", "415", "500", "503", "507"]
    assert answer_of(operation, "201")["schema"] == {"type": "array", "items": THING}
    assert answer_of(operation, "400")["schema"] == {"anyOf": [{"type": "string"}, THING]}
    assert "content" not in operation["responses"]["404"]
    assert set(operation["responses"]["201"]["headers"]) == {"ETag", "Request-Id", "Tyger-Version"}
    assert operation["responses"]["503"] == {"$ref": "#/components/responses/NotNow"}


def test_streams_and_descriptors():
    put = DOCUMENT["paths"]["/blobs/{container}/{blob}"]["put"]
    assert "application/octet-stream" in put["requestBody"]["content"]
    assert [each["name"] for each in put["parameters"]] == ["container", "blob"]
    assert answer_of(put, "200", "text/plain") == {}
    assert DOCUMENT["paths"]["/pipes"]["post"]["x-tyger-fds"] == 1


def test_a_question_writes_nothing_and_brings_no_body():
    assert list(DOCUMENT["paths"]["/pipes"]["get"]["responses"]) == ["200", "400", "413", "500", "503"]


def test_it_is_json_and_names_its_version():
    assert msgspec.json.decode(msgspec.json.encode(DOCUMENT))["info"]["version"] == "1.2.3"
    assert {"Thing", "ErrorBody", "ErrorInfo"} == set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize(
    "document", [DOCUMENT, openapi.document(routes.ROUTES, "1")], ids=["small", "the daemon's"]
)
def test_it_is_valid(document):
    openapi_spec_validator.validate(msgspec.json.decode(msgspec.json.encode(document)))
