"""The schemas: their order and the order within them, and that they name what our types have."""

import msgspec
import pytest

from tyger import model
from tygerd.api import swaggerschemas

SCHEMAS = swaggerschemas.schemas()
DERIVED = ["JobCodespec", "JobRunCodeTarget", "WorkerCodespec"]


def ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def test_they_are_all_there_in_alphabetical_order():
    assert list(SCHEMAS) == sorted(SCHEMAS)
    assert len(SCHEMAS) == 24


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name not in DERIVED])
def test_a_schema(name):
    keys = list(SCHEMAS[name])
    assert keys == ["required", "type", "properties", "additionalProperties"][-len(keys) :]
    assert SCHEMAS[name]["additionalProperties"] is False


@pytest.mark.parametrize(("name", "base"), [(DERIVED[0], "Codespec"), (DERIVED[1], "RunCodeTarget")])
def test_a_derived_schema(name, base):
    first, own = SCHEMAS[name]["allOf"]
    assert list(SCHEMAS[name]) == ["allOf"]
    assert first == ref(base)
    assert list(own) == ["type", "properties", "additionalProperties"]
    assert own["additionalProperties"] == {}


def properties():
    for name, schema in SCHEMAS.items():
        own = schema["allOf"][1] if "allOf" in schema else schema
        for each, found in own["properties"].items():
            yield name, each, found


@pytest.mark.parametrize(("schema", "name", "found"), list(properties()))
def test_a_property(schema, name, found):
    order = ["minLength", "enum", "type", "oneOf", "items", "additionalProperties", "description", "format"]
    assert list(found) == [key for key in [*order, "nullable", "$ref"] if key in found]
    described = schema in ("Codespec", "Run", "RunCodeTarget", "JobRunCodeTarget", "WorkerCodespec")
    with_words = described and "$ref" not in found and (schema, name) != ("Run", "kind")
    assert ("description" in found) == with_words
    assert found.get("nullable", True) is True


def test_required_properties():
    required = {name: schema["required"] for name, schema in SCHEMAS.items() if "required" in schema}
    assert required == {"Codespec": ["image"], "Run": ["job"], "RunCodeTarget": ["codespec"]}


def test_unusual_properties():
    codespec, run = SCHEMAS["Codespec"]["properties"], SCHEMAS["Run"]["properties"]
    assert list(codespec["kind"]) == ["enum", "description"]
    assert list(codespec["image"]) == ["minLength", "type", "description"]
    assert codespec["resources"] == ref("CodespecResources")
    assert run["kind"] == {"enum": ["user", "system"]}
    assert list(run["status"]) == ["enum", "type", "description", "nullable"]
    assert run["job"] == ref("JobRunCodeTarget")
    assert run["worker"]["oneOf"] == [ref("RunCodeTarget"), ref("JobRunCodeTarget")]
    assert run["bufferAccessTtl"]["format"] == "date-span"
    target = SCHEMAS["RunCodeTarget"]["properties"]
    assert target["codespec"]["oneOf"] == [{"type": "string"}, ref("Codespec")]
    assert SCHEMAS["BufferPage"]["properties"]["nextLink"] == {
        "type": "string",
        "format": "uri",
        "nullable": True,
    }


EXTENSIONS = {"engine", "imageDigest"}
"""Fields of ours, which the original's document does not have."""


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("Buffer", model.Buffer, set()),
        ("BufferAccess", model.BufferAccess, set()),
        ("BufferParameters", model.BufferParameters, set()),
        ("BufferUpdate", model.BufferUpdate, set()),
        ("CodespecResources", model.Resources, set()),
        ("ErrorInfo", model.ErrorInfo, set()),
        ("ImportBuffersRequest", model.ImportBuffersRequest, set()),
        ("OvercommittableResources", model.Overcommittable, set()),
        ("Run", model.Run, set()),
        ("RunUpdate", model.RunUpdate, set()),
        ("RunCodeTarget", model.WorkerTarget, set()),
        ("Codespec", model.CodespecBase, {"kind"}),
        ("Socket", model.Socket, set()),
        ("StorageAccount", model.StorageAccount, set()),
        ("DatabaseVersionInUse", model.DatabaseVersion, set()),
    ],
)
def test_they_name_what_our_types_have(name, kind, more):
    ours = {field.encode_name for field in msgspec.structs.fields(kind)} - EXTENSIONS
    assert set(swaggerschemas.properties(name)) == ours | more


def test_of_an_export_the_document_does_not_say_all():
    ours = {field.encode_name for field in msgspec.structs.fields(model.ExportBuffersRequest)}
    assert ours - set(swaggerschemas.properties("ExportBuffersRequest")) == {"hashIds"}
