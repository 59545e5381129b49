"""The command line of `tyger-proxy`."""

import pytest

import tyger
from tyger import __main__ as tyger_main
from tyger_proxy import __main__ as program


@pytest.fixture
def proxy(capfd):
    def call(*arguments):
        capfd.readouterr()
        code = tyger_main.run(list(arguments), ("tyger-proxy", program.command))
        return (code, *capfd.readouterr())

    return call


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["start", "--help"]])
def test_help(proxy, words):
    code, out, err = proxy(*words)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: tyger-proxy")
    assert "Exit status: 0 on success" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a command is required"),
        (["x"], 'unknown command "x" for "tyger-proxy"'),
        (["run"], 'required flag(s) "file" not set'),
        (["start"], 'required flag(s) "file" not set'),
        (["run", "-f", "x", "y"], 'unknown command "y" for "tyger-proxy run"'),
        (["run", "--port", "7"], "unknown flag: --port"),
    ],
)
def test_command_lines_that_make_no_sense(proxy, words, message):
    code, out, err = proxy(*words)
    assert (code, out, err.splitlines()[0]) == (64, "", f"Error: {message}")
    assert "tyger-proxy" in err.splitlines()[1]


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_version(proxy, flag):
    assert proxy(flag) == (0, f"tyger-proxy version {tyger.__version__}\n", "")


def test_options_that_are_not_there(proxy):
    assert proxy("run", "-f", "/nowhere/p.yml") == (
        66,
        "",
        "Error: failed to read login options file: /nowhere/p.yml: No such file or directory\n",
    )
