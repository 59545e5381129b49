"""Imports point down: who may import whom, as one table, and the closures that have to stay small."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.house import sources

# From top to bottom. A part may import itself and every part in a row below its own, never its neighbours.
ROWS: list[tuple[str, ...]] = [
    ("__main__",),
    ("app",),
    ("api",),
    ("http",),
    ("runs",),
    ("copying",),
    ("streams", "conformance"),
    ("buffers", "codespecs"),
    ("engines", "stores"),
    ("catalog",),
    ("blocks",),
    ("supervisor",),
    ("config",),
    ("storesettings", "enginesettings"),
    ("identity",),
    ("osutil", "logs", "tables", "quantity"),
    ("clock", "events"),
]
LEVEL = {part: level for level, row in enumerate(ROWS) for part in row}

# What `tygerd` may use of `tyger`: what both programs must agree on.
SHARED = {
    "access",
    "client",
    "errors",
    "model",
    "paths",
    "pipes",
    "programs",
    "reading",
    "relaying",
    "streams",
    "units",
    "writing",
}

# Tighter than its row. The supervisor must start in 20 ms and outlive an upgrade of the daemon.
SUPERVISOR_MAY_IMPORT = {
    "tyger.access",
    "tyger.client",
    "tyger.errors",
    "tyger.paths",
    "tyger.pipes",
    "tyger.programs",
    "tyger.reading",
    "tyger.relaying",
    "tyger.streams",
    "tyger.writing",
}


def part_of(module: str) -> str:
    """The part of tygerd that a module belongs to: `tygerd.api.runs` is of `api`."""
    return module.split(".")[1]


def tygerd_modules() -> list[str]:
    return [name for name in sources.modules() if name.startswith("tygerd.")]


def test_every_part_has_a_row() -> None:
    assert {part_of(name) for name in tygerd_modules()} <= set(LEVEL)


@pytest.mark.parametrize("name", tygerd_modules())
def test_tygerd_imports_point_down(name: str) -> None:
    part = part_of(name)
    wrong = {
        imported
        for imported in sources.imports(name)
        if imported.startswith("tygerd.")
        and part_of(imported) != part
        and LEVEL[part_of(imported)] <= LEVEL[part]
    }
    assert not wrong, f"{name} imports what does not stand below {part!r}"


@pytest.mark.parametrize("name", tygerd_modules())
def test_tygerd_uses_only_the_shared_modules_of_tyger(name: str) -> None:
    used = {imported for imported in sources.imports(name) if imported.startswith("tyger.")}
    assert {imported.split(".")[1] for imported in used} <= SHARED


def test_tyger_never_imports_tygerd() -> None:
    wrong = {
        (name, imported)
        for name in sources.modules()
        if name.split(".")[0] == "tyger"
        for imported in sources.imports(name)
        if imported.split(".")[0] == "tygerd"
    }
    assert not wrong


def test_the_proxy_stands_on_its_own() -> None:
    """tyger-proxy is a command line like `tyger` before a server like tygerd's, and no more of the daemon."""
    for name in sources.modules():
        used = {imported.split(".")[0] for imported in sources.imports(name)}
        assert name.startswith("tyger_proxy") or "tyger_proxy" not in used, name
    closure = sources.closure("tyger_proxy.__main__")
    assert "tygerd.http.connection" in closure
    parts = {part_of(name) for name in closure if name.startswith("tygerd.")}
    settings = {"config", "enginesettings", "storesettings", "tables", "quantity"}
    assert parts <= {"http", "identity", "osutil", "clock", "logs"} | settings


def test_http_knows_no_service() -> None:
    allowed = {"http", "identity", "config", "enginesettings", "osutil", "clock", "logs"}
    for name in tygerd_modules():
        if part_of(name) == "http":
            used = {part_of(imported) for imported in sources.imports(name) if imported.startswith("tygerd.")}
            assert used <= allowed, name


def test_the_supervisor_needs_the_standard_library_and_the_client_only() -> None:
    for name in sources.modules():
        if not name.startswith("tygerd.supervisor"):
            continue
        for imported in sources.imports(name):
            allowed = (
                imported.split(".")[0] in sys.stdlib_module_names
                or imported in SUPERVISOR_MAY_IMPORT
                or imported.startswith("tygerd.supervisor")
            )
            assert allowed, f"{name} imports {imported}"


def test_the_supervisors_closure_has_no_third_party_module() -> None:
    for name in sources.closure("tygerd.supervisor.__main__"):
        foreign = {
            imported
            for imported in sources.imports(name)
            if imported.split(".")[0] not in {*sys.stdlib_module_names, *sources.PACKAGES}
        }
        assert not foreign, f"{name} imports {foreign}"


def test_the_pump_ships_without_catalog_api_and_engines() -> None:
    parts = {part_of(name) for name in sources.closure("tygerd.streams.pump") if name.startswith("tygerd.")}
    assert not parts & {
        "__main__",
        "app",
        "api",
        "http",
        "runs",
        "buffers",
        "codespecs",
        "catalog",
        "engines",
    }


@pytest.mark.parametrize("name", sources.modules())
def test_modules_are_imported_not_objects(name: str) -> None:
    """`from tyger import errors`, not `from tyger.errors import Problem`: it shows where a name is from."""
    wrong = [
        f"line {node.lineno}: from {node.module} import {alias.name}"
        for node in sources.nodes(sources.modules()[name].tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in sources.PACKAGES
        for alias in node.names
        if f"{node.module}.{alias.name}" not in sources.modules()
    ]
    assert not wrong
