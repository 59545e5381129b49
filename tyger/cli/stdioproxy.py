"""`tyger stdio-proxy`: one HTTP request on standard input, its answer on standard output (contract cli.md 8).

What a client elsewhere starts on this machine, by ssh once a request, to speak to a daemon whose socket it
cannot open. Bytes pass as they come, both ways at once, in bounded memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import threading

import click

from tyger import addresses, autostart, client, errors, paths, proxyform, target
from tyger.cli import groups, loggingin, output, session

PIECE = 256 * 1024
"""Bytes that are read at once, each way."""


@click.group(
    cls=groups.Group,
    name="stdio-proxy",
    invoke_without_command=True,
    hidden=True,
    help=groups.describe(
        "Take one HTTP/1.1 request in proxy form, whose URL begins with http+unix://, from standard input;"
        " hand it to the server behind that Unix socket, and its answer to standard output.\n\n"
        "Clients on other machines run this, through ssh.",
        exit_status="0 where an answer was given, also one that says that the server cannot be reached.",
    ),
)
@click.pass_context
def command(context: click.Context) -> None:
    """Forward one request. Nothing where a sub-command was called."""
    if context.invoked_subcommand is not None:
        return
    invocation: session.Session = context.obj
    head, rest = _read_head()
    try:
        request = proxyform.parse(head)
    except errors.Problem as problem:
        scheme = "Unsupported URL scheme"
        message = scheme if problem.message.startswith("the scheme") else "Bad request"
        raise session.Fatal(message, problem) from None
    try:
        sock = _dial(request.socket, invocation)
    except OSError as error:
        word = errno.errorcode.get(error.errno or 0, "")
        told = word if word in ("ENOENT", "ECONNREFUSED") else error.strerror or str(error)
        invocation.console.data(proxyform.unreachable(told))
        return
    with sock:
        _exchange(sock, request, rest, invocation.console)


def _read_head() -> tuple[bytes, bytes]:
    """A request's head from standard input, and what came along behind it."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > proxyform.MAX_HEAD:
            why = f"the request's head is longer than {proxyform.MAX_HEAD} bytes"
            raise session.Fatal("Bad request", errors.Problem(errors.INVALID_INPUT, why))
        piece = os.read(output.STDIN, 4096)
        if not piece:
            why = "standard input ended before a request had come"
            raise session.Fatal("Bad request", errors.Problem(errors.INVALID_INPUT, why))
        data += piece
    return data[: end + 4], data[end + 4 :]


def _dial(path: str, invocation: session.Session) -> socket.socket:
    """A connection to the socket at `path`. The user's own daemon is started where it does not run.

    Raises:
        OSError: nobody listens there.
    """
    try:
        return _connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        with contextlib.suppress(errors.Problem):
            where = _own(invocation)
            if where.socket == path:
                return _connect(autostart.ensure(where))
        raise


def _own(invocation: session.Session) -> paths.Paths:
    return target.own(invocation.environ, socket=invocation.named_socket)


def _connect(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _exchange(sock: socket.socket, request: proxyform.Request, rest: bytes, console: output.Console) -> None:
    """Pass the request on beside the answer, until the server closes.

    Raises:
        BrokenPipeError: nobody reads the answer any more.
    """
    sender = threading.Thread(target=_send, args=(sock, request, rest), daemon=True)
    sender.start()
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    poller.register(output.STDOUT, 0)  # says also while nothing comes when its reader has gone
    answered = False
    while True:
        if any(fd == output.STDOUT for fd, _ in poller.poll()):
            raise BrokenPipeError
        try:
            data = sock.recv(PIECE)
        except ConnectionError:  # it had no wish to read all of the request
            data = b""
        if not data:
            break
        answered = True
        console.data(data)
    if not answered:
        console.data(proxyform.unreachable("the server closed the connection without an answer"))


def _send(sock: socket.socket, request: proxyform.Request, data: bytes) -> None:
    """Send the request: a server that has answered, and gone, ends this too.

    Our half of the connection stays open behind a whole request: its end would look as if we had gone.
    """
    with contextlib.suppress(OSError):
        sock.sendall(request.head)
        while True:
            sock.sendall(data[: request.body.take(data)])
            if request.body.done:
                return
            data = os.read(output.STDIN, PIECE)
            if not data:  # cut short: let the server know that no more comes
                sock.shutdown(socket.SHUT_WR)
                return


@command.command(
    name="login",
    help=groups.describe(
        "Print the address of this machine's server, once it has answered.",
        examples=("ssh host tyger stdio-proxy login",),
        exit_status="0 on success, 69 when no server answers.",
    ),
)
@click.option("--server-url", metavar="URL", help="The server's address, in place of this machine's own.")
@click.option("--preflight", is_flag=True, help="Do nothing: the way here is what is tried.")
@click.pass_obj
def login(invocation: session.Session, server_url: str | None, preflight: bool) -> None:
    """GET /metadata, then say where that was."""
    if preflight:
        return
    if server_url is None:
        address = addresses.of_socket(loggingin.answering(_own(invocation)))
    else:
        address = addresses.parse(server_url, os.getcwd())
        if not address.is_unix:
            raise errors.Problem(errors.INVALID_INPUT, f"Unsupported URL scheme: {address.scheme}")
        if address.socket == _own(invocation).socket:
            loggingin.answering(_own(invocation))
    answer = client.fetch(address.socket, "/metadata")
    if answer.status != 200:
        raise errors.Problem(errors.PROTOCOL, f"unexpected status code {answer.status} from {address.shown}")
    invocation.console.data(address.url)


@command.command(
    name="sleep",
    help=groups.describe(
        "Wait for ever, as the first process of a container.",
        examples=("tyger stdio-proxy sleep",),
        exit_status="0 after a signal.",
    ),
)
def sleep() -> None:
    """Until a signal that ends programs; the first process of a container has to ask for them."""
    wanted = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)  # one that comes just before we wait is not lost
    signal.sigwait(wanted)
    raise session.Exit(0)
