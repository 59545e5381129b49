import click
import pytest
from click import testing

from tyger.cli import followoptions


@click.command()
@followoptions.logs
@followoptions.on_exit("detach")
def command(**given):
    click.echo(sorted(given.items()))


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], {"on_exit": "detach", "show_logs": False, "timestamps": False}),
        (
            ["--logs", "--timestamps", "--on-exit", "cancel"],
            {"on_exit": "cancel", "show_logs": True, "timestamps": True},
        ),
    ],
)
def test_what_is_given(arguments, given):
    assert testing.CliRunner().invoke(command, arguments).output == f"{sorted(given.items())}\n"
