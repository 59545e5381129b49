"""Ephemeral buffers (`_`): read while they are written, once, and kept nowhere.

As the original's client does it (contract buffers.md 11.2): the access URL has `relay=true`; `HEAD` until it
is answered with 200, then one `PUT` in chunks, or one `GET`.
"""

from __future__ import annotations

import http.client
import select
import socket
import threading
import time
from urllib.parse import unquote, urlsplit

from tyger import errors
from tygerd.conformance.daemons import site as suite

PIPES = 8 * 1024 * 1024
"""Bytes that all the pipes and sockets between a writer and a job that does not read may hold."""

TRICKLE = 0.05
"""Seconds in which some message passes a relay, a job and a relay: what collects them holds every one up. On
a quiet machine 5 ms will do; on a busy one a request to the daemon says how much more it takes."""


class _Connection(http.client.HTTPConnection):
    """To whatever an access URL names."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        super().__init__(parts.hostname or "relay", parts.port, timeout=suite.PATIENCE)
        self._path, _, rest = (
            parts.path.partition(":") if parts.scheme == "http+unix" else ("", "", parts.path)
        )
        self.target = f"{rest or '/'}?{parts.query}"

    def connect(self) -> None:
        """See `HTTPConnection`."""
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(unquote(self._path))


def _connection(run: suite.Run, parameter: str, *, writeable: bool = False) -> _Connection:
    """One to the relay of a run's parameter, which answers."""
    name = run.made["job"]["buffers"][parameter]
    query = [("writeable", "true")] if writeable else []
    url = suite.asked(run.client, "POST", f"/buffers/{name}/access", query=query)["uri"]
    if "relay=true" not in url:
        raise AssertionError("the access URL of an ephemeral buffer does not say relay=true")
    deadline = time.monotonic() + suite.PATIENCE
    while True:
        connection = _Connection(url)
        try:
            connection.request("HEAD", connection.target)
            with connection.getresponse() as answer:
                answer.read()
                if answer.status == 200:
                    return connection
        except OSError:
            pass
        connection.close()
        if time.monotonic() > deadline:
            raise AssertionError(f"the relay of {parameter} does not answer")
        time.sleep(0.02)  # the protocol has no other way to wait


