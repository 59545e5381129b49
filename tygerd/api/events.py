"""News over HTTP: one JSON object a line, each time a buffer, run or transfer has changed."""

from __future__ import annotations

from typing import Any

import msgspec

from tyger import errors
from tygerd.api import context, described, watching
from tygerd.http import messages, router

_encode = msgspec.json.Encoder().encode


async def follow(app: context.App, _request: messages.Request) -> messages.StreamResponse:
    """Stream what changes from now on, until the client goes away or does not keep up."""

    async def run(sink: messages.Sink) -> None:
        with app.events.listen() as news:
            await sink.send(_encode({"event": "listening"}) + b"\n")
            async for event in news:
                await watching.send(sink, _encode({"event": "changed", **event._asdict()}) + b"\n")
        raise errors.Problem(errors.TRY_AGAIN, "this listener did not keep up; look again and listen again")

    return messages.StreamResponse(
        run, 200, [("Content-Type", "application/x-ndjson"), ("Trailer", "Tyger-Error")]
    )


ROUTES = [
    router.Route(
        "GET", "/events", follow, "What changes, as it happens", operation="followEvents",
        versioned=False, media=described.LINES, response=Any,
    ),
]  # fmt: skip
