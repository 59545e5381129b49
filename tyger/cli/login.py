"""`tyger login`, `tyger logout` and `tyger login status` (contract cli.md 3): arguments and what is printed.

Nobody has to log in to the daemon on this machine. A login chooses another socket, and tells programs that
share the login file, such as the original's command line, where the daemon is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from tyger import addresses, errors, loginstate, reach, target
from tyger.cli import fields, flags, groups, layouts, loggingin, loginoptions, session

_FLAGS = [
    click.Option(
        ["-f", "--file"],
        type=flags.FILE,
        metavar="FILE",
        help="A login file: YAML with serverUrl, proxy, tlsCaCertificates and the keys for identities. - is"
        " standard input.",
    ),
    click.Option(
        ["--local"],
        is_flag=True,
        help="Log in to this machine's daemon, which is started where none runs.",
    ),
    click.Option(
        ["--proxy"],
        metavar="URL",
        help="The proxy to reach the server through, for all later commands: auto (default), none, or a URL."
        " A Unix socket is never reached through one.",
    ),
    click.Option(
        ["--tls-certificates", "tls_ca_certificates"],
        metavar="SOURCE",
        help="The certificates to trust: os (default), embedded, a PEM file, or PEM text.",
    ),
    click.Option(["-s", "--service-principal"], metavar="ID", hidden=True, help="Not in this version."),
    click.Option(
        ["-c", "--cert-file", "certificate_path"], metavar="FILE", hidden=True, help="Not in this version."
    ),
    click.Option(
        ["-t", "--cert-thumbprint", "certificate_thumbprint"],
        metavar="TEXT",
        hidden=True,
        help="Not in this version.",
    ),
    click.Option(
        ["-d", "--use-device-code", "device_code"], is_flag=True, hidden=True, help="Not in this version."
    ),
    click.Option(["--identity", "managed_identity"], is_flag=True, hidden=True, help="Not in this version."),
    click.Option(
        ["--identity-client-id", "managed_identity_client_id"],
        metavar="ID",
        hidden=True,
        help="Not in this version.",
    ),
    click.Option(["--github"], is_flag=True, hidden=True, help="Not in this version."),
    click.Option(
        ["--federated-identity", "target_federated_identity"],
        metavar="ID",
        hidden=True,
        help="Not in this version.",
    ),
]


class Login(groups.Group):
    """A noun that does something itself: its words are a server's URL, or the name of its one sub-command."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Its own flags come first, and its --proxy takes the place of the one that all commands have.
        self.params = [*_FLAGS, *(each for each in self.params if each.name != "proxy")]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find out which it is; flags may stand anywhere."""
        if self._is_status(args):
            return super().parse_args(ctx, args)
        ctx.allow_interspersed_args = True
        return click.Command.parse_args(self, ctx, args)

    def _is_status(self, args: Sequence[str]) -> bool:
        """Whether the first word that is no flag, and no flag's value, is the sub-command."""
        named = {name: each for each in self.params if isinstance(each, click.Option) for name in each.opts}
        waiting = False
        for arg in args:
            if waiting or (arg.startswith("-") and arg != "--"):
                option = named.get(arg)
                waiting = not waiting and option is not None and not option.is_flag
                continue
            return arg in self.commands
        return False

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command, or log in."""
        if ctx._protected_args:  # noqa: SLF001 - click has no public name for it
            return super().invoke(ctx)
        return click.Command.invoke(self, ctx)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """`[OPTIONS] [SERVER_URL]`; the sub-command has a page of its own."""
        return [*click.Command.collect_usage_pieces(self, ctx), "[SERVER_URL]"]


@click.group(
    cls=Login,
    name="login",
    help=groups.describe(
        "Choose the server that the commands speak to, until the next login.\n\n"
        "Nobody has to: without a login the commands use this machine's daemon. SERVER_URL is"
        " unix:///PATH or http+unix:///PATH:, a Unix socket on this machine, or local, which is --local."
        " Servers elsewhere (https, http, ssh, docker) and identities are refused in this version.\n\n"
        "The choice is kept in $TYGER_CACHE_FILE, else ~/.cache/tyger/.tyger, in the form that the command"
        " line of Microsoft's Tyger reads: a login here is one there. --socket and $TYGER_SOCKET go"
        " before it.",
        examples=(
            "tyger login unix:///run/tyger/tyger.sock",
            "tyger login --local",
            "tyger login -f login.yml",
        ),
        exit_status="0 on success, 65 for an address or a file that is not valid, 69 when the server cannot"
        " be reached, 76 when what answers is no server.",
    ),
    short_help="Choose the server that the commands speak to.",
)
@click.pass_context
def command(
    context: click.Context, /, file: str | None, local: bool, proxy: str | None, **given: Any
) -> None:
    """Read the options, then `loggingin` does it. Nothing where the sub-command was called."""
    if context.invoked_subcommand is not None:
        return
    invocation: session.Session = context.obj
    words = list(context.args)
    asked = {name: value for name, value in {"proxy": proxy, **given}.items() if value}
    url = _server(words, local, file, asked, context)
    directory = os.getcwd()
    if url is None and file is not None:
        options, directory = loginoptions.read(file)
        names = loginoptions.FIELDS
        # What a file cannot say, and what is said later than it.
        extra = ("device_code", "proxy", "tls_ca_certificates")
        options = loginoptions.Options(**{**vars(options), **{k: v for k, v in asked.items() if k in extra}})
    else:
        options, names = loginoptions.Options(server_url=url or "", **asked), loginoptions.FLAGS
        if file is not None:
            invocation.console.log("warn", "--file is ignored: a server URL was given.", file=file)
    try:
        loginoptions.check(options, names)
    except errors.Problem as problem:
        if problem.kind is errors.USAGE:
            raise click.UsageError(problem.message, context) from None
        raise
    loginoptions.refuse_credentials(options, names)
    loggingin.log_in(options, directory, invocation.environ, socket=invocation.named_socket)
    if invocation.environ.get("TYGER_SOCKET"):
        invocation.console.log("warn", "TYGER_SOCKET is set, and goes before the login.")


def _server(
    words: Sequence[str], local: bool, file: str | None, asked: dict[str, Any], context: click.Context
) -> str | None:
    """The server that the command line names; None: the file does."""
    if len(words) > 1:
        raise click.UsageError("too many arguments", context)
    if local and words:
        raise click.UsageError("--local cannot be specified with a server address", context)
    if local or list(words) == [addresses.LOCAL]:
        others = (["--file"] if file is not None and local else []) + [
            loginoptions.FLAGS[name] for name in asked if name != "proxy"
        ]
        if others:
            raise click.UsageError(f"the options --local and {others[0]} cannot be used together", context)
        return addresses.LOCAL
    if not words and file is None:
        raise click.UsageError("either a server URL, --file, or --local must be specified", context)
    return words[0] if words else None


@command.command(
    name="status",
    help=groups.describe(
        "Print which server the commands use. As text, it is not asked.",
        examples=("tyger login status", "tyger login status --format json"),
        exit_status="0 on success, 69 after a logout, or when --format json is asked for and the server does"
        " not answer.",
    ),
)
@layouts.format_option("A sentence (default), or JSON with the server's capabilities.")
@layouts.option(default="a sentence")
@click.pass_obj
def status(invocation: session.Session, text_or_json: str | None) -> None:
    """Print the address in force, and with JSON what GET /metadata says."""
    found = target.find(invocation.environ, socket=invocation.named_socket)
    login = found.login or {}
    principal = str(login.get("principal", ""))
    proxy = str(login.get("proxy", ""))
    proxy = "" if proxy in (reach.AUTO, reach.NONE) else proxy
    if layouts.as_text(invocation.console, text_or_json):
        user = f" as '{principal}'" if principal else ""
        through = f" using proxy server {proxy}" if proxy else ""
        invocation.console.text(f"You are logged in to {found.address.shown}{user}{through}")
        return
    try:
        metadata = invocation.ask("GET", "/metadata")
    except errors.Problem as problem:
        raise errors.Problem(problem.kind, f"failed to get service metadata: {problem.message}") from problem
    answer = {"serverUrl": found.address.url, "principal": principal, "proxy": proxy, "metadata": metadata}
    invocation.console.one(fields.LOGIN, answer)


@click.command(
    cls=groups.Command,
    name="logout",
    help=groups.describe(
        "Forget the login.\n\n"
        "From then on the commands say that nobody is logged in, until the next login; 'tyger login --local'"
        " takes this machine's daemon again. --socket and $TYGER_SOCKET go on to work.",
        examples=("tyger logout",),
        exit_status="0, also when nobody was logged in.",
    ),
    short_help="Forget the login.",
)
@click.pass_obj
def logout(invocation: session.Session) -> None:
    """Leave a login file without a server, and without a secret, behind."""
    loginstate.write(loginstate.path(invocation.environ), {})
