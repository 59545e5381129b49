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
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from tests.support import catalogclients_buffers as buffers
from tests.support import catalogclients_runs as runs
from tests.support import catalogclients_speaker as speaking
from tests.support import catalogmodel as models

SHARED_IMAGES = 3


class Client(buffers.Buffers, runs.Runs):
    """One client; `index` makes what it makes its own."""

    def __init__(self, path: str, index: int, seed: int) -> None:
        super().__init__(path, index, seed)
        self.codespecs = {f"own{index}-{number}": models.Codespec() for number in range(3)}
        self.counted = [0, 0]
        """Increments of the shared counter: those that were made, and those without an answer."""
        self.versions: dict[int, str] = {}
        """Images of the shared codespec's versions that were seen."""

    # --- what all share -------------------------------------------------------------------------------------

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
        answer = self.ask("PUT", "/codespecs/shared", speaking.codespec(image))
        if answer is not None:
            if answer.body["image"] != image:
                raise models.Wrong(f"the shared codespec: {image} became {answer}")
            self.see_version(answer.body)

    def see_version(self, body: dict[str, Any]) -> None:
        if self.versions.setdefault(body["version"], body["image"]) != body["image"]:
            raise models.Wrong(f"version {body['version']} was {self.versions[body['version']]}, is {body}")

    # --- codespecs ------------------------------------------------------------------------------------------

    def put_codespec(self) -> None:
        name = self.chance.choice(list(self.codespecs))
        image = f"image{self.chance.randrange(SHARED_IMAGES)}"
        self.codespecs[name].put(image, self.ask("PUT", f"/codespecs/{name}", speaking.codespec(image)))

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

    # --- all of it ------------------------------------------------------------------------------------------

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
                known.follow(op := models.Op("show", soft), self.sure(*buffers.request(known.id, op)))
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
