"""How one of the catalog's clients asks: over a connection that may break, page by page, by chance."""

from __future__ import annotations

import itertools
import json
import random
import socket
import time
from typing import Any
from urllib.parse import quote

from tests.support import catalogmodel as models

PATIENCE = 180
"""Seconds for an answer, and for a daemon to be there: one that was killed starts in a second or two."""


class Speaker:
    """A client that can ask; `index` makes what it makes its own."""

    def __init__(self, path: str, index: int, seed: int) -> None:
        self.path = path
        self.index = str(index)
        self.chance = random.Random(f"{seed}/{index}")
        self.numbers = itertools.count()
        self.connection: socket.socket | None = None

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

    def tags(self, made: str) -> tuple[tuple[str, str], ...]:
        """Some tags; two of them stay with a thing for its life."""
        some = {"owner": self.index, "made": made}
        some |= {key: self.chance.choice("123") for key in "abc" if self.chance.random() < 0.5}
        return tuple(sorted(some.items()))

    def filters(self, each: float = 0.25) -> dict[str, str]:
        return {key: self.chance.choice("123") for key in "abc" if self.chance.random() < each}


def codespec(image: str) -> dict[str, object]:
    return {"kind": "job", "image": image, "command": ["x"]}


def moment(text: str) -> str:
    """A timestamp in a form that sorts as it should: trailing zeros are trimmed on the wire."""
    whole, _, fraction = text.removesuffix("+00:00").partition(".")
    return f"{whole}.{fraction:0<6}"
