"""`tyger buffer delete`, `restore` and `purge`: by id, by tag or all; contract cli.md 4.9."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import click

from tyger import errors
from tyger.cli import buffer, fields, flags, groups, output, resource, session


class Operation(NamedTuple):
    """One of the three: its words, and the requests that carry it out on one buffer and on many."""

    verb: str
    done: str
    method: str
    one_suffix: str
    many_path: str
    query: Sequence[tuple[str, str]]
    counts_soft_deleted: bool


DELETE = Operation("delete", "Deleted", "DELETE", "", "/buffers", (), counts_soft_deleted=False)
RESTORE = Operation(
    "restore", "Restored", "POST", "/restore", "/buffers/restore", (), counts_soft_deleted=True
)
PURGE = Operation(
    "purge",
    "Purged",
    "DELETE",
    "",
    "/buffers",
    (("ttl", "0"), ("softDeleted", "true")),
    counts_soft_deleted=True,
)


def _command(operation: Operation, text: str) -> click.Command:
    @click.command(
        cls=groups.Command,
        name=operation.verb,
        help=groups.describe(
            text
            + "\n\nName buffers by ID, or choose many with --tag or --all; then the number is shown and you"
            " are asked, unless --force is given. Prints the buffers, or for many how many they were.",
            examples=(
                f"tyger buffer {operation.verb} ID",
                f"tyger buffer {operation.verb} --tag project=heart --exclude-tag keep=yes --force",
            ),
            exit_status="0 on success or when you decline, 66 when there is no such buffer, 75 when it is in"
            " another state.",
        ),
    )
    @click.argument("buffer_ids", nargs=-1, metavar="[BUFFER-ID]...")
    @flags.map_option(
        "--tag", "tags", help="All buffers with this tag. Repeat it to ask for several at once."
    )
    @click.option("--all", "everything", is_flag=True, help="All buffers.")
    @flags.map_option("--exclude-tag", "exclude_tags", help="With --tag or --all: no buffers with this tag.")
    @click.option("--force", is_flag=True, help="Do not ask.")
    @click.pass_obj
    def run(
        invocation: session.Session,
        buffer_ids: Sequence[str],
        tags: Mapping[str, str],
        everything: bool,
        exclude_tags: Mapping[str, str],
        force: bool,
    ) -> None:
        if [bool(buffer_ids), bool(tags), everything].count(True) != 1:
            problem = errors.Problem(
                errors.USAGE, "give buffer IDs, or --tag, or --all, and only one of them"
            )
            raise session.Fatal("One of ID, --tag, or --all must be specified", problem)
        if buffer_ids:
            resource.each(
                invocation,
                fields.BUFFER,
                buffer_ids,
                lambda name: invocation.ask(
                    operation.method, buffer.path_of(name) + operation.one_suffix, query=operation.query
                ),
            )
        else:
            _many(invocation, operation, resource.tag_filters(tags, exclude_tags), force=force)

    return run


def _many(
    invocation: session.Session, operation: Operation, filters: list[tuple[str, str]], *, force: bool
) -> None:
    if not force:
        state = ("softDeleted", "true" if operation.counts_soft_deleted else "false")
        count = _number(invocation, "GET", "/buffers/count", [*filters, state])
        if count == 0:
            invocation.console.text("No buffers found.")
            return
        if not _agreed(invocation, f"Are you sure you want to {operation.verb} {count} buffers?"):
            return
    changed = _number(invocation, operation.method, operation.many_path, [*filters, *operation.query])
    invocation.console.text(f"{operation.done} {changed} buffers.")


def _number(invocation: session.Session, method: str, path: str, query: Sequence[tuple[str, str]]) -> int:
    answer = invocation.request(method, path, query=query).json()
    if not isinstance(answer, int):
        raise errors.Problem(errors.PROTOCOL, "unable to understand server response: not a number")
    return answer


def _agreed(invocation: session.Session, question: str) -> bool:
    """Ask on standard error; the answer is no unless it is y or yes.

    Raises:
        Problem: USAGE when nobody can be asked.
    """
    console = invocation.console
    if output.STDIN in console.closed or not os.isatty(output.STDIN):
        raise errors.Problem(
            errors.USAGE, "standard input is not a terminal, so nobody can be asked; add --force to go ahead"
        )
    return console.ask(f"{question} [y/N] ").strip().lower() in ("y", "yes")


delete = _command(
    DELETE, "Delete buffers. They can be restored until their grace period (24 hours by default) is over."
)
restore = _command(RESTORE, "Restore deleted buffers.")
purge = _command(PURGE, "Remove deleted buffers for good, with their bytes, at the next clean-up.")
