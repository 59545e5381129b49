"""Whatever stands on a command line, the command ends with a line that says why, and without a defect."""

import contextlib
import os
import tempfile

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tyger import __main__ as program
from tyger import errors
from tyger.cli import root

VALUES = [
    *("", "x", "1", "-1", "a=b", "a=b,c=d", "=", "--", "-", "'", '"', "1d", "3.04:05", "10k", "5s", "\n"),
    *(
        "\udcff",
        "é",
        "true",
        "running",
        "2026-01-01",
        "1 hour ago",
        "last monday",
        "/",
        "9" * 40,
        "[a]",
        "null",
    ),
]

ASKS_NO_SERVER = {"status", "version", "stdio-proxy", "__complete", "login", "logout"}


def leaves(group=root.command, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        elif not {name, *path} & ASKS_NO_SERVER:
            yield (
                [*path, name],
                [flag for one in command.params if isinstance(one, click.Option) for flag in one.opts],
            )


LEAVES = list(leaves())


@st.composite
def lines(draw):
    path, flags = draw(st.sampled_from(LEAVES))
    flag, value = st.sampled_from(flags), st.sampled_from(VALUES)
    mistyped = flag.map(lambda name: name[:-1])
    word = st.one_of(flag, value, mistyped, st.tuples(flag, st.sampled_from(["=", ""]), value).map("".join))
    words = list(path)
    for inserted in draw(st.lists(word, max_size=5)):
        words.insert(draw(st.integers(0, len(words))), inserted)
    return words


@contextlib.contextmanager
def descriptors(standard_error):
    """Standard input and output go nowhere, standard error into a file."""
    saved = [os.dup(fd) for fd in (0, 1, 2)]
    try:
        with open(os.devnull, "r+b", buffering=0) as null:
            for fd, there in ((0, null), (1, null), (2, standard_error)):
                os.dup2(there.fileno(), fd)
            yield
    finally:
        for fd, was in enumerate(saved):
            os.dup2(was, fd)
            os.close(was)


KNOWN = {0, *(kind.exit_code for kind in errors.KINDS)} - {errors.INTERNAL.exit_code, 1}


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("TYGER_AUTOSTART", "0")
    monkeypatch.setenv("TYGER_SOCKET", "/nonexistent/s")
    monkeypatch.chdir(tmp_path)  # some of these lines write files


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=lines())
def test_any_line(nowhere, words):
    with tempfile.TemporaryFile() as standard_error:
        with descriptors(standard_error):
            code = program.run(words)
        standard_error.seek(0)
        said = standard_error.read().decode("utf-8", "replace")
    records = (" WRN ", " DBG ", " TRC ")
    told = [line for line in said.splitlines() if not any(record in line for record in records)]
    assert code in KNOWN, (code, said)
    assert len(told) <= 2, said
    assert told or code == 0
