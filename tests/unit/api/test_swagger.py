"""The compatible Swagger document has the order and the shape that rest-api.md 3.4 describes."""

import openapi_spec_validator
import pytest
import yaml

from tests.support import served
from tygerd.api import routes, swagger

DOCUMENT = swagger.document(routes.ROUTES)
TEXT = swagger.yaml(DOCUMENT)

OPERATIONS = [
    f"{method} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods
]  # fmt: skip


def operation(name):
    method, path = name.split()
    return DOCUMENT["paths"][path][method]


def content(name, status):
    return operation(name)["responses"][status]["content"]["application/json"]["schema"]


def ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def test_it_is_valid():
    openapi_spec_validator.validate(DOCUMENT)


def test_the_top_level():
    assert list(DOCUMENT) == ["openapi", "info", "paths", "components", "tags"]
    assert DOCUMENT["openapi"] == "3.0.4"
    assert list(DOCUMENT["info"].items()) == [("title", "Tyger Server"), ("version", "1.0")]
    assert list(DOCUMENT["components"]) == ["schemas"]
    assert DOCUMENT["tags"] == [{"name": "tyger-server"}]


def test_the_order_of_operations():
    assert OPERATIONS == [
        "post /buffers", "get /buffers", "delete /buffers", "post /buffers/restore", "get /buffers/count",
        "get /buffers/{id}", "put /buffers/{id}", "delete /buffers/{id}", "post /buffers/{id}/restore",
        "post /buffers/{id}/access", "get /buffers/storage-accounts", "post /buffers/export",
        "post /buffers/import", "put /codespecs/{name}", "get /codespecs/{name}", "get /codespecs",
        "get /codespecs/{name}/versions/{version}", "post /runs", "get /runs", "get /runs/counts",
        "get /runs/{runId}", "put /runs/{runId}", "get /runs/{runId}/logs", "post /runs/{runId}/cancel",
        "get /metadata", "get /database-version-in-use",
    ]  # fmt: skip


def test_the_names_of_operations():
    found = {name: operation(name).get("operationId") for name in OPERATIONS}
    assert {name: each for name, each in found.items() if each} == {
        "post /buffers": "createBuffer", "get /buffers": "getBuffers", "delete /buffers": "deleteBuffers",
        "post /buffers/restore": "restoreBuffers", "get /buffers/count": "getBufferCount",
        "get /buffers/{id}": "getBufferById", "put /buffers/{id}": "setBufferTags",
        "delete /buffers/{id}": "deleteBuffer", "post /buffers/{id}/restore": "restoreBuffer",
        "post /buffers/{id}/access": "getBufferAccessString",
        "get /buffers/storage-accounts": "getStorageAccounts", "post /buffers/export": "exportBuffers",
        "post /buffers/import": "importBuffers", "put /runs/{runId}": "setRunTags",
    }  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation(name):
    found = operation(name)
    order = ["tags", "operationId", "parameters", "requestBody", "responses"]
    assert list(found) == [key for key in order if key in found]
    assert found["tags"] == ["tyger-server"]
    if "requestBody" in found:
        assert list(found["requestBody"]) == ["content", "required"]
    tagged = any(each["name"] == "tag" for each in found.get("parameters", ()))
    phrases = {
        "200": "Success" if tagged else "OK", "201": "Created", "202": "Accepted", "400": "Bad Request",
        "404": "Not Found", "412": "Precondition Failed",
    }  # fmt: skip
    for status, answer in found["responses"].items():
        assert answer["description"] == phrases[status]
        assert list(answer.get("content", ())) in ([], ["application/json"])
        if status >= "400":
            assert content(name, status) == ref("ErrorBody")


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("post /buffers", "201"),
        ("get /buffers", "200 400"),
        ("delete /buffers", "200 400"),
        ("get /buffers/{id}", "200 400 404"),
        ("put /buffers/{id}", "200 400 404 412"),
        ("delete /buffers/{id}", "200 400 404 412"),
        ("post /buffers/{id}/restore", "200 404 412"),
        ("post /buffers/{id}/access", "201 404"),
        ("post /buffers/export", "202"),
        ("put /codespecs/{name}", "200 201 400"),
        ("get /codespecs/{name}", "200"),
        ("post /runs", "201 400"),
        ("get /runs/{runId}", "200 404"),
        ("put /runs/{runId}", "200 404 412"),
        ("get /runs/{runId}/logs", "200 404"),
        ("post /runs/{runId}/cancel", "202 404"),
    ],
)
def test_the_statuses(name, statuses):
    assert list(operation(name)["responses"]) == statuses.split()


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("get /buffers", "limit _ct tag"),
        ("get /codespecs", "limit prefix _ct"),
        ("get /codespecs/{name}/versions/{version}", "name version"),
        ("post /buffers/{id}/access", "id writeable preferTcp fromDocker"),
        ("get /runs", "limit since status _ct tag"),
        ("get /runs/counts", "since tag"),
        ("get /runs/{runId}", "runId watch"),
        ("get /runs/{runId}/logs", "runId timestamps tailLines since follow"),
    ],
)
def test_the_parameters(name, names):
    parameters = operation(name)["parameters"]
    assert [each["name"] for each in parameters] == names.split()
    for each in parameters:
        order = ["name", "in", "required", "style", "explode", "schema"]
        assert list(each) == [key for key in order if key in each]
        assert each.get("required") == (True if each["in"] == "path" else None)
        if each["in"] == "path":
            assert each["schema"] == {"type": "string"}


