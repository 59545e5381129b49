"""The documents say what the programs do: pages as generated; commands, flags and recipes that exist."""

from __future__ import annotations

import pathlib
import re
import shlex
import subprocess
import sys

import click
import pytest

from tests.house import sources
from tyger.cli import login, root
from tygerd import config

DOCUMENTS = ["README.md", "HACKING.md"]


def code_lines(document: str) -> list[str]:
    """The commands shown in a document: its indented lines, and what stands between backquotes."""
    text = (sources.ROOT / document).read_text()
    indented = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return indented + re.findall(r"`([^`\n]+)`", text)


def invocations(document: str, program: str) -> list[list[str]]:
    """The words behind each call of `program` in the commands that a document shows."""
    found = []
    for line in code_lines(document):
        for part in re.split(r"[|;&()]", line):
            words = shlex.split(part, comments=True) if part.count("'") % 2 == 0 else part.split()
            # Assignments and redirections are the shell's.
            words = [word for word in words if not re.match(r"\w+=\$?$|<|>|2>", word)]
            if words and words[0] == program:
                found.append(words[1:])
    return found


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that some words name, and the words that are left; an unknown name is a KeyError."""
    command: click.Command = root.command
    rest = list(words)
    context = click.Context(command, info_name="tyger")
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        child = command.get_command(context, rest[0])
        if child is None:
            if isinstance(command, login.Login):
                break  # a server's URL
            raise KeyError(" ".join(words))
        context = click.Context(child, parent=context, info_name=rest.pop(0))
        command = child
    return command, rest


@pytest.mark.parametrize("generator", ["man", "engines"])
def test_the_man_pages_and_engines_are_what_the_generator_makes(generator: str) -> None:
    done = subprocess.run(
        [sys.executable, f"packaging/{generator}.py", "--check"],
        cwd=sources.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_show_commands_and_flags_that_exist(document: str) -> None:
    shown = invocations(document, "tyger")
    assert shown
    for words in shown:
        ours = (
            words[: words.index("--")] if "--" in words else words
        )  # behind it stands another program's line
        command, rest = command_of(ours)
        known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
        flags = {word.split("=")[0] for word in rest if word.startswith("-")}
        assert flags <= known | {"--help", "-h"}, f"{document}: tyger {' '.join(words)}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_show_recipes_that_exist(document: str) -> None:
    text = (sources.ROOT / "Justfile").read_text()
    recipes = set(re.findall(r"^([a-z-]+)(?: \*args)?:", text, re.MULTILINE))
    assert {"test", "check", "demo"} <= recipes
    for words in invocations(document, "./just"):
        assert set(words[:1]) <= recipes, f"{document}: ./just {' '.join(words)}"


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md", "docs/design.md"])
def test_documents_link_to_files_that_exist(document: str) -> None:
    file = sources.ROOT / document
    for link in re.findall(r"\]\(([^)#]+)\)", file.read_text()):
        assert "://" in link or (file.parent / link).exists(), f"{document}: {link}"


def test_the_example_configuration_is_valid() -> None:
    text = pathlib.Path(sources.ROOT, "examples/tygerd.toml").read_text()
    assert len(config.parse(text).engine.process.images) == 3
