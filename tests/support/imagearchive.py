"""Container images as `docker save` writes them, made without any engine: one layer, and a configuration.

imagearchive.write(path, "localhost/busybox:1", podman.root_filesystem({}), env=["PATH=/bin"])

The format is https://github.com/moby/docker-image-spec, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import tarfile
from collections.abc import Sequence


def write(
    path: pathlib.Path | str,
    name: str,
    layer: bytes,
    *,
    env: Sequence[str] = (),
    entrypoint: Sequence[str] = (),
    user: str = "",
) -> None:
    """Put an image with this name, and this root file system (a tar), into an archive."""
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Env": list(env), "Entrypoint": list(entrypoint), "User": user},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(path, mode="w") as tar:
        for file, data in (
            ("config.json", json.dumps(config).encode()),
            ("layer.tar", layer),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(file)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
