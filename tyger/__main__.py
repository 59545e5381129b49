"""`tyger`: argv in, exit code out. Each end of a command becomes a message and a code, never a traceback.

Owns the process's edges: descriptors 0 to 2 that were not open, signals, a reader that went away. Commands
are found through `tyger.cli.root`, which imports only the one that is called.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    import click

    from tyger.cli import output

    Program = tuple[str, click.Command]

SIGINT, SIGPIPE = 2, 13


def main(program: Program | None = None) -> NoReturn:
    """The process: run what `sys.argv` says and end with the exit code.

    After a Ctrl-C it ends by the signal itself, which a shell reports as 128 + 2 too: only then does the
    shell stop the script or the loop that we are part of. Otherwise it leaves without taking the interpreter
    apart, which would cost a tenth of a short command's time; all output has been flushed.
    """
    gc.set_threshold(100_000)  # a short command never collects: that took an eighth of its time
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever has something to lose sets a handler
    code = run(sys.argv[1:], program)
    if code == 128 + SIGINT:
        from tyger.cli import signals

        signals.end_by(SIGINT)
    os._exit(code)


def run(argv: Sequence[str], program: Program | None = None) -> int:
    """Run one command; returns the exit code (`tyger.errors`, or 128 + n after signal n).

    `program` is another one than `tyger`, with its name.
    """
    closed = _occupy_standard_descriptors()
    console = None
    try:
        from tyger.cli import failures, output

        console = output.Console(os.environ, closed)
        console.failures_as_json = failures.asked_for(argv)
        code = _invoke(list(argv), console, program)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _ended(console, 128 + SIGINT)
    except BrokenPipeError:
        _discard_stdout()
        return _ended(console, 128 + SIGPIPE)
    except Exception as error:  # noqa: BLE001 - the one place where a defect becomes an exit code
        return _report_unexpected(error, console)
    return code


def _invoke(argv: list[str], console: output.Console, program: Program | None) -> int:
    import click

    from tyger import errors
    from tyger.cli import failures, gotext, root, session

    if instruction := os.environ.get("_TYGER_COMPLETE"):
        from click import shell_completion

        return shell_completion.shell_complete(root.command, {}, "tyger", "_TYGER_COMPLETE", instruction)
    invocation = session.Session(console, os.environ)
    name, command = ("tyger", root.command) if program is None else program
    try:
        with command.make_context(name, argv, obj=invocation) as context:
            command.invoke(context)
        code = 0
    except click.exceptions.Exit as done:
        code = done.exit_code
    except session.Exit as done:
        code = failures.ended(console, done.code)
    except click.ClickException as error:
        context_of_error = getattr(error, "ctx", None)
        path = context_of_error.command_path if context_of_error else name
        return failures.usage(console, gotext.one_line(error.format_message().rstrip(".")), path)
    except (session.Fatal, errors.Problem) as failure:
        invocation.warn_of_other_version()
        if isinstance(failure, errors.Problem):
            return failures.problem(console, failure)
        return failures.fatal(console, failure)
    invocation.warn_of_other_version()
    return code


def _ended(console: output.Console | None, code: int) -> int:
    from tyger.cli import failures

    return code if console is None else failures.ended(console, code)


def _report_unexpected(error: Exception, console: output.Console | None) -> int:
    from tyger import errors

    if os.environ.get("TYGER_DEBUG") == "1":
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        text, kind = f"{named}{error.strerror}", errors.IO_ERROR
    else:
        where = _last_frame(error)
        text = (
            f"this is a defect of tyger: {type(error).__name__}: {error} ({where}); TYGER_DEBUG=1 shows more"
        )
        kind = errors.INTERNAL
    if console is None:
        return kind.exit_code
    from tyger.cli import failures

    return failures.unexpected(console, kind, text)


def _last_frame(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "no place known"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"


def _occupy_standard_descriptors() -> frozenset[int]:
    """Open /dev/null on each of 0 to 2 that is closed, so that no socket or file of ours gets its number."""
    closed = set()
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            closed.add(fd)
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
    return frozenset(closed)


def _discard_stdout() -> None:
    """Let what the interpreter still holds for standard output go nowhere instead of failing at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


if __name__ == "__main__":
    main()
