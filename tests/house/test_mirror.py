"""Every module has its tests where a reader looks for them: `tests/unit/` mirrors the packages."""

from __future__ import annotations

import ast
import functools
import pathlib

import pytest

from tests.house import sources

UNIT = sources.ROOT / "tests/unit"

# Modules whose tests are in another place: that file or folder, or in words why there is nothing to test.
ELSEWHERE: dict[str, str] = {
    "tygerd.conformance.containers": "tests/conformance/test_stores.py",
    "tygerd.conformance.daemons.refusals": "tests/conformance/test_daemons.py",
    "tygerd.conformance.daemons.relays": "tests/conformance/test_daemons.py",
    "tygerd.conformance.daemons.site": "tests/conformance/test_daemons.py",
    "tygerd.conformance.daemons.stages": "tests/conformance/test_daemons.py",
    "tygerd.conformance.engines.bench": "tests/conformance/test_engines.py",
    "tygerd.conformance.engines.ends": "tests/conformance/test_engines.py",
    "tygerd.conformance.engines.limits": "tests/conformance/test_engines.py",
    "tygerd.conformance.engines.pipes": "tests/conformance/test_engines.py",
    "tygerd.conformance.engines.programs": "tests/conformance/test_engines.py",
    "tygerd.conformance.engines.wide": "tests/conformance/test_engines.py",
    "tygerd.conformance.remote": "tests/conformance/test_stores.py",
    "tygerd.conformance.store": "tests/conformance/test_stores.py",
    "tygerd.conformance.verdicts": "tests/conformance/test_engines.py",
}


def home_of(source: sources.Source) -> pathlib.Path:
    """Where a module has its tests: `tests/unit/blocks` for tygerd.blocks, `tests/unit/tyger` for tyger."""
    parts = pathlib.Path(source.path).parent.parts
    return UNIT.joinpath(*(parts[1:] if parts[0] == "tygerd" else parts))


@functools.cache
def imported_by_tests(directory: pathlib.Path) -> frozenset[str]:
    """The modules of ours that the test files of one directory import."""
    found: set[str] = set()
    for file in directory.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
                found.add(node.module)
            elif isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
    return frozenset(found)


def modules_to_test() -> list[str]:
    """All but the packages' `__init__`, which hold no code."""
    return [name for name, source in sources.modules().items() if not source.path.endswith("__init__.py")]


@pytest.mark.parametrize("name", modules_to_test())
def test_a_module_is_tested_beside_its_neighbours(name: str) -> None:
    source = sources.modules()[name]
    home = home_of(source)
    if place := ELSEWHERE.get(name):
        assert " " in place or (sources.ROOT / place).exists(), f"{place} is gone"
        return
    own = home / f"test_{name.rpartition('.')[2].strip('_')}.py"
    assert own.exists() or name in imported_by_tests(home), f"no test in {home} is about {name}"
