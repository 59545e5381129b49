"""The published schemas of the Kubernetes API, of our kinds and each version that we support.

`tests/data/kubernetes/VERSION.json.xz` is cut from `api/openapi-spec/swagger.json` of k8s.io/kubernetes
(Apache-2.0): what the kinds below reach, without descriptions. To renew them:

    go mod download k8s.io/kubernetes@v1.34.2
    python -m tests.support.apischemas ~/go/pkg/mod/k8s.io/kubernetes@v1.34.2/api/openapi-spec/swagger.json
"""

from __future__ import annotations

import functools
import json
import lzma
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema

DATA = pathlib.Path(__file__).resolve().parents[1] / "data/kubernetes"

KINDS = {
    "Deployment": "io.k8s.api.apps.v1.Deployment",
    "Namespace": "io.k8s.api.core.v1.Namespace",
    "Pod": "io.k8s.api.core.v1.Pod",
    "Role": "io.k8s.api.rbac.v1.Role",
    "RoleBinding": "io.k8s.api.rbac.v1.RoleBinding",
    "Secret": "io.k8s.api.core.v1.Secret",
    "Service": "io.k8s.api.core.v1.Service",
    "ServiceAccount": "io.k8s.api.core.v1.ServiceAccount",
    "StatefulSet": "io.k8s.api.apps.v1.StatefulSet",
}

VERSIONS = sorted(path.name.removesuffix(".json.xz") for path in DATA.glob("*.json.xz"))

_QUANTITY = r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
"""As io.k8s.apimachinery.pkg.api.resource.Quantity describes itself, in words only."""


def complaints(version: str, item: dict[str, Any]) -> list[str]:
    """What is wrong with an object in the eyes of a version; unknown fields are wrong, too."""
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in _validator(version, KINDS[item["kind"]]).iter_errors(item)
    ]


@functools.cache
def _validator(version: str, name: str) -> jsonschema.Draft202012Validator:
    schema = {"$ref": f"#/definitions/{name}", "definitions": _definitions(version)}
    return jsonschema.Draft202012Validator(schema)


@functools.cache
def _definitions(version: str) -> dict[str, Any]:
    """As a JSON Schema: no other fields, and the two texts that are more than texts."""
    definitions: dict[str, Any] = json.loads(lzma.decompress((DATA / f"{version}.json.xz").read_bytes()))
    for name, schema in definitions.items():
        if schema.get("format") == "int-or-string":
            definitions[name] = {"type": ["integer", "string"]}
        elif name.endswith(".Quantity"):
            definitions[name] = {"type": "string", "pattern": _QUANTITY}
        elif "properties" in schema:
            schema["additionalProperties"] = False
    return definitions


def _cut(swagger: dict[str, Any]) -> dict[str, Any]:
    """What our kinds reach of a whole specification, without its prose."""
    found: dict[str, Any] = {}
    wanted = list(KINDS.values())
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _bare(swagger["definitions"][name])
            wanted += _references(found[name])
    return found


def _bare(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: _bare(value)
            for key, value in schema.items()
            # A property may be called so, and is an object then.
            if not key.startswith("x-kubernetes") and not (key == "description" and isinstance(value, str))
        }
    return [_bare(each) for each in schema] if isinstance(schema, list) else schema


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        for each in schema.values():
            yield from _references(each)


def main(paths: list[str]) -> None:
    """Cut each of these specifications."""
    DATA.mkdir(parents=True, exist_ok=True)
    for path in paths:
        swagger = json.loads(pathlib.Path(path).read_text())
        found = re.search(r"@v(\d+\.\d+)", path)
        assert found, "the path says which version it is"
        data = json.dumps(_cut(swagger), sort_keys=True, separators=(",", ":")).encode()
        (DATA / f"{found[1]}.json.xz").write_bytes(lzma.compress(data, preset=9))


if __name__ == "__main__":
    main(sys.argv[1:])
