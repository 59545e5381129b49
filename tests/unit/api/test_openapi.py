"""The OpenAPI document says what the rows say."""

import msgspec

from tygerd.api import openapi
from tygerd.http import messages
from tygerd.http.router import Route


class Thing(msgspec.Struct):
    name: str


async def make(app: object, request: messages.Request, body: Thing) -> messages.Response:
    return messages.Response()


async def upload(app: object, request: messages.Request) -> messages.Response:
    return messages.Response()


DOCUMENT = openapi.document(
    [
        Route(
            "POST", "/things/{id}", make, "Make it",
            access="owner", body=Thing, status=201, response=list[Thing], query={"q": "what"},
        ),
        Route("PUT", "/blobs/{container}/{blob...}", upload, "Put it", versioned=False, streams_body=True),
        Route("POST", "/pipes", upload, "Bring it", versioned=False, fds=1),
    ],
    "1.2.3",
)  # fmt: skip


def test_an_operation():
    operation = DOCUMENT["paths"]["/things/{id}"]["post"]
    assert operation["summary"] == "Make it"
    assert operation["x-tyger-access"] == "owner"
    assert [(each["name"], each["in"]) for each in operation["parameters"]] == [
        ("id", "path"),
        ("q", "query"),
        ("api-version", "query"),
    ]
    reference = {"$ref": "#/components/schemas/Thing"}
    assert operation["requestBody"]["content"]["application/json"]["schema"] == reference
    (answer,) = operation["responses"].values()
    assert answer["content"]["application/json"]["schema"] == {"type": "array", "items": reference}
    assert list(operation["responses"]) == ["201"]


def test_streams_and_descriptors():
    put = DOCUMENT["paths"]["/blobs/{container}/{blob}"]["put"]
    assert "application/octet-stream" in put["requestBody"]["content"]
    assert [each["name"] for each in put["parameters"]] == ["container", "blob"]
    assert DOCUMENT["paths"]["/pipes"]["post"]["x-tyger-fds"] == 1


def test_it_is_json_and_names_its_version():
    assert msgspec.json.decode(msgspec.json.encode(DOCUMENT))["info"]["version"] == "1.2.3"
    assert list(DOCUMENT["components"]["schemas"]) == ["Thing"]
