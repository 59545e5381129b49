"""`tyger run attach`: back to a run that goes on, as `run exec` would follow it; the rest is `execution`.

Which buffers are joined to the standard streams is told by the run alone: those that the daemon made for it,
because nobody had mapped them.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tyger import access, errors
from tyger.cli import (
    data,
    execute,
    execution,
    flags,
    followoptions,
    groups,
    output,
    runfollow,
    session,
    stdio,
)

if TYPE_CHECKING:
    from tyger import producer as producer_module

MADE_FOR = "bufferName"
"""The tag of a buffer that the daemon made for a run: the parameter's name (contract rest-api.md 6.2)."""

BLOCK_SIZE, FLUSH_INTERVAL = 4 * 1024 * 1024, 1.0
"""Bytes and seconds: what `run exec` has unless it is told otherwise."""


@click.command(
    cls=groups.Command,
    name="attach",
    container_words=True,
    help=groups.describe(
        """
Follow a run that was created before, as `tyger run exec` follows its own: its output goes to standard output
from the first byte on, each byte once, its state to standard error, and its end becomes the exit code.

Output and input are the parameters that were not mapped to a buffer when the run was created, or to an
ephemeral one, which passes by once; others are reached with `tyger buffer read` and `write`. Standard input
is used where the input has had no writer yet; a terminal or a device such as /dev/null only with --input -.
An input whose writer has gone cannot be taken up again: it failed when that happened, and the run with it.

When this command ends before the run does, the run goes on, unless --on-exit cancel is given. A file that an
earlier command began is completed with --range.
        """,
        examples=(
            "tyger run attach 7 > out.nut",
            "tyger run attach 7 --range $(stat -c %s out.nut)- >> out.nut",
            "id=$(tyger run create -f recon.yml); tyger run attach $id -- scanner --protocol 7 | viewer",
        ),
        exit_status="0 when the run succeeded and all that was asked for was delivered, 1 when it failed or"
        " was canceled, 66 when there is no such run, 69 when the daemon stayed away, 73 when --input or a"
        " command is given for an input that was written, 74 when a stream failed, 128 + n after signal n.",
    ),
    short_help="Follow a run that was created before.",
)
@flags.one("run_id", "run ID", flags.RUN_ID)
@followoptions.logs
@click.option(
    "--input",
    "input_path",
    type=flags.FILE,
    metavar="FILE",
    help="Input instead of standard input; - is standard input, whatever it is.",
)
@click.option(
    "--range",
    "part",
    type=flags.RANGE,
    metavar="FROM-TO",
    help="Only these bytes of the output, TO included. FROM- is all from there on.",
)
@followoptions.on_exit("detach")
@flags.retry_for_option("standard input, or for the output standard output,")
@click.pass_context
def command(
    context: click.Context,
    /,
    run_id: int,
    show_logs: bool,
    timestamps: bool,
    input_path: str | None,
    part: tuple[int, int | None] | None,
    on_exit: str,
    retry_for: float | None,
) -> None:
    """Look the run up, then see to its streams."""
    invocation: session.Session = context.obj
    words: Sequence[str] | None = context.meta[groups.Command.WORDS]
    run = invocation.ask("GET", f"/runs/{run_id}")
    inputs, outputs = _unmapped(invocation, session.as_object(run.get("job") or {}))
    asked_for = "--input" if input_path is not None else None if words is None else "a command behind --"
    if asked_for and len(inputs) != 1:
        has = f"several unmapped input buffers: {', '.join(inputs)}" if inputs else "no unmapped input buffer"
        raise errors.Problem(errors.USAGE, f"{asked_for} is given, but the job has {has}")
    if len(outputs) > 1:
        text = "Standard output is not used: the job has several unmapped outputs"
        invocation.console.log("warn", text, outputs=", ".join(outputs))
    joined = run.get("status") not in runfollow.TERMINAL and _may_be_meant(invocation.console)
    with contextlib.ExitStack() as stack:
        source = sink = None
        producer: producer_module.Producer | None = None
        if len(inputs) == 1 and (asked_for or joined):
            source, producer = stack.enter_context(
                data.source(invocation, input_path, words, hint=execute.INPUT_HINT)
            )
        if len(outputs) == 1:
            sink = stack.enter_context(stdio.destination(invocation.console, None))
        settings = execution.Settings(
            source_name=None if source is None else inputs[0],
            source=source,
            producer=producer,
            sink_name=None if sink is None else outputs[0],
            sink=sink,
            show_logs=show_logs,
            timestamps=timestamps,
            block_size=BLOCK_SIZE,
            flush_interval=FLUSH_INTERVAL,
            on_exit=on_exit,
            retry_for=retry_for,
            part=part or (0, None),
            input_may_be_written=not asked_for,
        )
        execution.Execution(invocation, settings).attach(run)


def _unmapped(invocation: session.Session, job: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The inputs and outputs whose buffers were made for the run, in the codespec's order."""
    codespec = job.get("codespec")
    if isinstance(codespec, str):
        codespec = execute.fetched(invocation, codespec)
    parameters = session.as_object(codespec or {}).get("buffers") or {}
    buffers = job.get("buffers") or {}

    def made(names: list[str]) -> list[str]:
        return [name for name in names if name in buffers and _was_made(invocation, buffers[name], name)]

    return made(parameters.get("inputs") or []), made(parameters.get("outputs") or [])


def _was_made(invocation: session.Session, buffer: str, name: str) -> bool:
    if access.Access(buffer=buffer).is_ephemeral:
        return True
    try:
        found = invocation.ask("GET", f"/buffers/{session.segment(buffer, 'buffer ID')}")
    except errors.Problem as problem:
        if problem.kind is not errors.NOT_FOUND:
            raise
        return False  # deleted meanwhile
    return (found.get("tags") or {}).get(MADE_FOR) == name


def _may_be_meant(console: output.Console) -> bool:
    """Whether standard input is something that holds a stream, without anybody saying so."""
    if output.STDIN in console.closed:
        return False
    kind = os.fstat(output.STDIN).st_mode
    return stat.S_ISFIFO(kind) or stat.S_ISREG(kind) or stat.S_ISSOCK(kind)
