"""Starting our own programs, from anywhere."""

import subprocess

import pytest

from tyger import programs


@pytest.mark.parametrize("program", ["tyger", "tygerd", "tyger-proxy"])
def test_a_program_starts_wherever_the_caller_is(program, tmp_path):
    (tmp_path / "tyger.py").write_text("raise SystemExit('a module of the caller')")
    done = subprocess.run(
        [*programs.command(program), "--help"],
        cwd=tmp_path,
        env=programs.own_environment({"PATH": "/usr/bin:/bin"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert program in done.stdout.lower()


def test_the_callers_library_path_comes_back():
    environ = {"LD_LIBRARY_PATH": "/bundle", "LD_LIBRARY_PATH_ORIG": "/users/own", "A": "b"}
    assert programs.child_environment(environ) == {"LD_LIBRARY_PATH": "/users/own", "A": "b"}


def test_the_traces_of_a_bundle_are_removed():
    environ = {"_MEIPASS2": "x", "_PYI_APPLICATION_HOME_DIR": "y", "_PYI_PARENT_PROCESS_LEVEL": "1", "A": "b"}
    assert programs.child_environment(environ) == {"A": "b"}


def test_outside_a_bundle_nothing_is_taken():
    environ = {"LD_LIBRARY_PATH": "/users/own", "HOME": "/h"}
    assert programs.child_environment(environ) == environ


def test_our_own_programs_find_a_checkouts_modules():
    root = programs.own_environment({})["PYTHONPATH"]
    assert programs.__file__.startswith(root)
