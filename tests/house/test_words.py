"""What every module has to say and must not do: opening words, size, clocks, printing."""

from __future__ import annotations

import ast

import pytest

from tests.house import sources

LINES = 400

# Longer than LINES, each with its reason.
LONG: dict[str, str] = {}

CLOCKS = {
    "time.time",
    "time.time_ns",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "datetime.now",
    "datetime.utcnow",
}
# Wall-clock time makes tests depend on the day; everyone else asks these.
MAY_READ_CLOCKS = {
    "tygerd.clock": "the daemon's one clock",
    # The supervisor must not load what it can do without, and stamps what its job does.
    "tygerd.supervisor.log": "the time of a line",
    "tygerd.supervisor.container": "when a program was started",
    "tygerd.supervisor.mains": "the same",
    "tygerd.supervisor.supervise": "the run's end",
}

MAY_PRINT = {
    "tyger.cli.output": "the commands' one way out",
    "tygerd.logs": "a log goes to stderr",
}


@pytest.mark.parametrize("name", sources.modules())
def test_a_module_opens_with_what_it_owns(name: str) -> None:
    opening = ast.get_docstring(sources.modules()[name].tree)
    assert opening, "a module starts with one to ten lines: what it owns and what it must never do"


@pytest.mark.parametrize("name", sources.modules())
def test_a_module_is_readable_in_one_sitting(name: str) -> None:
    lines = sources.modules()[name].text.count("\n")
    assert lines <= LINES or name in LONG, f"{lines} lines: split it, or give the reason in LONG"


def test_reasons_for_long_modules_are_still_needed() -> None:
    assert all(sources.modules()[name].text.count("\n") > LINES for name in LONG)


@pytest.mark.parametrize("name", [name for name in sources.modules() if name.startswith("tygerd.")])
def test_wall_clock_time_comes_from_the_clock(name: str) -> None:
    if name not in MAY_READ_CLOCKS:
        assert not [call for call in sources.calls(name) if call[1] in CLOCKS]


@pytest.mark.parametrize("name", sources.modules())
def test_only_the_output_module_prints(name: str) -> None:
    if name not in MAY_PRINT:
        assert not [call for call in sources.calls(name) if call[1] in {"print", "click.echo", "click.secho"}]


@pytest.mark.parametrize("package", sources.PACKAGES)
def test_every_package_has_an_init(package: str) -> None:
    for file in (sources.ROOT / package).rglob("*.py"):
        assert (file.parent / "__init__.py").exists(), f"{file.parent} has no __init__.py"
