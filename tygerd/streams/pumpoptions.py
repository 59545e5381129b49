"""The arguments of `tygerd pump` that move something; those of `pump prepare` are in `pumpprepare`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

from tyger import errors, units
from tygerd import logs
from tygerd.supervisor import spec

INPUT_DOP = 32
OUTPUT_DOP = 16
BLOCK_SIZE = "4MiB"
FLUSH_INTERVAL = "1s"
"""Defaults of contract buffers.md 7 and 8."""

POD_DOP = 8
"""Blocks under way at a time, of each buffer of a pod: they take memory and disk, on a node of many runs."""

FIFOS, ACCESS, STATE = "/etc/buffer-fifos", "/etc/buffer-sas-tokens", "/var/lib/tyger-pump"
"""Where things are in a pod (`engines.kubernetes.pumpargs`, which composes pods)."""

RELAY_PORT = 52173
"""Where the daemon comes in for ephemeral buffers (`engines.kubernetes.pumpargs`)."""

LAST_WORDS = "/dev/termination-log"

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def parser() -> argparse.ArgumentParser:
    """The arguments of `tygerd pump`."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("buffer", metavar="BUFFER", help="access URL, or a small file that holds one")
    common.add_argument(
        "--tombstone", metavar="FILE", help="appears when the job is over; a pipe not yet open is given up"
    )
    _add_log_format(common)

    top = argparse.ArgumentParser(
        "tygerd pump", description="Move one buffer to or from a named pipe, beside a job."
    )
    ways = top.add_subparsers(dest="way", metavar="input|output|pod|prepare|ready", required=True)
    into = ways.add_parser("input", parents=[common], help="read a buffer into the job's pipe")
    into.add_argument("-o", "--output", metavar="PIPE", required=True, dest="pipe", help="the named pipe")
    _add_dop(into, INPUT_DOP)
    out = ways.add_parser("output", parents=[common], help="write what the job's pipe gives to a buffer")
    out.add_argument("-i", "--input", metavar="PIPE", required=True, dest="pipe", help="the named pipe")
    _add_dop(out, OUTPUT_DOP)
    _add_cutting(out)
    out.add_argument(
        "--spool", metavar="DIRECTORY", help="where blocks wait to be sent (default: the temporary directory)"
    )
    _add_pod(ways.add_parser("pod", help="move all buffers of a pod of the Kubernetes engine"))
    ways.add_parser("prepare", add_help=False, help="make a pod's named pipes, and wait for its workers")
    ways.add_parser("ready", add_help=False, help="wait until a pod's pump has begun")
    return top


def _add_pod(pod: argparse.ArgumentParser) -> None:
    buffers = "; may be repeated"
    pod.add_argument(
        "--input", metavar="NAME", action="append", default=[], dest="inputs", help=f"an input{buffers}"
    )
    pod.add_argument(
        "--output", metavar="NAME", action="append", default=[], dest="outputs", help=f"an output{buffers}"
    )
    pod.add_argument(
        "--socket",
        metavar="PORT:INPUT:OUTPUT",
        type=_socket,
        action="append",
        default=[],
        dest="sockets",
        help=f"a port of main, and the buffers that are joined with it{buffers}",
    )
    pod.add_argument(
        "--relay",
        metavar="NAME",
        action="append",
        default=[],
        dest="relays",
        help=f"an input or output whose buffer is ephemeral{buffers}",
    )
    pod.add_argument(
        "--relay-port",
        metavar="PORT",
        type=int,
        default=RELAY_PORT,
        help="where the daemon comes in for those (default: %(default)s)",
    )
    pod.add_argument("--fifos", metavar="DIRECTORY", default=FIFOS, help="pipes (default: %(default)s)")
    pod.add_argument(
        "--access", metavar="DIRECTORY", default=ACCESS, help="files of access URLs (default: %(default)s)"
    )
    pod.add_argument(
        "--state", metavar="DIRECTORY", default=STATE, help="blocks on their way (default: %(default)s)"
    )
    pod.add_argument(
        "--last-words", metavar="FILE", default=LAST_WORDS, help="why it failed (default: %(default)s)"
    )
    pod.add_argument(
        "--service-account",
        metavar="DIRECTORY",
        default=SERVICE_ACCOUNT,
        help="token and certificate for the API server (default: %(default)s)",
    )
    _add_dop(pod, POD_DOP)
    _add_cutting(pod)
    _add_log_format(pod)


def _add_log_format(to: argparse.ArgumentParser) -> None:
    to.add_argument("--log-format", choices=logs.FORMATS, help="how to log on stderr")


def _add_cutting(to: argparse.ArgumentParser) -> None:
    """How an output is cut into blocks."""
    to.add_argument(
        "-b",
        "--block-size",
        metavar="SIZE",
        type=_size,
        default=BLOCK_SIZE,
        help="size of a full block (default: %(default)s)",
    )
    to.add_argument(
        "-f",
        "--flush-interval",
        metavar="DURATION",
        type=_duration,
        default=FLUSH_INTERVAL,
        help="how long an unfilled block may wait for more bytes; 0: for ever (default: %(default)s)",
    )


def _add_dop(to: argparse.ArgumentParser, default: int) -> None:
    to.add_argument(
        "-p",
        "--dop",
        metavar="N",
        type=_dop,
        default=default,
        help="blocks under way at a time (default: %(default)s)",
    )


def _dop(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("the degree of parallelism (dop) must be at least 1")
    return int(text)


def _size(text: str) -> int:
    with _usage():
        size = units.parse_size(text)
    if size < 1:
        raise argparse.ArgumentTypeError("the block size must be at least 1 byte")
    return size


def _duration(text: str) -> float:
    with _usage():
        duration = units.parse_duration(text)
    if duration < 0:
        raise argparse.ArgumentTypeError("the flush interval must not be negative")
    return duration


def _socket(text: str) -> spec.Socket:
    port, input_name, output_name = [*text.split(":"), "", ""][:3]
    if not port.isdecimal() or not 0 < int(port) < 65536 or text.count(":") > 2:
        raise argparse.ArgumentTypeError(f"a socket is PORT:INPUT:OUTPUT, not {text!r}")
    return spec.Socket(int(port), input_name or None, output_name or None)


@contextlib.contextmanager
def _usage() -> Iterator[None]:
    try:
        yield
    except errors.Problem as problem:
        raise argparse.ArgumentTypeError(problem.message) from None
