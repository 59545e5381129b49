"""A kubelet's logs in memory, asked as the API server is: files of pieces, which are followed, cut and lost.

kubelet = Kubelet()
kubelet.prints("pod", b"text", at=nanoseconds)    # whoever follows gets it
kubelet.ends("pod")                               # answers that follow end
kubelet.cut("pod")                                # answers break off
kubelet.trouble.append(Transient("..."))          # the next request fails
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

from tygerd.engines.kubernetes import refusals
from tygerd.supervisor import log

SECOND = 1_000_000_000


class Piece(NamedTuple):
    """A line of a container's log file: `full` with the line's end."""

    nanoseconds: int
    text: bytes
    full: bool = True


class Request(NamedTuple):
    """What was asked for."""

    pod: str
    follow: bool
    since: str | None
    previous: bool
    stream: str | None


def rendered(pieces: list[Piece], since: int | None, *, new_line: bool = True) -> bytes:
    """What is sent of a file (`ReadLogs` of k8s.io/cri-client, 1.34): from this second on, since the
    epoch."""
    sent = b""
    for piece in pieces:
        text = piece.text + b"\n" if piece.full else piece.text
        if since is None or piece.nanoseconds >= since * SECOND:
            stamp = log.timestamp(piece.nanoseconds).encode() + b" "
            sent += stamp + text if new_line else text
        new_line = not text or text.endswith(b"\n")
    return sent


class Kubelet:
    """The logs of a cluster. `tells` is whether it knows streams apart; `errors` are those of Stderr."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.trouble: list[refusals.Trouble] = []
        self.tells = True
        self.errors: dict[str, list[Piece]] = {}
        self._pieces: dict[str, list[Piece]] = {}
        self._previous: dict[str, list[Piece]] = {}
        self._ended: set[str] = set()
        self._cuts = 0
        self._news = threading.Condition()

    def prints(self, pod: str, text: bytes, *, at: int, full: bool = True) -> None:
        """A piece of a line, at this time in nanoseconds."""
        with self._news:
            self._pieces.setdefault(pod, []).append(Piece(at, text, full))
            self._news.notify_all()

    def ends(self, pod: str) -> None:
        """Its container has ended."""
        with self._news:
            self._pieces.setdefault(pod, [])
            self._ended.add(pod)
            self._news.notify_all()

    def restarts(self, pod: str) -> None:
        """It has ended and begins again, with a log of its own."""
        with self._news:
            self._previous[pod] = self._pieces.pop(pod, [])
            self._pieces[pod] = []
            self._news.notify_all()

    def removes(self, pod: str) -> None:
        """Nothing is left of it; who follows has its log still open."""
        with self._news:
            self._pieces.pop(pod)
            self._ended.discard(pod)
            self._news.notify_all()

    def cut(self) -> None:
        """End all answers in the middle."""
        with self._news:
            self._cuts += 1
            self._news.notify_all()

    def logs(
        self,
        pod: str,
        container: str,
        *,
        follow: bool,
        since: str | None = None,
        previous: bool = False,
        stream: str | None = None,
    ) -> Answer:
        """See `logsource.Cluster`."""
        assert container == "main"
        return Answer(self, Request(pod, follow, since, previous, stream))

    def answer(self, request: Request, closed: threading.Event) -> Iterator[bytes]:
        """The bytes of an answer, in small pieces."""
        with self._news:
            self.requests.append(request)
            if self.trouble:
                raise self.trouble.pop(0)
            if request.stream is not None and not self.tells:
                raise refusals.Refused("stream: Forbidden: may not be specified", status=422)
            if request.stream not in (None, "Stdout", "Stderr"):
                said = f'stream: Unsupported value: "{request.stream}": supported values: "Stdout", "Stderr"'
                raise refusals.Refused(said, status=422)
            files = self._previous if request.previous else self._pieces
            if request.stream == "Stderr":
                files = self.errors
            if (pieces := files.get(request.pod)) is None:
                raise refusals.NotFound("no such container", status=404)
            cuts = self._cuts
        since = None if request.since is None else seconds(request.since)
        done = 0
        while not closed.is_set():
            with self._news:
                new_line = done == 0 or pieces[done - 1].full
                data, done = rendered(pieces[done:], since, new_line=new_line), len(pieces)
                over = request.pod in self._ended or files.get(request.pod) is not pieces
            for at in range(0, len(data), 50):
                yield data[at : at + 50]
            with self._news:
                if self._cuts != cuts:
                    raise refusals.Transient("the connection broke")
                if over or not request.follow:
                    return
                if done == len(pieces) and self._cuts == cuts:
                    self._news.wait(1)  # `close` is not told of here

    def wake(self) -> None:
        """An answer was closed."""
        with self._news:
            self._news.notify_all()


class Answer:
    """See `logsource.Answer`."""

    def __init__(self, kubelet: Kubelet, request: Request) -> None:
        self._kubelet = kubelet
        self._request = request
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, until its end or `close`."""
        return self._kubelet.answer(self._request, self._closed)

    def close(self) -> None:
        """End it."""
        self._closed.set()
        threading.Thread(target=self._kubelet.wake).start()


def seconds(text: str) -> int:
    """The second since the epoch of a time as it stands in a request."""
    from tyger import units

    return units.to_micros(units.parse_timestamp(text)) // 1_000_000
