"""A command that we run ourselves as the producer of a stream: its standard output is the pipe.

So its exit code counts: end of file alone cannot tell a whole stream from the rest of a broken one. It is a
member of our process group, as it would be beside us in a shell's pipeline. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import stat
import threading
from collections.abc import Mapping, Sequence

from tyger import errors, pipes

SHELL = "/bin/sh"
"""Runs a script that does not say what runs it, as execvp(3) and shells have it."""

_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python ignores and a program expects at its default."""

_LONGEST_SHEBANG = 4096

KILLED = 10.0
"""Seconds that a killed process is waited for; one that sleeps in a dead disk's driver is left."""


class Producer:
    """One command: found, then started, then waited for. `reader` is the read end of its output.

    Made in the main thread; a command that cannot be found is told then, as a Problem (NOT_FOUND, FORBIDDEN).
    """

    def __init__(self, words: Sequence[str], environ: Mapping[str, str]) -> None:
        self.name = os.path.basename(words[0]) or words[0]
        self._words = list(words)
        self._environ = dict(environ)
        self._path = _found(words[0], environ.get("PATH", os.defpath))
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # of the thread that knows our signals
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else the kernel would keep no exit code for us
        self.reader, self._writer = os.pipe()
        pipes.enlarge(self.reader)
        self._pid = 0
        self._pidfd = -1
        self._status: int | None = None
        self._reaping = threading.Lock()

    @property
    def started(self) -> bool:
        """Whether it was started."""
        return self._pid > 0

    @property
    def ended(self) -> bool:
        """Whether it has ended; nothing is asked of the kernel."""
        return self._status is not None

    def start(self) -> None:
        """Start it. From here on end of file is its end alone, and that of what it starts.

        Raises:
            Problem: NOT_FOUND, FORBIDDEN or IO_ERROR.
        """
        try:
            self._pid = self._spawned()
        except OSError as error:
            raise _refusal(self.name, error) from None
        try:
            self._pidfd = os.pidfd_open(self._pid)
        except OSError as error:  # no descriptor is left, or a filter forbids it
            with contextlib.suppress(PermissionError):  # it may be another user's, and is left as in `end`
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            self._pid = 0
            raise _refusal(self.name, error) from None
        os.close(self._writer)
        self._writer = -1

    def fileno(self) -> int:
        """Readable when it has ended; once it was started."""
        return self._pidfd

    def wait(self, seconds: float, *others: int) -> bool:
        """Wait for its end, at most so long, or until one of `others` is readable; whether it has ended."""
        if self._status is None:
            poller = select.poll()
            for fd in (self._pidfd, *others):
                poller.register(fd, select.POLLIN)
            if self._pidfd in dict(poller.poll(seconds * 1000)):
                with self._reaping:  # a run's thread and its main thread may both come
                    if self._status is None:
                        _, status = os.waitpid(self._pid, 0)
                        self._status = os.waitstatus_to_exitcode(status)
        return self._status is not None

    def failure(self) -> str | None:
        """How it failed; None where it ended with 0. It has `ended`."""
        status = self._status
        if status is None or status == 0:
            return None
        how = f"exited with code {status}" if status > 0 else f"was ended by {_signal_name(-status)}"
        return f"the producer {self.name} {how}"

    def end(self, steps: Sequence[tuple[int, float]], stop: int | None = None) -> None:
        """See that it ends: close our end of its pipe, then take the steps until it has; SIGKILL is the last.

        What cannot be signalled or killed is left.

        A step is a signal, 0 for none, and the seconds to wait after it. `stop` is a descriptor that, when it
        becomes readable, cuts the wait of one step short.
        """
        if self.reader >= 0:
            os.close(self.reader)  # our copy; it gets EPIPE when the daemon has closed its own, too
            self.reader = -1
        if not self.started:
            return
        for number, seconds in (*steps, (signal.SIGKILL, KILLED)):
            if self.wait(0):
                return
            if number:
                with contextlib.suppress(PermissionError, ProcessLookupError):  # it may be another user's now
                    signal.pidfd_send_signal(self._pidfd, number)
            if self.wait(seconds, *(() if stop is None else (stop,))):
                return
            if stop is not None and select.select([stop], [], [], 0)[0]:
                stop = None

    def close(self) -> None:
        """Release the descriptors; what still runs goes on. Idempotent."""
        for fd in (self.reader, self._writer, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self.reader = self._writer = self._pidfd = -1

    def _spawned(self) -> int:
        try:
            return self._spawn(self._path, self._words)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
        return self._spawn(SHELL, [SHELL, self._path, *self._words[1:]])

    def _spawn(self, path: str, words: list[str]) -> int:
        return os.posix_spawn(
            path,
            words,
            self._environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, self._writer, 1)],
            setsigmask=self._mask,
            setsigdef=_RESTORED,
        )


def _found(word: str, path: str) -> str:
    """The file that a command means.

    Raises:
        Problem: there is none, or it can be seen that it cannot be started.
    """
    if "\0" in word or not word:
        raise errors.Problem(errors.INVALID_INPUT, f"cannot start {word!r}: it is no command's name")
    places = [""] if os.sep in word else [place or "." for place in path.split(os.pathsep)]
    for place in places:
        found = os.path.join(place, word)
        if os.path.isfile(found) and os.access(found, os.X_OK):
            _check_interpreter(word, found)
            return found
    if os.sep not in word:
        raise errors.Problem(errors.NOT_FOUND, f"cannot start {word}: there is no such command in PATH")
    try:
        kind = os.stat(word).st_mode
    except OSError as error:
        raise _refusal(word, error) from None
    why = "it is a directory" if stat.S_ISDIR(kind) else "it is not executable; see chmod(1)"
    raise errors.Problem(errors.FORBIDDEN, f"cannot start {word}: {why}")


def _check_interpreter(word: str, path: str) -> None:
    """Refuse a script whose interpreter is missing: the kernel would say it only once all has begun."""
    try:
        with open(path, "rb") as file:
            first = file.read(_LONGEST_SHEBANG).split(b"\n", 1)[0]
    except OSError:
        return  # executable, but not readable
    interpreter = first[2:].split()[:1] if first.startswith(b"#!") else []
    if interpreter and not os.path.exists(interpreter[0]):
        named = os.fsdecode(interpreter[0])
        raise errors.Problem(errors.NOT_FOUND, f"cannot start {word}: its interpreter {named} does not exist")


def _refusal(word: str, error: OSError) -> errors.Problem:
    kind = {errno.ENOENT: errors.NOT_FOUND, errno.EACCES: errors.FORBIDDEN, errno.EPERM: errors.FORBIDDEN}
    return errors.Problem(
        kind.get(error.errno or 0, errors.IO_ERROR), f"cannot start {word}: {os.strerror(error.errno or 0)}"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
