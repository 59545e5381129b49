"""Image references and what stands for them."""

from __future__ import annotations

import tomllib

import pytest

from tyger import errors
from tygerd import config
from tygerd.engines.process import images


def resolve(patterns: list[str], reference: str) -> str:
    rows = [config.Image(image=pattern) for pattern in patterns]
    return images.resolve(rows, reference, "/etc/tyger/tygerd.toml").image


@pytest.mark.parametrize(
    ("pattern", "reference"),
    [
        ("quay.io/x/ffmpeg", "quay.io/x/ffmpeg"),
        ("quay.io/x/ffmpeg", "quay.io/x/ffmpeg:latest"),
        ("quay.io/x/ffmpeg:latest", "quay.io/x/ffmpeg"),
        ("quay.io/x/ffmpeg*", "quay.io/x/ffmpeg:7.1"),
        ("*/ffmpeg:*", "quay.io/x/ffmpeg"),
        ("*", "anything@sha256:00"),
        ("x[1]", "x[1]"),
        ("localhost:5000/a:*", "localhost:5000/a"),
    ],
)
def test_matches(pattern, reference):
    assert resolve(["other", pattern], reference) == pattern


@pytest.mark.parametrize(
    ("pattern", "reference"),
    [("ffmpeg", "ffmpeg:7"), ("ffmpeg:7", "ffmpeg"), ("Ffmpeg", "ffmpeg"), ("a:latest", "a@sha256:00")],
)
def test_does_not_match(pattern, reference):
    with pytest.raises(errors.Problem):
        resolve([pattern], reference)


def test_the_first_match_counts():
    assert resolve(["a*", "ab"], "ab") == "a*"


@pytest.mark.parametrize("reference", ["ffmpeg", 'we"ird\\name'])
def test_an_unmapped_image_is_refused_with_the_lines_to_add(reference):
    with pytest.raises(errors.Problem) as caught:
        resolve([], reference)
    assert caught.value.kind is errors.INVALID_INPUT
    text = caught.value.message
    assert "/etc/tyger/tygerd.toml" in text.partition("\n")[0]
    lines = text[text.index("[[") :]
    added = config.parse(lines).engine.process.images
    assert (
        images.resolve(added, reference, "").image
        == tomllib.loads(lines)["engine"]["process"]["images"][0]["image"]
    )


@pytest.mark.parametrize(("root", "answer"), [(None, True), ("/", True), ("//", True), ("/srv/image", False)])
def test_on_host(root, answer):
    assert images.on_host(config.Image(image="x", root=root)) is answer
