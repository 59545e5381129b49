"""docs/compatibility.md has all of the contract, each thing with a state, and is what its generator makes."""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys
import types

import pytest

from tests.house import sources

CONTRACT = pathlib.Path(sources.ROOT, "packaging/contract.py")
STATES = ("full", "differs: ", "accepted without effect: ", "refused: ", "not there: ")


def data() -> types.ModuleType:
    """What the original has; `packaging/` is a folder of scripts and no package."""
    spec = importlib.util.spec_from_file_location("contract", CONTRACT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows() -> list[tuple[str, str]]:
    """The lines of the page's tables: the thing as it stands there, and its state."""
    text = pathlib.Path(sources.ROOT, "docs/compatibility.md").read_text()
    lines = [line[2:-2].partition(" | ") for line in text.splitlines() if line.startswith(("| `", "| · `"))]
    return [(name, state) for name, _, state in lines]


def test_the_page_is_what_the_generator_makes() -> None:
    done = subprocess.run(
        [sys.executable, "packaging/compatibility.py", "--check"],
        cwd=sources.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["ENDPOINTS", "COMMANDS"])
def test_every_endpoint_command_parameter_and_flag_has_a_state(kind: str) -> None:
    things: dict[str, str] = getattr(data(), kind)
    assert len(things) > 30
    on_page: dict[str, list[str]] = {}
    for written, state in rows():
        names = written.removeprefix("· ").replace("`", "").split(", ")
        if written.startswith("· "):
            on_page[list(on_page)[-1]] += names
        else:
            on_page[names[0]] = []
        assert state.startswith(STATES) or (written.startswith("· ") and state == "not there"), written
    for name, parts in things.items():
        assert name in on_page
        assert sorted(on_page[name]) == sorted(parts.split()), name


def test_other_names_and_variables_have_a_state() -> None:
    contract = data()
    named = {written.split("`")[1] for written, _ in rows()}
    assert {*contract.ALIASES, *contract.VARIABLES} <= named


def test_installers_are_said_to_be_missing_and_what_stands_instead() -> None:
    states = {written.replace("`", ""): state for written, state in rows()}
    for name in data().COMMANDS:
        if name.split()[1:2] in (["cloud"], ["access-control"], ["config"], ["api"]):
            assert states[name].startswith("not there: "), name
