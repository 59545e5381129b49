"""The table of errors is unique, whole and documented."""

from __future__ import annotations

from tests.house import sources
from tyger import errors


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in errors.KINDS]
    assert len(codes) == len(set(codes))


def test_every_kind_says_what_it_means_and_fails() -> None:
    for kind in errors.KINDS:
        assert kind.meaning
        assert 400 <= kind.status <= 599, kind
        assert 1 <= kind.exit_code <= 127, kind


def test_every_exit_code_is_in_the_readme() -> None:
    rows = {
        line.split("|")[1].strip()
        for line in (sources.ROOT / "README.md").read_text().splitlines()
        if line.startswith("|")
    }
    assert {str(kind.exit_code) for kind in errors.KINDS} <= rows


def test_no_other_file_knows_a_number_of_the_table() -> None:
    """`sys.exit(69)` elsewhere would be a second table."""
    for name in sources.modules():
        for line, called in sources.calls(name):
            if called in {"sys.exit", "os._exit", "exit"}:
                text = sources.modules()[name].text.splitlines()[line - 1]
                assert not any(
                    f"({kind.exit_code})" in text for kind in errors.KINDS if kind.exit_code > 2
                ), f"{name}:{line}"
