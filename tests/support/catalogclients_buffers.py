"""What one of the catalog's clients does with buffers, and what it then holds true of them."""

from __future__ import annotations

from typing import Any

from tests.support import catalogclients_speaker as speaking
from tests.support import catalogmodel as models

PAST, FUTURE = "2020-01-01T00:00:00+00:00", "2150-01-02T03:04:05.678901+00:00"


class Buffers(speaking.Speaker):
    """A client's own buffers."""

    def __init__(self, path: str, index: int, seed: int) -> None:
        super().__init__(path, index, seed)
        self.buffers: dict[str, models.Known] = {}
        self.unseen: dict[str, models.Buffer] = {}
        """Buffers whose creation had no answer, by their tag `made`."""

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


def request(buffer_id: str, op: models.Op) -> tuple[str, str]:
    """Method and target of an operation."""
    query = [f"softDeleted={str(op.soft).lower()}"] if op.kind in ("show", "set", "purge") else []
    query += [f"ttl={op.ttl}"] if op.ttl is not None else []
    target = f"/buffers/{buffer_id}" + ("/restore" if op.kind == "restore" else "")
    method = {"show": "GET", "set": "PUT", "delete": "DELETE", "purge": "DELETE", "restore": "POST"}[op.kind]
    return method, target + ("?" + "&".join(query) if query else "")
