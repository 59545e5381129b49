"""The transfers of a fake daemon: writes with their events, reads, and who watches them."""

import contextlib
import json
import os
import select

from tests.support import fakedaemon_parts as parts


class Transfers:
    """A part of `fakedaemon.FakeDaemon`."""

    def change(self, name, **fields):
        """Change a transfer, and tell those who watch it."""
        with self.changed:
            self.transfers[name] = {**self.transfers.get(name, {"id": name}), **fields}
            self.changed.notify_all()

    def _tell(self, request, name):
        send, said = self._chunked(request), None
        while True:
            with self.changed:
                news = lambda told=said: self.transfers[name] is not told or self._gone  # noqa: E731
                assert self.changed.wait_for(news, 60)
                if self._gone:
                    raise parts.Gone
                said = self.transfers[name]
            send(json.dumps(said).encode() + b"\n")
            if said.get("state") in ("complete", "failed"):
                return self._end(request)

    def _granted(self, url):
        if url not in self.access:
            raise parts.Failure(403, "AccessExpired", "Signature not valid in the specified time frame")
        return self.access[url]

    def _of(self, transfer):
        for buffer in list(self.buffers.values()):
            if buffer.transfer == transfer:
                return buffer
        raise parts.not_found()

    def _outcome(self, request, name):
        buffer, body = self._of(name), request.body
        self.outcomes[name] = body
        wanted = "complete" if body["outcome"] == "complete" else "failed"
        if wanted == "complete" and buffer.spooled:
            wanted = "spooled"
        if buffer.state not in ("writing", wanted):
            raise parts.Failure(409, "Conflict", f"the buffer is already {buffer.state}")
        buffer.update(state=wanted, reason=body.get("reason"))
        return 200, {}, {}

    def _write(self, request):
        body = request.body
        name = body["buffer"] if "buffer" in body else self._granted(body["url"])
        buffer = self.buffers.get(name)
        if buffer is None:
            raise parts.not_found()
        if buffer.state != "new":
            raise parts.Failure(409, "Conflict", f"the buffer '{buffer.name}' was already written")
        buffer.transfer, buffer.state = body["id"], "writing"
        self.transfers[body["id"]] = {"id": body["id"], "kind": "write", "buffer": name, "state": "running"}
        try:
            return self._capture(request, buffer)
        except ConnectionError:
            self._client_has_gone(buffer)
            raise

    @staticmethod
    def _client_has_gone(buffer):
        """It may have said before how the buffer ends, or that the daemon can do without it."""
        if not buffer.ended and buffer.state != "spooled":
            buffer.update(state="failed", reason="the client went away")

    def _capture(self, request, buffer):
        send = self._chunked(request, 201)

        def event(**values):
            send(json.dumps(values).encode() + b"\n")

        event(event="attached", transfer={"id": buffer.transfer})
        reader, taking = request.fds[0], True
        patience = 0  # it may be over already
        while True:
            watched = [request.sock, buffer.nudge] + [reader] * taking
            ready = select.select(watched, [], [], patience)[0]
            patience = None
            if request.sock in ready:
                self._client_has_gone(buffer)
                return None, None, {}
            if buffer.nudge in ready:
                with contextlib.suppress(BlockingIOError):  # an attachment that is being replaced was quicker
                    os.eventfd_read(buffer.nudge)
                while not buffer.sayings.empty():
                    said = buffer.sayings.get()
                    event(**said)
                    if said["event"] == "failed":
                        buffer.update(state="failed", reason=said["reason"])
                        return self._end(request)
            if reader in ready:
                data = os.read(reader, 1 << 20)
                taking = bool(data)
                buffer.update(data)
                if data:
                    event(event="progress", bytes=len(buffer.data), blocks=1)
                else:
                    event(event="eof", bytes=len(buffer.data))
            if buffer.gone:
                raise parts.Gone
            if buffer.state == "spooled" and not buffer.told:
                event(event="spooled", bytes=len(buffer.data), blocks=1)
                buffer.told = True
                buffer.update()
            if buffer.ended:
                event(event=buffer.state, bytes=len(buffer.data), blocks=1, reason=buffer.reason)
                return self._end(request)

    def _deliver(self, request, name, asked, *, follow):
        buffer = self.buffers.get(name)
        if buffer is None:
            raise parts.not_found()
        reading = f"read{len(self.requests)}"
        self.transfers[reading] = {"id": reading, "kind": "read", "buffer": name, "state": "running"}
        send = self._chunked(request, Trailer="Tyger-Error", **{"Transfer-Id": reading})
        sent, length = int(asked.get("offset", 0)), asked.get("length")
        end = None if length is None else sent + int(length)
        while end is None or sent < end:
            if follow:
                buffer.wait(lambda sent=sent: buffer.ended or len(buffer.data) > sent)
            if len(buffer.data) > sent:
                data = bytes(buffer.data[sent : min(sent + 65536, end or sent + 65536)])
                send(data)
                sent += len(data)
            elif buffer.state == "failed":
                return self._end(request, b"Tyger-Error: BufferFailed: its writer failed: gone\r\n")
            else:
                break
        return self._end(request)
