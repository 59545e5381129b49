"""What one of the catalog's clients does with runs, and what it then holds true of them."""

from __future__ import annotations

from tests.support import catalogclients_speaker as speaking
from tests.support import catalogmodel as models


class Runs(speaking.Speaker):
    """A client's own runs."""

    def __init__(self, path: str, index: int, seed: int) -> None:
        super().__init__(path, index, seed)
        self.runs: dict[int, models.Run] = {}

    def make_run(self) -> None:
        """Create a run, asking again with the same key until there is an answer: it is one run."""
        key = f"{self.index}-{next(self.numbers)}"
        kind = self.chance.choice(["instant", "instant", "patient"])
        tags = self.tags(key)
        body = {"job": {"codespec": speaking.codespec(kind)}, "tags": dict(tags)}
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
