"""`tyger login`: on this machine there is nobody to log in to, so it only tells which daemon is used.

Reaching other servers, and so the rest of the contract's section 3, is a later issue's.
"""

from __future__ import annotations

import click

from tyger import errors
from tyger.cli import fields, groups, layouts, session


@click.group(
    cls=groups.Group,
    name="login",
    help="Show which daemon the commands use, and as whom. There is nothing to log in to on this machine: the"
    " daemon knows you by your user ID.",
    short_help="Show which daemon is used.",
)
def command() -> None:
    """Group; see `groups.Group`."""


@command.command(
    name="status",
    help=groups.describe(
        "Print which daemon the commands use, and as whom. As text, the daemon is not asked.",
        examples=("tyger login status", "tyger login status --format json"),
        exit_status="0 on success, 69 when --format json is asked for and the daemon does not answer.",
    ),
)
@layouts.format_option("A sentence (default), or JSON with the daemon's capabilities.")
@layouts.option(default="a sentence")
@click.pass_obj
def status(invocation: session.Session, text_or_json: str | None) -> None:
    """Print the socket's URL, and with JSON what GET /metadata says."""
    where, principal = invocation.paths.socket, _user()
    if layouts.as_text(invocation.console, text_or_json):
        invocation.console.text(f"You are logged in to unix://{where} as '{principal}'")
        return
    try:
        metadata = invocation.ask("GET", "/metadata")
    except errors.Problem as problem:
        raise errors.Problem(problem.kind, f"failed to get service metadata: {problem.message}") from problem
    answer = {"serverUrl": f"http+unix://{where}:", "principal": principal, "metadata": metadata}
    invocation.console.one(fields.LOGIN, answer)


def _user() -> str:
    """The name of our effective user, or its number."""
    import os
    import pwd

    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
