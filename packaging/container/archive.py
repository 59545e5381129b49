"""Writes a container image of one layer to a file, with no engine's help: reproducible, byte for byte.

One file for everybody: an OCI image layout in a tar (`index.json`), and in it the `manifest.json` of
`docker save`, which older engines read. https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable
from typing import NamedTuple

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
"""What Go, and so every image, calls a machine; others have one name."""


class Entry(NamedTuple):
    """A file of the image, or a directory where `data` is None. `path` has no `/` in front."""

    path: str
    data: bytes | None = None
    mode: int = 0o644


class Config(NamedTuple):
    """How a container of the image starts."""

    entrypoint: list[str]
    env: list[str]
    user: str
    labels: dict[str, str]


def layer(entries: Iterable[Entry]) -> bytes:
    """A tar of these, in order of their paths, owned by root and of no time; directories above are added."""
    every = {entry.path: entry for entry in entries}
    for path in list(every):
        while path := os.path.dirname(path):
            every.setdefault(path, Entry(path))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for _, entry in sorted(every.items()):
            info = tarfile.TarInfo(entry.path)
            info.mode = entry.mode
            if entry.data is None:
                info.type, info.mode = tarfile.DIRTYPE, entry.mode | 0o111
            else:
                info.size = len(entry.data)
            tar.addfile(info, None if entry.data is None else io.BytesIO(entry.data))
    return buffer.getvalue()


def write(path: str, names: list[str], content: bytes, config: Config, machine: str) -> int:
    """Write the image under these names; the size of the layer as it is stored. The file appears whole.

    Raises:
        OSError: it cannot be written.
    """
    packed = gzip.compress(content, 9, mtime=0)
    described = _json(
        {
            "architecture": ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {
                "Entrypoint": config.entrypoint,
                "Env": config.env,
                "User": config.user,
                "WorkingDir": "/",
                "Labels": config.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(content)]},
            "history": [{"created_by": "packaging/container"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _described("config", described),
            "layers": [_described("layer", packed)],
        }
    )
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                **_described("manifest", manifest),
                "annotations": {
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                },
            }
            for name in names
        ],
    }
    docker = [{"Config": _blob(described), "RepoTags": names, "Layers": [_blob(packed)]}]
    entries = [
        ("oci-layout", _json({"imageLayoutVersion": "1.0.0"})),
        ("index.json", _json(index)),
        ("manifest.json", _json(docker)),
        *((_blob(blob), blob) for blob in (manifest, described, packed)),
    ]
    with open(f"{path}.new", "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    os.rename(f"{path}.new", path)
    return len(packed)


_TYPES = {
    "config": "application/vnd.oci.image.config.v1+json",
    "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
    "manifest": "application/vnd.oci.image.manifest.v1+json",
}


def _described(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": _TYPES[kind], "digest": _digest(data), "size": len(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _blob(data: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
