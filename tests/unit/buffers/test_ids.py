import re

import pytest

from tygerd.buffers import ids


def test_new_ids():
    made = {ids.new() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch("[a-z2-7]{26}", one) for one in made)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("4xr6p5pdmy7ujanqhh7xkz2f3a", "stored"),
        ("abc", "stored"),
        ("temp-abc", "unstarted"),
        ("run-12-temp-abc", "relayed"),
        ("run-x-temp-abc", None),
        ("a-b", None),
        ("../x", None),
        ("", None),
        ("é", None),
    ],
)
def test_kinds(text, kind):
    assert ids.kind(text) == kind


def test_bare_ids():
    assert [ids.bare(text) for text in ("abc", "temp-abc", "run-12-temp-abc")] == ["abc"] * 3
    with pytest.raises(ValueError, match="not the id"):
        ids.bare("a-b")
