"""`tyger-proxy`: its two commands; everything about processes and messages is as for `tyger`."""

from __future__ import annotations

from typing import NoReturn

import click

import tyger
from tyger import __main__ as tyger_main
from tyger.cli import groups, session
from tyger_proxy import running, settings

_FILE = click.option(
    "-f",
    "--file",
    type=click.Path(readable=False, allow_dash=True),
    metavar="FILE",
    help="The options, YAML: serverUrl, port (6888; 0 for any), allowedClientCIDRs (a list; none: everybody),"
    " logPath, tlsCaCertificates. - is standard input.",
)
_STATUS = (
    "0 on success, 65 for options that are not valid, 69 when the server cannot be reached or the proxy"
    " does not start, 73 when another server's proxy has the port, 78 when port or log cannot be used."
)


def _print_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        context.obj.console.text(f"tyger-proxy version {tyger.__version__}")
        context.exit()


@click.group(
    cls=groups.Group,
    name="tyger-proxy",
    visible_flags=True,
    help=groups.describe(
        "Let the clients of a network do a few operations on one Tyger server, without a login.\n\n"
        "They may show and watch runs, read their logs, get access URLs, and read and write the buffers that"
        " these open. The server is reached by Unix socket: serverUrl is unix:///PATH, or local for this"
        " machine's daemon. Whoever may connect has all of this: name the networks in allowedClientCIDRs."
        " Clients of Microsoft's Tyger log in with: tyger login http://HOST:6888",
        examples=("tyger-proxy start -f proxy.yml", "tyger-proxy run -f proxy.yml"),
        exit_status=_STATUS,
    ),
)
@click.option(
    "-v",
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version and exit.",
)
def command() -> None:
    """Group; see `groups.Group`."""


command.params = [each for each in command.params if each.name != "baggage"]  # it sends what clients send


@command.command(
    name="run",
    help=groups.describe(
        "Be the proxy, in the foreground, until SIGINT or SIGTERM. Where one for the same server has the port"
        " already there is nothing to do.",
        examples=("tyger-proxy run -f proxy.yml",),
        exit_status=_STATUS,
    ),
    short_help="Be the proxy.",
)
@_FILE
@click.pass_obj
def run(invocation: session.Session, file: str | None) -> None:
    """Serve until a signal."""
    running.run(_settings(invocation, file), invocation.console)


@command.command(
    name="start",
    help=groups.describe(
        "Have a proxy in the background: start one, and wait until it listens. Where one for the same server"
        " has the port already there is nothing to do. logPath is required.",
        examples=("tyger-proxy start -f proxy.yml",),
        exit_status=_STATUS,
    ),
    short_help="Start a proxy in the background.",
)
@_FILE
@click.pass_obj
def start(invocation: session.Session, file: str | None) -> None:
    """Start one, and wait for its word."""
    running.start(_settings(invocation, file), invocation.console, invocation.environ)


def _settings(invocation: session.Session, file: str | None) -> settings.Settings:
    if file is None:
        raise click.UsageError('required flag(s) "file" not set', click.get_current_context())
    return settings.read(file, invocation.environ, socket=invocation.named_socket)


def main() -> NoReturn:
    """The process."""
    tyger_main.main(("tyger-proxy", command))


if __name__ == "__main__":
    main()