class Upload:
    """A `PUT` in chunks."""

    def __init__(self, run: suite.Run, parameter: str) -> None:
        self._connection = _connection(run, parameter, writeable=True)
        self._connection.putrequest("PUT", self._connection.target)
        self._connection.putheader("Transfer-Encoding", "chunked")
        self._connection.endheaders()

    def send(self, data: bytes) -> None:
        """A chunk."""
        self._connection.send(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> int:
        """The last chunk; the answer's status."""
        self._connection.send(b"0\r\n\r\n")
        return self.status()

    def status(self) -> int:
        """The answer's status."""
        with self._connection.getresponse() as answer:
            answer.read()
        self._connection.close()
        return answer.status

    def stuffed(self, limit: int) -> int:
        """Send chunks until for a quarter of a second no more are taken, or `limit` bytes; how many were."""
        sock = self._connection.sock
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        sent, left = 0, memoryview(chunk)
        sock.setblocking(False)
        try:
            while sent < limit and select.select([], [sock], [], 0.25)[1]:
                left = left[sock.send(left) :]
                if not left:
                    sent, left = sent + 0x10000, memoryview(chunk)
        finally:
            sock.setblocking(True)
            sock.settimeout(suite.PATIENCE)
        self._rest = bytes(left)
        return sent

    def end_stuffed(self) -> int:
        """The rest of the chunk that was begun, and the last one; the answer's status."""
        self._connection.send(self._rest)
        return self.end()


class Download:
    """A `GET`, read as it comes."""

    def __init__(self, run: suite.Run, parameter: str) -> None:
        self._connection = _connection(run, parameter)
        self._connection.request("GET", self._connection.target)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status

    def exactly(self, size: int) -> bytes:
        """The next bytes."""
        data = b""
        while len(data) < size and (piece := self._answer.read1(size - len(data))):
            data += piece
        return data

    def rest(self) -> bytes:
        """All bytes to the end."""
        return self._answer.read()

    def close(self) -> None:
        """Leave."""
        self._answer.close()
        self._connection.close()


def _echo(site: suite.Site) -> suite.Run:
    return suite.Run.start(
        site, 'exec cat "$IN_PIPE" > "$OUT_PIPE"', inputs={"in": "_"}, outputs={"out": "_"}
    )


@suite.check
def bytes_go_through_relays(site: suite.Site) -> None:
    """In through one and out through the other, all of them, and the run's buffers are named after it."""
    if not site.traits.ephemeral_buffers:
        return
    run = _echo(site)
    names = list(run.made["job"]["buffers"].values())
    suite.expect([name for name in names if not name.startswith(f"run-{run.id}-temp-")], [])
    data = b"".join(suite.numbered(20_000_000))
    statuses: list[int] = []

    def upload() -> None:
        one = Upload(run, "in")
        for start in range(0, len(data), 1 << 20):
            one.send(data[start : start + (1 << 20)])
        statuses.append(one.end())

    writer = threading.Thread(target=upload)
    writer.start()
    download = Download(run, "out")
    received = download.rest()
    download.close()
    writer.join(suite.PATIENCE)
    suite.expect((download.status, statuses, len(received)), (200, [202], len(data)))
    suite.expect(received == data, True)
    suite.expect(run.ended()["status"], "Succeeded")


@suite.check
def a_trickle_stays_a_trickle(site: suite.Site) -> None:
    """A message goes on at once, whatever its size."""
    if not site.traits.ephemeral_buffers:
        return
    run = _echo(site)
    upload, download = Upload(run, "in"), Download(run, "out")
    took, asking = [], []
    for line in suite.numbered(3_000):
        start = time.monotonic()
        upload.send(line)
        suite.expect(download.exactly(len(line)), line)
        took.append(time.monotonic() - start)
        start = time.monotonic()
        run.shown()
        asking.append(time.monotonic() - start)
    suite.expect((upload.end(), download.rest()), (202, b""))
    download.close()
    suite.expect(run.ended()["status"], "Succeeded")
    if min(took) > max(TRICKLE, 10 * min(asking)):
        raise AssertionError(f"no message took less than {min(took) * 1000:.0f} ms")


@suite.check
def a_job_that_does_not_read_holds_its_writer_up(site: suite.Site) -> None:
    """Nothing in between collects what the job has not taken."""
    if not site.traits.ephemeral_buffers:
        return
    gate = suite.buffer(site)
    script = 'exec 3< "$IN_PIPE"; echo up; read -r go < "$GATE_PIPE"; wc -c <&3'
    run = suite.Run.start(site, script, inputs={"in": "_", "gate": gate})
    upload = Upload(run, "in")
    run.logged("up")
    sent = upload.stuffed(4 * PIPES)
    if sent >= PIPES:
        raise AssertionError(f"{sent} bytes were taken from the writer, and none by the job")
    with suite.Writer(site, gate) as opened:
        opened.send(b"go\n")
    suite.expect(upload.end_stuffed(), 202)
    suite.expect(run.ended()["status"], "Succeeded")
    suite.expect(int(run.log()[1]), -(-(sent + 1) // 0x10000) * 0x10000)


@suite.check
def a_reader_that_does_not_read_holds_the_job_up(site: suite.Site) -> None:
    """The other way round."""
    if not site.traits.ephemeral_buffers:
        return
    script = 'head -c 33554432 /dev/zero > "$OUT_PIPE"; echo written'
    run = suite.Run.start(site, script, outputs={"out": "_"})
    download = Download(run, "out")
    suite.expect(download.exactly(100), bytes(100))
    time.sleep(0.25)  # nothing tells that something does not happen
    suite.expect(run.log(), [])
    suite.expect(download.rest() == bytes(33554432 - 100), True)
    download.close()
    suite.expect((run.ended()["status"], run.log()), ("Succeeded", ["written"]))


@suite.check
def a_relay_can_be_used_once(site: suite.Site) -> None:
    """A second reader, or writer, is refused, and the first one not disturbed."""
    if not site.traits.ephemeral_buffers:
        return
    run = _echo(site)
    upload, download = Upload(run, "in"), Download(run, "out")
    second = Download(run, "out")
    suite.expect(second.status, 400)
    second.close()
    suite.expect(Upload(run, "in").status(), 400)
    upload.send(b"abc")
    suite.expect((upload.end(), download.rest()), (202, b"abc"))
    download.close()
    suite.expect(run.ended()["status"], "Succeeded")


@suite.check
def a_job_may_leave_its_relays_alone(site: suite.Site) -> None:
    """It succeeds; its reader gets nothing, and its writer is not kept."""
    if not site.traits.ephemeral_buffers:
        return
    run = suite.Run.start(site, "exit 0", inputs={"in": "_"}, outputs={"out": "_"})
    suite.expect(run.ended()["status"], "Succeeded")


@suite.check
def our_own_commands_know_relays(site: suite.Site) -> None:
    """By the buffer's ID, with the code that moves stored buffers."""
    if not site.traits.ephemeral_buffers:
        return
    run = _echo(site)
    names = run.made["job"]["buffers"]
    with suite.Writer(site, names["in"]) as writer, suite.Reader(site, names["out"]) as reader:
        writer.send(b"hello")
        suite.expect(reader.exactly(5), b"hello")
        writer.close()
        suite.expect(reader.rest(), b"")
    suite.expect(run.ended()["status"], "Succeeded")


@suite.check
def a_daemon_killed_while_a_relay_flows(site: suite.Site) -> None:
    """No byte is lost in silence: all of them arrive, or the run fails and its reader is told."""
    if not site.traits.ephemeral_buffers:
        return
    run = _echo(site)
    names = run.made["job"]["buffers"]
    piece = b"".join(suite.numbered(200_000))
    received = b""
    try:
        with suite.Writer(site, names["in"]) as writer, suite.Reader(site, names["out"]) as reader:
            writer.send(piece)
            received += reader.exactly(len(piece) // 2)
            site.restart()
            writer.send(piece)
            writer.close()
            received += reader.rest()
    except (errors.Problem, BrokenPipeError):
        suite.expect(run.ended()["status"], "Failed")
    else:
        suite.expect((run.ended()["status"], received == 2 * piece), ("Succeeded", True))


@suite.check
def a_failing_job_is_told_to_its_reader(site: suite.Site) -> None:
    """What it wrote does not pass for the whole."""
    if not site.traits.ephemeral_buffers:
        return
    run = suite.Run.start(site, 'echo half > "$OUT_PIPE"; exit 3', outputs={"out": "_"})
    name = run.made["job"]["buffers"]["out"]
    with suite.Reader(site, name) as reader:
        suite.expect(reader.exactly(5), b"half\n")
        suite.refused(reader.rest)
    suite.expect(run.ended()["statusReason"], "Main exited with code 3")


@suite.check
def a_socket_may_have_relays(site: suite.Site) -> None:
    """A message to a server, and back."""
    if not (site.traits.ephemeral_buffers and site.traits.sockets):
        return
    port = site.next_port()
    run = suite.Run.start(
        site,
        f"exec busybox nc -l -p {port} -e cat",
        inputs={"in": "_"},
        outputs={"out": "_"},
        codespec_more={"sockets": [{"port": port, "inputBuffer": "in", "outputBuffer": "out"}]},
    )
    upload, download = Upload(run, "in"), Download(run, "out")
    for line in suite.numbered(500):
        upload.send(line)
        suite.expect(download.exactly(len(line)), line)
    suite.expect((upload.end(), download.rest()), (202, b""))
    download.close()
    suite.expect(run.ended()["status"], "Succeeded")
