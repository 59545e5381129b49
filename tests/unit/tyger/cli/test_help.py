"""`tyger help`."""

import pytest


@pytest.mark.parametrize("path", ["", "buffer", "run exec", "buffer storage-account list", "runs get"])
def test_it_is_what_the_flag_prints(tyger, path):
    done = tyger("help", *path.split())
    assert done.code == 0
    usual = tyger(*path.split(), "--help").out
    assert done.out.splitlines()[1:] == usual.splitlines()[1:]
    assert done.out.startswith("Usage: tyger")


@pytest.mark.parametrize("path", ["nonsense", "run nonsense", "run list more"])
def test_no_such_topic(tyger, path):
    done = tyger("help", *path.split())
    assert (done.code, done.out) == (64, "")
    assert done.err == f"Error: unknown help topic \"{path}\"\nRun 'tyger --help' for usage.\n"
