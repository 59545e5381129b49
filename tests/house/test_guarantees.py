"""docs/guarantees.md names tests: each of them must exist, and every row must name one."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house import sources

PAGE = (sources.ROOT / "docs/guarantees.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    tree = ast.parse((sources.ROOT / file).read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in defined


def test_every_promise_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    promises = [row for row in rows if not re.match(r"\| (event|promise) \|", row)]
    assert len(promises) > 30
    assert [row for row in promises if "::test_" not in row] == []
