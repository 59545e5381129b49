"""`tygerd`: argv in, exit code out. Picks a subcommand and imports only what that one needs.

`tygerd supervise` starts once a run and must do so in some 20 ms: nothing is imported here before it is
chosen.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import NoReturn

SIGPIPE = 13

USAGE = """\
usage: tygerd COMMAND ...

  serve        the daemon; see: tygerd serve --help
  check-store  check that storage accounts do what buffers need
  pump         move buffers to and from named pipes, in a pod
  supervise    the process beside a run; started by the daemon
  version      print the version
"""


def program() -> NoReturn:
    """The process: do what `sys.argv` says and end with the exit code.

    It leaves without taking the interpreter apart. Threads may still wait in system calls then, trio's among
    them; each that came back would be ended by pthread_exit, and for that glibc aborts the process where
    there is no libgcc_s, as in the pump's image (Python < 3.14).
    """
    code = 0
    for step in (main, *(stream.flush for stream in (sys.stdout, sys.stderr) if stream is not None)):
        try:
            code = step() or code
        except OSError as error:
            code = code or _unwritten(error)
    os._exit(code)


def _unwritten(error: OSError) -> int:
    """The exit code for what nobody could be told."""
    import contextlib

    from tyger import errors

    if isinstance(error, BrokenPipeError):  # they had read enough
        return 128 + SIGPIPE
    with contextlib.suppress(OSError):
        os.write(2, f"tygerd: cannot write: {error.strerror}\n".encode())
    return errors.IO_ERROR.exit_code


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand to its end; its exit code."""
    command, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    match command:
        case "supervise":
            from tygerd.supervisor import __main__ as supervisor

            return supervisor.main(rest)
        case "serve":
            return _serve(rest)
        case "check-store":
            from tygerd.conformance import command as check_store

            return check_store.main(rest)
        case "pump" if rest[:1] == ["prepare"]:
            from tygerd.streams import pumpprepare

            return pumpprepare.main(rest[1:])
        case "pump" if rest[:1] == ["ready"]:
            from tygerd.streams import pumpready

            return pumpready.main(rest[1:])
        case "pump":
            from tygerd.streams import pump

            return pump.main(rest)
        case "version" | "--version":
            import tyger

            sys.stdout.write(f"tygerd {tyger.__version__}\n")
            return 0
        case "--help" | "-h" | "help":
            sys.stdout.write(USAGE)
            return 0
    from tyger import errors

    sys.stderr.write(USAGE if not command else f"tygerd: unknown command {command}\n{USAGE}")
    return errors.USAGE.exit_code


def serve_parser() -> argparse.ArgumentParser:
    """The arguments of `tygerd serve`; the man page is made from it too."""
    import argparse

    from tygerd import logs

    parser = argparse.ArgumentParser("tygerd serve", description="Run the daemon in the foreground.")
    parser.add_argument("--config", metavar="FILE", help="configuration, see tygerd.toml(5)")
    parser.add_argument("--socket", metavar="PATH", help="Unix socket to listen on")
    parser.add_argument("--state", metavar="DIRECTORY", help="where buffers, runs and the catalog are kept")
    parser.add_argument(
        "--system", action="store_true", help="use the system's places instead of the user's own"
    )
    parser.add_argument(
        "--idle-exit",
        metavar="SECONDS",
        type=float,
        help="leave after this time without a connection, transfer or run",
    )
    parser.add_argument(
        "--log-format",
        choices=logs.FORMATS,
        help="how to log on stderr (default: human on a terminal, journal under systemd, else json)",
    )
    parser.add_argument("--autostarted", action="store_true", help=argparse.SUPPRESS)
    return parser


def _serve(argv: list[str]) -> int:
    from tyger import errors

    try:
        options = serve_parser().parse_args(argv)
    except SystemExit as ended:
        return errors.USAGE.exit_code if ended.code else 0
    if options.autostarted:
        _leave_parent()
    from tygerd import app

    return app.serve(
        app.Options(
            config=options.config,
            socket=options.socket,
            state=options.state,
            system=options.system,
            idle_exit=options.idle_exit,
            log_format=options.log_format,
            autostarted=options.autostarted,
        )
    )


def _leave_parent() -> None:
    """Go on as nobody's child: the command that started us waits for this process, not for the daemon."""
    import signal

    if os.fork():
        os._exit(0)
    # What the command blocked would stay blocked for the daemon's life.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


if __name__ == "__main__":
    program()
