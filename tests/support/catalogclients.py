"""Clients that work on one catalog at the same time, each with a model of what is its own.

    python catalogclients.py SOCKET CLIENTS OPERATIONS SEED RESULTS

Forks so many clients, which make so many operations together; each writes a line to standard output for every
operation, and at its end what it knows of what all share to `RESULTS/<client>.json`. A client that meets an
answer that its model does not allow, or none for a minute, says so and ends with 1. The daemon may be killed
and started again at any moment: what is asked then has happened or has not.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import random
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from tests.support import catalogmodel as models

PATIENCE = 60
"""Seconds for an answer, and for a daemon to be there: one that was killed starts in a second or two."""

SHARED_IMAGES = 3
PAST, FUTURE = "2020-01-01T00:00:00+00:00", "2150-01-02T03:04:05.678901+00:00"


class Client:
    """One client; `index` makes what it makes its own."""

    def __init__(self, path: str, index: int, seed: int) -> None:
        self.path = path
        self.index = str(index)
        self.chance = random.Random(f"{seed}/{index}")
        self.numbers = itertools.count()
        self.connection: socket.socket | None = None
        self.buffers: dict[str, models.Known] = {}
        self.unseen: dict[str, models.Buffer] = {}
        """Buffers whose creation had no answer, by their tag `made`."""
        self.runs: dict[int, models.Run] = {}
        self.kinds: dict[str, str] = {}
        """By idempotency key, the kinds of runs that have come."""
        self.codespecs = {f"own{index}-{number}": models.Codespec() for number in range(3)}
        self.counted = [0, 0]
        """Increments of the shared counter: those that were made, and those without an answer."""
        self.versions: dict[int, str] = {}
        """Images of the shared codespec's versions that were seen."""

    # --- speaking ----------------------------------------------------------------------------------------

    def ask(self, method: str, target: str, body: object = None, **headers: str) -> models.Answer | None:
        """One request; None when its answer was lost. Waits for a daemon first."""
        data = b"" if body is None else json.dumps(body).encode()
        target += ("&" if "?" in target else "?") + "api-version=1.0"
        fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len(data)}\r\n\r\n"
        connection = self.connection or self.connect()
        try:
            connection.sendall(head.encode() + data)
            return self.answer(connection)
        except TimeoutError:
            raise AssertionError(f"no answer to {method} {target} in {PATIENCE} s") from None
        except (ConnectionError, EOFError):
            connection.close()
            self.connection = None
            return None

    def sure(self, method: str, target: str, body: object = None, **headers: str) -> models.Answer:
        """One request that can be repeated, until it is answered."""
        while (answer := self.ask(method, target, body, **headers)) is None:
            pass
        return answer

    def connect(self) -> socket.socket:
        deadline = time.monotonic() + PATIENCE
        while True:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(PATIENCE)
            try:
                connection.connect(self.path)
            except (ConnectionError, FileNotFoundError, BlockingIOError):
                connection.close()
                if time.monotonic() > deadline:
                    raise AssertionError(f"no daemon for {PATIENCE} s") from None
                time.sleep(0.02)
            else:
                self.connection = connection
                return connection

    def answer(self, connection: socket.socket) -> models.Answer:
        with connection.makefile("rb") as file:  # nothing follows an answer unasked
            line = file.readline()
            length = 0
            while (field := file.readline()) not in (b"\r\n", b""):
                if field.lower().startswith(b"content-length:"):
                    length = int(field.split(b":")[1])
            data = file.read(length)
        if not field or len(data) < length:
            raise EOFError
        status = int(line.split()[1])
        if status >= 500:
            raise models.Wrong(f"{line!r}: {data!r}")
        return models.Answer(status, json.loads(data) if data else None)

    # --- buffers -----------------------------------------------------------------------------------------

    def tags(self, made: str) -> tuple[tuple[str, str], ...]:
        """Some tags; two of them stay with a thing for its life."""
        some = {"owner": self.index, "made": made}
        some |= {key: self.chance.choice("123") for key in "abc" if self.chance.random() < 0.5}
        return tuple(sorted(some.items()))

    def make_buffer(self) -> None:
        made = f"{self.index}-{next(self.numbers)}"
        state = models.Buffer(self.tags(made))
        body: dict[str, object] = {"tags": dict(state.tags)}
        if self.chance.random() < 0.2:
            state = state._replace(expires=FUTURE)
            body["expiresAt"] = FUTURE
        answer = self.ask("POST", "/buffers", body)
        if answer is None:
            self.unseen[made] = state
        else:
            self.adopt(state, answer.body)

    def adopt(self, state: models.Buffer, body: dict[str, Any]) -> None:
        known = models.Known(body["id"], {state})
        known.follow(models.Op("show"), models.Answer(200, body))
        known.created_at = body["createdAt"]
        self.buffers[known.id] = known

    def change_buffer(self) -> None:
        if len(self.buffers) < 3:
            self.make_buffer()
            return
        known = self.chance.choice(list(self.buffers.values()))
        kind = self.chance.choice(
            ["show", "show", "set", "set", "set", "delete", "restore", "restore", "purge"]
        )
        soft = self.chance.choice([state.deleted for state in sorted(known.states, key=repr)])
        if self.chance.random() < 0.1:
            soft = not soft
        op = models.Op(kind, soft)
        if kind == "set":
            (made,) = {dict(state.tags)["made"] for state in known.states}
            etag = self.chance.choice([None, "*", known.etag, known.etag, "1234567890"])
            expires = self.chance.choice([None, None, None, FUTURE, PAST if soft else None])
            op = models.Op(kind, soft, self.tags(made), etag, expires=expires, past=expires == PAST)
        elif kind in ("delete", "purge"):
            ttl = self.chance.choice(
                [None, "1.00:00:00", "00:30", "0" if self.chance.random() < 0.4 else None]
            )
            op = models.Op(kind, kind == "purge", ttl=ttl, past=ttl == "0")
        known.follow(op, self.ask(*request(known.id, op)) if kind != "set" else self.put(known, op))
        if all(state.gone for state in known.states):
            del self.buffers[known.id]

    def put(self, known: models.Known, op: models.Op) -> models.Answer | None:
        body: dict[str, object] = {"tags": dict(op.tags)}
        if op.expires:
            body["expiresAt"] = op.expires
        headers = {"If_Match": op.etag} if op.etag else {}
        return self.ask(*request(known.id, op), body, **headers)

    def list_buffers(self) -> None:
        soft = self.chance.random() < 0.4
        wanted, unwanted = self.filters(), self.filters(0.15)
        alone = self.chance.random() < 0.7
        limit = self.chance.choice([1, 3, 10, 500] if alone else [30, 500])
        query = [f"softDeleted={str(soft).lower()}", f"limit={limit}"]
        query += [f"tag[{key}]={value}" for key, value in wanted.items()]
        query += [f"tag[owner]={self.index}"] if alone else []
        query += [f"excludeTag[{key}]={value}" for key, value in unwanted.items()]
        found = self.items("/buffers", query)

        def fits(state: models.Buffer) -> bool:
            tags = dict(state.tags).items()
            return wanted.items() <= tags and not unwanted.items() & tags

        self.check_order(found)
        found = [body for body in found if alone or body["tags"].get("owner") == self.index]
        seen = {body["id"]: body for body in found}
        for body in found:
            made = body["tags"]["made"]
            if body["id"] not in self.buffers and made in self.unseen:
                self.adopt(self.unseen.pop(made), body)
        for known in list(self.buffers.values()):
            states = known.might_be()
            inside = [fits(state) and state.deleted == soft and not state.gone for state in states]
            if known.id in seen:
                known.follow(models.Op("show", soft), models.Answer(200, seen.pop(known.id)))
                must = any(inside)
            else:
                must = not all(inside)
            if not must:
                raise models.Wrong(f"{known.id} in a list {query}: {known.id in seen}; {states}")
        if seen:
            raise models.Wrong(f"a list {query} has {seen}, which nobody made")

    def count_buffers(self) -> None:
        soft = self.chance.choice([None, False, True])
        query = f"tag[owner]={self.index}" + ("" if soft is None else f"&softDeleted={str(soft).lower()}")
        found = self.sure("GET", f"/buffers/count?{query}").body
        bounds = [known.listed(soft=soft, counted=True) for known in self.buffers.values()]
        least, most = sum(must for must, _ in bounds), sum(may for _, may in bounds) + len(self.unseen)
        if not least <= found <= most:
            raise models.Wrong(f"a count {query} is {found}, not {least} to {most}")

    # --- what all share ----------------------------------------------------------------------------------

    def count_up(self) -> None:
        """Add one to the shared counter, unless somebody is quicker."""
        shared = self.sure("GET", "/buffers?tag[shared]=counter").body["items"][0]
        tags = {**shared["tags"], "n": str(int(shared["tags"]["n"]) + 1)}
        answer = self.ask("PUT", f"/buffers/{shared['id']}", {"tags": tags}, If_Match=shared["eTag"])
        if answer is None or answer.status == 200:
            self.counted[answer is None] += 1
        elif answer.status != 412:
            raise models.Wrong(f"the counter: {answer}")

    def put_shared(self) -> None:
        image = f"image{self.chance.randrange(SHARED_IMAGES)}"
        answer = self.ask("PUT", "/codespecs/shared", codespec(image))
        if answer is not None:
            if answer.body["image"] != image:
                raise models.Wrong(f"the shared codespec: {image} became {answer}")
            self.see_version(answer.body)

    def see_version(self, body: dict[str, Any]) -> None:
        if self.versions.setdefault(body["version"], body["image"]) != body["image"]:
            raise models.Wrong(f"version {body['version']} was {self.versions[body['version']]}, is {body}")

    # --- codespecs ---------------------------------------------------------------------------------------

    def put_codespec(self) -> None:
        name = self.chance.choice(list(self.codespecs))
        image = f"image{self.chance.randrange(SHARED_IMAGES)}"
        self.codespecs[name].put(image, self.ask("PUT", f"/codespecs/{name}", codespec(image)))

    def show_codespec(self) -> None:
        name, known = self.chance.choice(list(self.codespecs.items()))
        known.show(self.sure("GET", f"/codespecs/{name}"))
        (history,) = known.histories if len(known.histories) == 1 else [()]
        if history:
            version = self.chance.randrange(len(history)) + 1
            body = self.sure("GET", f"/codespecs/{name}/versions/{version}").body
            if body["image"] != history[version - 1]:
                raise models.Wrong(f"{name} {version}: {body}; its history is {history}")

    def list_codespecs(self) -> None:
        found = {
            each["name"]: each for each in self.items("/codespecs", [f"prefix=own{self.index}-", "limit=2"])
        }
        for name, known in self.codespecs.items():
            body = found.pop(name, None)
            known.show(models.Answer(404, None) if body is None else models.Answer(200, body))
        if found:
            raise models.Wrong(f"codespecs that nobody made: {found}")

    # --- runs --------------------------------------------------------------------------------------------

    def make_run(self) -> None:
        """Create a run, asking again with the same key until there is an answer: it is one run."""
        key = f"{self.index}-{next(self.numbers)}"
        kind = self.chance.choice(["instant", "instant", "patient"])
        tags = self.tags(key)
        body = {"job": {"codespec": codespec(kind)}, "tags": dict(tags)}
        answer = self.sure("POST", "/runs", body, Idempotency_Key=key)
        if answer.status != 201:
            raise models.Wrong(f"a run: {answer}")
        known = models.Run(answer.body["id"], kind, {tags})
        known.see(answer.body)
        known.created_at = answer.body["createdAt"]
        self.runs[known.id] = known
        if self.chance.random() < 0.2:
            again = self.sure("POST", "/runs", body, Idempotency_Key=key)
            if again.body["id"] != known.id:
                raise models.Wrong(f"the key {key} made {known.id} and {again}")

    def change_run(self) -> None:
        if not self.runs:
            self.make_run()
            return
        known = self.chance.choice(list(self.runs.values()))
        target = f"/runs/{known.id}"
        match self.chance.choice(["show", "show", "set", "set", "cancel"]):
            case "show":
                known.see(self.sure("GET", target).body)
            case "cancel":
                known.cancel()
                answer = self.ask("POST", f"{target}/cancel")
                if answer is not None:
                    known.statuses -= {"Pending", "Running"}
                    known.see(answer.body)
            case _:
                self.set_run(known, target)

    def set_run(self, known: models.Run, target: str) -> None:
        tags = self.tags(dict(next(iter(known.tags)))["made"])
        etag = self.chance.choice([None, "*", known.etag, "1234567890"])
        settled = known.settled
        before = set(known.tags)
        answer = self.ask("PUT", target, {"tags": dict(tags)}, **({"If_Match": etag} if etag else {}))
        if answer is None:
            known.tags |= {tags}
            known.etag = None
        elif answer.status == 200 and etag != "1234567890":
            known.tags = {tags}
            known.see(answer.body)
        elif answer.status != 412 or etag in (None, "*") or (settled and etag == known.etag):
            raise models.Wrong(f"tags of run {known.id} with {etag}: {answer}, after {before}, {known.etag}")

    def list_runs(self) -> None:
        wanted, statuses = self.filters(), self.chance.choice([(), ("Succeeded",), ("Canceled", "Running")])
        query = [f"limit={self.chance.choice([1, 3, 10, 500])}", *(f"status={status}" for status in statuses)]
        query += [f"tag[{key}]={value}" for key, value in {**wanted, "owner": self.index}.items()]
        found = self.items("/runs", query)
        self.check_order(found)
        seen = {body["id"]: body for body in found}
        if len(seen) < len(found) or seen.keys() - self.runs.keys():
            raise models.Wrong(f"a list {query} has a run twice, or of nobody: {sorted(seen)}")
        for known in self.runs.values():
            fits = [wanted.items() <= dict(tags).items() for tags in known.tags]
            possible = known.statuses if not statuses else known.statuses & set(statuses)
            if known.id in seen:
                right = any(fits) and bool(possible)
                known.see(seen[known.id])
            else:
                right = not (all(fits) and possible == known.statuses)
            if not right:
                raise models.Wrong(f"run {known.id} in a list {query}: {known.id in seen}; {vars(known)}")

    def count_runs(self) -> None:
        found = self.sure("GET", f"/runs/counts?tag[owner]={self.index}").body
        for status in ("Pending", "Running", "Succeeded", "Canceled", "Failed"):
            each = [known.statuses for known in self.runs.values()]
            least, most = sum(s == {status} for s in each), sum(status in s for s in each)
            if not least <= found.get(status.lower(), 0) <= most:
                raise models.Wrong(f"counts {found}: {status} not {least} to {most}")
        if sum(found.values()) != len(self.runs):
            raise models.Wrong(f"counts {found} of {len(self.runs)} runs")

    # --- all of it ---------------------------------------------------------------------------------------

    def filters(self, each: float = 0.25) -> dict[str, str]:
        return {key: self.chance.choice("123") for key in "abc" if self.chance.random() < each}

    def items(self, path: str, query: list[str]) -> list[dict[str, Any]]:
        """A whole list, page by page; the daemon may have been another one for each."""
        found: list[dict[str, Any]] = []
        target = path + "?" + quote("&".join(query), safe="=&")
        while True:
            page = self.sure("GET", target).body
            found += page["items"]
            if "nextLink" not in page:
                return found
            last, target = target, page["nextLink"].replace("&api-version=1.0", "")
            if target == last:
                raise models.Wrong(f"{path} goes on where it ended: {target}")

    def check_order(self, found: list[dict[str, Any]]) -> None:
        keys = [(moment(body["createdAt"]), body["id"]) for body in found]
        if keys != sorted(keys, reverse=True) or len(set(keys)) < len(keys):
            raise models.Wrong(f"not newest first: {keys}")

    def work(self) -> Iterator[None]:
        """One operation after the other."""
        table: list[tuple[int, Callable[[], None]]] = [
            (16, self.make_buffer),
            (34, self.change_buffer),
            (6, self.list_buffers),
            (4, self.count_buffers),
            (6, self.count_up),
            (4, self.put_shared),
            (7, self.put_codespec),
            (3, self.show_codespec),
            (2, self.list_codespecs),
            (6, self.make_run),
            (10, self.change_run),
            (3, self.list_runs),
            (2, self.count_runs),
        ]
        weights, actions = zip(*table, strict=True)
        while True:
            self.chance.choices(actions, weights)[0]()
            yield

    def audit(self) -> None:
        """Look at everything once more, until nothing is in doubt."""
        for known in list(self.buffers.values()):
            for soft in (False, True):
                known.follow(op := models.Op("show", soft), self.sure(*request(known.id, op)))
        for _ in range(8):
            self.list_buffers()
        for action in (self.count_buffers, self.list_codespecs, self.list_runs, self.count_runs):
            action()
        for known in self.runs.values():
            known.see(self.sure("GET", f"/runs/{known.id}").body)
        for name, known in self.codespecs.items():
            known.show(self.sure("GET", f"/codespecs/{name}"))
        for version in range(1, self.sure("GET", "/codespecs/shared").body["version"] + 1):
            self.see_version(self.sure("GET", f"/codespecs/shared/versions/{version}").body)


