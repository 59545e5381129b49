"""The source files of our programs as the house tests see them: parsed, named, with their imports.

Everything here is read from the files' syntax trees; nothing of ours is imported, so that a broken module
fails the test that is about it and no other.
"""

from __future__ import annotations

import ast
import functools
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ("tyger", "tygerd", "tyger_proxy")


@dataclass(frozen=True)
class Source:
    """One module: dotted name (a package's `__init__` has the package's), path from the root, tree."""

    name: str
    path: str
    text: str
    tree: ast.Module


@functools.cache
def modules() -> dict[str, Source]:
    """All modules of all programs, by dotted name."""
    found = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            relative = file.relative_to(ROOT)
            parts = relative.with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = file.read_text()
            found[name] = Source(name, str(relative), text, ast.parse(text, str(relative)))
    return found


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of a tree but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from nodes(node)


@functools.cache
def imports(name: str) -> frozenset[str]:
    """Every module that `name` imports when it runs, wherever in the file, as full dotted names.

    `from a import b` counts as `a.b` where that is a module of ours, else as `a`.
    """
    source = modules()[name]
    found: set[str] = set()
    for node in nodes(source.tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{source.path}:{node.lineno}: relative import"
            assert node.level == 0, f"{source.path}:{node.lineno}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules() else node.module)
    return frozenset(found)


def closure(name: str) -> set[str]:
    """Every module of ours that is loaded when `name` is, including the packages around each."""
    pending, seen = [name], set()
    while pending:
        current = pending.pop()
        if current in seen or current not in modules():
            continue
        seen.add(current)
        pending.extend(imports(current))
        pending.append(current.rpartition(".")[0])
    return seen


def calls(name: str) -> list[tuple[int, str]]:
    """Every call in a module as (line, dotted text of what is called), for example (7, "time.time")."""
    return [
        (node.lineno, ast.unparse(node.func))
        for node in ast.walk(modules()[name].tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    ]
