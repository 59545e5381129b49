"""Which image references this host can run, and what stands for them: `[[engine.process.images]]`. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from tyger import errors
from tygerd import config


def resolve(images: Sequence[config.Image], reference: str, config_path: str) -> config.Image:
    """The first entry that matches, by exact name or glob; no tag is the same as `:latest`.

    Raises:
        Problem: INVALID_INPUT, with the lines to add to the configuration.
    """
    spellings = _spellings(reference)
    for image in images:
        if any(
            spelling == image.image or fnmatch.fnmatchcase(spelling, image.image) for spelling in spellings
        ):
            return image
    raise errors.Problem(errors.INVALID_INPUT, _advice(reference, config_path))


def on_host(image: config.Image) -> bool:
    """The image is the file system of this host."""
    return image.root is None or image.root.rstrip("/") == ""


def _spellings(reference: str) -> list[str]:
    last = reference.rpartition("/")[2]
    if "@" in last:
        return [reference]
    name, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        return [reference, f"{reference}:latest"]
    return [reference, name] if tag == "latest" else [reference]


def _advice(reference: str, config_path: str) -> str:
    quoted = reference.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f"the image '{reference}' is not mapped to anything on this host. To run it with this host's own"
        f" programs, add these lines to {config_path} and restart tygerd:\n\n"
        "[[engine.process.images]]\n"
        f'image = "{quoted}"\n'
        'root = "/"          # or the directory that holds the image\'s file system\n'
        "entrypoint = []     # what the image starts where the codespec has no command\n"
    )