def test_the_types_of_parameters():
    known = {
        each["name"]: each for name in OPERATIONS for each in operation(name).get("parameters", ())
    }  # fmt: skip
    assert known["tag"] == {
        "name": "tag", "in": "query", "style": "deepObject", "explode": True,
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    }  # fmt: skip
    assert known["limit"]["schema"] == {"type": "integer", "format": "int32"}
    assert known["tailLines"]["schema"] == {"type": "integer", "format": "int32"}
    assert known["since"]["schema"] == {"type": "string", "format": "date-time"}
    assert known["status"]["schema"] == {"type": "array", "items": {"type": "string"}}
    assert known["watch"]["schema"] == {"type": "boolean"}
    assert not {"api-version", "ttl", "softDeleted", "excludeTag"} & set(known)


def test_bodies():
    any_codespec = {"oneOf": [ref("JobCodespec"), ref("WorkerCodespec")], "additionalProperties": False}
    assert content("put /codespecs/{name}", "201") == any_codespec
    body = operation("put /codespecs/{name}")["requestBody"]["content"]["application/json"]["schema"]
    assert body == any_codespec
    assert content("post /buffers/{id}/restore", "200") == {"type": "integer", "format": "int32"}
    assert content("get /buffers/storage-accounts", "200") == {
        "type": "array",
        "items": ref("StorageAccount"),
    }
    assert "content" not in operation("get /runs/{runId}/logs")["responses"]["200"]
    counts = content("get /runs/counts", "200")
    assert list(counts) == ["type", "properties", "additionalProperties"]
    assert counts["properties"]["Succeeded"] == {"type": "integer", "format": "int64"}
    assert len(counts["properties"]) == 6


# --- YAML --------------------------------------------------------------------------------------------------


def test_the_yaml_is_the_same_document():
    assert yaml.safe_load(TEXT) == DOCUMENT


def test_the_layout_of_the_yaml():
    assert TEXT.startswith(
        "openapi: 3.0.4\ninfo:\n  title: Tyger Server\n  version: '1.0'\npaths:\n  /buffers:\n    post:\n"
        "      tags:\n        - tyger-server\n      operationId: createBuffer\n      requestBody:\n"
    )
    assert TEXT.endswith("tags:\n  - name: tyger-server\n")
    assert "  '/buffers/{id}':\n" in TEXT
    assert "        '201':\n          description: Created\n" in TEXT
    assert "          additionalProperties: { }\n" in TEXT
    assert (
        "        - name: limit\n          in: query\n          schema:\n            type: integer\n" in TEXT
    )
    assert "\t" not in TEXT


@pytest.mark.parametrize(
    ("text", "written"),
    [("a, b", "'a, b'"), ("it's, so", "'it''s, so'"), ("it's so", "it's so"), ("1", "'1'"), ("#/x", "'#/x'")],
)
def test_what_is_quoted(text, written):
    assert swagger.yaml([text]) == f"- {written}\n"


async def test_it_is_served():
    async with served.serving(None, swagger.ROUTES) as client:
        for path in ("/swagger/v1.0/swagger.json", "/v1/swagger/v1.0/swagger.json?api-version=0.1"):
            answer = await client.call("GET", path)
            assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
            assert answer.json() == DOCUMENT
        answer = await client.call("GET", "/swagger/v1.0/swagger.yaml")
        assert (answer.status, answer.headers["content-type"]) == (200, "text/yaml; charset=utf-8")
        assert answer.body.decode() == TEXT