def request(buffer_id: str, op: models.Op) -> tuple[str, str]:
    """Method and target of an operation."""
    query = [f"softDeleted={str(op.soft).lower()}"] if op.kind in ("show", "set", "purge") else []
    query += [f"ttl={op.ttl}"] if op.ttl is not None else []
    target = f"/buffers/{buffer_id}" + ("/restore" if op.kind == "restore" else "")
    method = {"show": "GET", "set": "PUT", "delete": "DELETE", "purge": "DELETE", "restore": "POST"}[op.kind]
    return method, target + ("?" + "&".join(query) if query else "")


def codespec(image: str) -> dict[str, object]:
    return {"kind": "job", "image": image, "command": ["x"]}


def moment(text: str) -> str:
    """A timestamp in a form that sorts as it should: trailing zeros are trimmed on the wire."""
    whole, _, fraction = text.removesuffix("+00:00").partition(".")
    return f"{whole}.{fraction:0<6}"


def run(client: Client, operations: int, results: pathlib.Path) -> None:
    """One client's life."""
    for _ in itertools.islice(client.work(), operations):
        os.write(1, b"\n")
    client.audit()
    kept = {"counted": client.counted, "versions": client.versions, "runs": len(client.runs)}
    (results / f"{client.index}.json").write_text(json.dumps(kept))


def main(path: str, clients: int, operations: int, seed: int, results: pathlib.Path) -> int:
    """Fork the clients and wait for them; 1 when one has failed."""
    children = []
    for index in range(clients):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(Client(path, index, seed), operations // clients, results)
                code = 0
            except BaseException:  # noqa: BLE001 - the end of the process, which says why
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[2:5]]
    sys.exit(main(sys.argv[1], *numbers, pathlib.Path(sys.argv[5])))
