"""Daemons that are copies (fork) of a process that has imported `tygerd` once: a sixth of the CPU of a start.

    argv = [sys.executable, "-m", "tygerd", "serve", "--socket", path]
    process = template.start(argv, env=env, stderr=log.fileno())

`process` is as `subprocess.Popen` makes it, so far as tests of daemons need it. The copy does what the
command line does from the module's first line on; only the interpreter's start and the imports are those of
the template. Where these matter (another program before it, an environment that the interpreter or the loader
reads), and where the template is not wanted (TYGER_TESTS_START=exec), `start` is `subprocess.Popen`.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import pathlib
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from trio._core import _run

PYTHON = [sys.executable, "-m"]

ROOT = str(pathlib.Path(__file__).resolve().parents[2])

LIMIT = 1 << 17
"""Bytes of a message: an environment and an argv."""

EXEC = os.environ.get("TYGER_TESTS_START") == "exec"


class Process:
    """A daemon, a child of the template; it stays a zombie until somebody has waited for it."""

    def __init__(self, template: Template, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._template = template
        self._ended = os.pidfd_open(pid)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, negative for a signal's number. Raises TimeoutExpired (seconds)."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("tygerd", timeout or 0)
            self.returncode = self._template.code(self.pid)
            os.close(self._ended)
        return self.returncode

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Nothing happens to one that has been waited for."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Template:
    """The process that is copied, and our end of the socket to it. It ends when this process does."""

    def __init__(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, its):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, LIMIT)
        with its:
            self._process = subprocess.Popen(
                [*PYTHON, __name__, str(its.fileno())],
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                env=_of_the_interpreter(os.environ) | {"PYTHONPATH": ROOT},
            )
        self._socket = ours
        self._lock = threading.Lock()
        atexit.register(self._end)

    def start(self, argv: Sequence[str], *, env: Mapping[str, str], stderr: int) -> Process:
        """A copy that becomes the module after `python -m`, with an empty stdin and its stdout nowhere."""
        order = {"argv": argv[len(PYTHON) :], "env": dict(env), "cwd": os.getcwd()}
        return Process(self, self._ask(order, stderr))

    def code(self, pid: int) -> int:
        """The exit code of a copy that has ended."""
        return self._ask({"reap": pid})

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def _ask(self, order: Mapping[str, object], *fds: int) -> int:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(order).encode()], fds)
            answer = self._socket.recv(100)
        assert answer, "the template has ended"
        return int(answer)


@functools.cache
def _template() -> Template:
    """One for all tests of a worker."""
    return Template()


def start(argv: Sequence[str], *, env: Mapping[str, str], stderr: int) -> Process | subprocess.Popen[bytes]:
    """The process of a daemon with this command line, with an empty stdin and its stdout nowhere."""
    alike = _of_the_interpreter(os.environ) == _of_the_interpreter(env) and env.get("PYTHONPATH") == ROOT
    if alike and not EXEC and list(argv[: len(PYTHON)]) == PYTHON:
        return _template().start(argv, env=env, stderr=stderr)
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(argv, env=env, stdin=nowhere, stdout=nowhere, stderr=stderr)


def _of_the_interpreter(env: Mapping[str, str]) -> dict[str, str]:
    names = ("LD_", "PYTHON", "LC_", "LANG", "MALLOC_", "OPENSSL")
    return {name: value for name, value in env.items() if name.startswith(names) and name != "PYTHONPATH"}


def _serve(told: socket.socket) -> None:
    """The template's own life: one order after the other, until nobody is left who gives them."""
    import tygerd.app
    import tygerd.stores.azuresdk  # noqa: F401 - what a copy has already

    gc.freeze()  # or each copy would write to the pages of all that was imported
    while True:
        order, fds, _, _ = socket.recv_fds(told, LIMIT, 1)
        if not order:
            return
        given = json.loads(order)
        if "reap" in given:
            _, status = os.waitpid(given["reap"], 0)
            told.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if pid == 0:
            told.close()
            os._exit(_become(given, *fds))
        told.send(str(pid).encode())
        os.close(fds[0])


def _become(given: dict[str, Any], stderr: int) -> int:
    """In the copy: what exec would have done, then the module's own `__main__`; its exit code."""
    os.dup2(stderr, 2)
    os.close(stderr)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(given["cwd"])
    os.environ.clear()
    os.environ.update(given["env"])
    _run._r.seed()  # or the tasks of all copies would take turns in one order
    module, *arguments = given["argv"]
    sys.argv[:] = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        return 1
    finally:
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's: pytest says when we end
    _serve(socket.socket(fileno=int(sys.argv[1])))
