"""`tyger run exec`: a pipe through a run. Standard input becomes its input, its output standard output.

Arguments, and which of the job's buffers are joined to the standard streams; the rest is `execution`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tyger import errors
from tyger.cli import data, execution, flags, followoptions, groups, runrequest, session, stdio

INPUT_HINT = "pipe data in, map the input with --buffer, or say --input - to type it"

if TYPE_CHECKING:
    from tyger import producer as producer_module


@click.command(
    cls=groups.Command,
    name="exec",
    container_words=True,
    help=groups.describe(
        """
Start a run, stream standard input into it and its output to standard output, and wait for it.

Standard input goes to the one input parameter that is not mapped to a buffer with --buffer (or that is
mapped to _), standard output gets the one such output; without one the stream is not touched. The run's ID
and state are reported on standard error. The first Ctrl-C, TERM or HUP cancels the run (see --on-exit); the
second ends this command at once.

The end of a pipe does not tell whether its producer succeeded. Give the producer behind -- to have it run,
once the run has been created, and its exit code count: unless it is 0 the input fails, and the run with it.
        """,
        examples=(
            "cat video.nut | tyger run exec -f negate.yml > out.nut",
            "tyger run exec -f recon.yml -- scanner --protocol 7 | viewer",
            "tyger run exec -c recon --buffer input=$id --logs | viewer",
        ),
        exit_status="0 when the run succeeded and all its output was delivered, 1 when it failed or was"
        " canceled, 65 when it is not valid, 66 when there is no such codespec or command, 69 when the daemon"
        " stayed away, 74 when a stream, or the producer behind --, failed, 128 + n after signal n, thus 141"
        " when the reader of standard output goes away.",
    ),
    short_help="Stream standard input through a run to standard output.",
)
@runrequest.options
@followoptions.logs
@click.option(
    "--input",
    "input_path",
    type=flags.FILE,
    metavar="FILE",
    help="Input instead of standard input; - is standard input, even when it is a terminal.",
)
@click.option(
    "--block-size",
    type=flags.BLOCK_SIZE,
    metavar="SIZE",
    default="4MiB",
    show_default=True,
    help="Size of a full block of the input: a number with B, KiB, MiB or GiB.",
)
@click.option(
    "--flush-interval",
    type=flags.INTERVAL,
    metavar="DURATION",
    default="1s",
    show_default=True,
    help="Input that doesn't fill a block is passed on after this time at most, such as 5ms. 0: only full"
    " blocks.",
)
@click.option(
    "--write-dop",
    type=flags.DOP,
    metavar="N",
    default=16,
    help="Accepted for compatibility: blocks of the input that may be on their way at once. Default: 16.",
)
@click.option(
    "--read-dop",
    type=flags.DOP,
    metavar="N",
    default=32,
    help="Accepted for compatibility: blocks of the output that may be on their way at once. Default: 32.",
)
@followoptions.on_exit("cancel")
@flags.retry_for_option("standard input, or for the output standard output,")
@click.pass_context
def command(
    context: click.Context,
    /,
    show_logs: bool,
    timestamps: bool,
    input_path: str | None,
    block_size: int,
    flush_interval: float,
    write_dop: int,
    read_dop: int,
    on_exit: str,
    retry_for: float | None,
    **given: Any,
) -> None:
    """Create the run, then see to its streams."""
    del write_dop, read_dop  # the daemon decides, by what the link does
    invocation: session.Session = context.obj
    words: Sequence[str] | None = context.meta[groups.Command.WORDS]
    data.warn_of_powershell(invocation.console, os.getppid())
    request = runrequest.build(invocation, given)
    source_name, sink_name = _standard_streams(invocation, request.body["job"])
    for given_as, there in (("--input", input_path is not None), ("a command behind --", words is not None)):
        if there and source_name is None:
            raise errors.Problem(
                errors.USAGE, f"{given_as} is given, but the job has no unmapped input buffer"
            )
    if given["path"] == "-" and source_name is not None and words is None and input_path in (None, "-"):
        raise errors.Problem(
            errors.USAGE,
            "standard input cannot be the run file and the run's input at once; name the input with --input,"
            " or give its producer behind --",
        )
    with contextlib.ExitStack() as stack:
        source = sink = None
        producer: producer_module.Producer | None = None
        if source_name is not None:
            source, producer = stack.enter_context(
                data.source(invocation, input_path, words, hint=INPUT_HINT)
            )
        if sink_name is not None:
            sink = stack.enter_context(stdio.destination(invocation.console, None))
        settings = execution.Settings(
            source_name=source_name,
            source=source,
            producer=producer,
            sink_name=sink_name,
            sink=sink,
            show_logs=show_logs,
            timestamps=timestamps,
            block_size=block_size,
            flush_interval=flush_interval,
            on_exit=on_exit,
            retry_for=retry_for,
        )
        execution.Execution(invocation, settings).run(request)


# --- which parameters are joined to the standard streams -------------------------------------------------


def _standard_streams(invocation: session.Session, job: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The input for standard input and the output for standard output, where there are such.

    Raises:
        Problem: several could be meant, or the codespec is unknown.
    """
    codespec = job["codespec"]
    if isinstance(codespec, str):
        codespec = fetched(invocation, codespec)
    parameters = codespec.get("buffers") or {}
    mapped = job.get("buffers") or {}
    return (
        _unmapped(parameters.get("inputs") or [], mapped, "input"),
        _unmapped(parameters.get("outputs") or [], mapped, "output"),
    )


def fetched(invocation: session.Session, reference: str) -> dict[str, Any]:
    """The codespec that `NAME` or `NAME/versions/N` stands for; the daemon's own 404 would not name it."""
    name, _, version = reference.partition("/versions/")
    path, called = f"/codespecs/{session.segment(name, 'codespec name')}", f"codespec '{name}'"
    if version:
        path += f"/versions/{session.segment(version, 'codespec version')}"
        called = f"version '{version}' of codespec '{name}'"
    try:
        return invocation.ask("GET", path)
    except errors.Problem as problem:
        if problem.kind is not errors.NOT_FOUND:
            raise
        raise errors.Problem(errors.NOT_FOUND, f"{problem.kind.code}: The {called} was not found") from None


def _unmapped(names: list[str], mapped: Mapping[str, str], what: str) -> str | None:
    free = [name for name in names if mapped.get(name, "_") == "_"]
    if len(free) > 1:
        raise errors.Problem(
            errors.INVALID_INPUT,
            f"exec cannot be called if the job has multiple unmapped {what} buffers: {', '.join(free)};"
            " map all but one with --buffer",
        )
    return free[0] if free else None
