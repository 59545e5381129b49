"""The runs of a fake daemon, whose program is a function."""

import contextlib
import json
import threading

from tests.support import fakedaemon_parts as parts


class Runs:
    """A part of `fakedaemon.FakeDaemon`."""

    def _create(self, request):
        run, number = request.body, len(self.runs) + 1
        codespec = run["job"]["codespec"]
        if isinstance(codespec, str):
            name = codespec.partition("/")[0]
            if name not in self.codespecs:
                raise parts.Failure(400, "InvalidInput", f"The codespec '{name}' was not found")
            codespec = self.codespecs[name]
        names = codespec.get("buffers", {})
        mapped = run["job"].setdefault("buffers", {})
        for name in [*names.get("inputs", []), *names.get("outputs", [])]:
            if mapped.get(name, "_") == "_":
                mapped[name] = f"run{number}-{name}"
                self.made[mapped[name]] = name
            self.buffers.setdefault(mapped[name], parts.Buffer(mapped[name]))
        self.runs[number] = {**run, "id": number, "status": "Running", "createdAt": parts.CREATED}
        inputs = [self.buffers[mapped[name]] for name in names.get("inputs", [])]
        outputs = [self.buffers[mapped[name]] for name in names.get("outputs", [])]
        threading.Thread(target=self._execute, args=(number, inputs, outputs), daemon=True).start()
        return 201, self.runs[number], {"Location": f"/runs/{number}"}

    def _execute(self, number, inputs, outputs):
        with contextlib.suppress(parts.Gone):
            self._perform(number, inputs, outputs)

    def _perform(self, number, inputs, outputs):
        for buffer in inputs:
            buffer.wait(lambda buffer=buffer: buffer.ended)
        if any(buffer.state == "failed" for buffer in inputs):
            self.move(number, "Failed", "an input buffer failed")
            return
        output, status, reason = self.program(b"".join(bytes(buffer.data) for buffer in inputs))
        for buffer in outputs:
            buffer.update(output, "complete" if status == "Succeeded" else "failed", reason)
        self.move(number, status, reason)

    def move(self, number, status, reason):
        with self.changed:
            if self.runs[number]["status"] == "Running":
                self.runs[number].update(status=status, statusReason=reason)
            self.changed.notify_all()

    def _watch(self, request, number):
        send = self._chunked(request)
        run = self.runs[number]
        send(json.dumps(run).encode() + b"\n")
        if run["status"] == "Running":
            with self.changed:
                assert self.changed.wait_for(lambda: run["status"] != "Running" or self._gone, 60)
                if run["status"] == "Running":
                    raise parts.Gone
            send(json.dumps(run).encode() + b"\n")
        return self._end(request)
