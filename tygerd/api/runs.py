"""Runs over HTTP, contract rest-api.md sections 6 and 10. Error bodies differ from those of buffers there."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from urllib.parse import quote

import msgspec

from tyger import errors, model, units
from tygerd.api import context, described, paging, params, watching
from tygerd.buffers import tags
from tygerd.http import messages, router
from tygerd.runs import creation, records, service, states

_MAX_ID = 2**63 - 1

_IN_HEADERS = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
"""What a header's value can hold; the rest is written as %XX."""

_encode = msgspec.json.Encoder().encode


async def create(app: context.App, request: messages.Request, body: model.Run) -> messages.Response:
    """Create a run and start it."""
    wish = creation.Wish(request.query.get("engine"), params.flag(request.query, "pull"))
    key = request.headers.get("Idempotency-Key")
    made = await app.runs.create(body, request.peer.uid, key, wish)
    headers = [("Location", f"/runs/{made.run.id}")]
    if wish.engine is not None:  # for a client that knows of engines
        headers.append(("Tyger-Engine", made.engine))
        if made.reason is not None:
            headers.append(("Tyger-Engine-Reason", quote(made.reason, safe=_IN_HEADERS)))
    return messages.Response(201, made.run, headers)


async def progress(app: context.App, request: messages.Request) -> messages.StreamResponse:
    """Tell how far the images have come of a run that is being created."""
    key = request.query.get("key") or ""

    async def run(sink: messages.Sink) -> None:
        async def send(said: str) -> None:
            await watching.send(sink, _encode({"message": said}) + b"\n")

        await app.runs.follow_fetches(key, send)

    return messages.StreamResponse(run, headers=[("Content-Type", described.LINES)])


async def index(app: context.App, request: messages.Request) -> messages.Response:
    """List runs, newest first."""
    after = (
        paging.after_moment(request.query, tuple[int, model.Int64])
        if request.query.get(paging.NAME)
        else None
    )
    found = await app.runs.page(
        _chosen(request, with_statuses=True), limit=params.limit(request.query), after=after
    )
    continuation = None if found.last is None else paging.moment_token(found.last)
    return messages.Response(body=paging.page(request, found.items, continuation))


async def counts(app: context.App, request: messages.Request) -> messages.Response:
    """Count runs by status."""
    found = await app.runs.counts(_chosen(request))
    return messages.Response(body={status[0].lower() + status[1:]: count for status, count in found.items()})


async def show(app: context.App, request: messages.Request) -> messages.Response | messages.StreamResponse:
    """Show a run, or watch it until it has ended."""
    watched = params.flag(request.query, "watch")
    run_id = _id(request)
    if not watched:
        return messages.Response(body=await app.runs.get(run_id))
    await app.runs.require(run_id)

    async def run(sink: messages.Sink) -> None:
        async def send(snapshot: model.Run) -> None:
            # What happens while this waits is told by one more snapshot.
            await watching.send(sink, _encode(snapshot) + b"\n")

        await app.runs.watch(run_id, send)

    return messages.StreamResponse(run, headers=[("Content-Type", messages.JSON_TYPE)])


async def update(app: context.App, request: messages.Request, body: model.RunUpdate) -> messages.Response:
    """Replace a run's tags."""
    with _without_body():
        run_id = _id(request)
        if body.id is not None and body.id != run_id:
            text = "The run ID in the URL does not match the run ID in the request body."
            return messages.Response(400, text)
        tags.check_amount(body.tags)
        run = await app.runs.update(run_id, body.tags or {}, request.headers.get("If-Match"))
    return messages.Response(200, run, [("ETag", run.e_tag or "")])


async def cancel(app: context.App, request: messages.Request) -> messages.Response:
    """Cancel a run; one that has ended stays as it is."""
    return messages.Response(202, await app.runs.cancel(_id(request)))


async def logs(app: context.App, request: messages.Request) -> messages.StreamResponse:
    """Send a run's log, or follow it to its end."""
    since = request.query.get("since")
    options = records.Options(
        timestamps=params.flag(request.query, "timestamps"),
        tail=_tail(request.query),
        since=records.moment(since) if since is not None and _since(request.query) else None,
    )
    follow = params.flag(request.query, "follow")
    with _without_body():
        run_id = _id(request)
        await app.runs.require(run_id)

    async def run(sink: messages.Sink) -> None:
        await app.runs.logs(run_id, options, sink.send, follow=follow)

    return messages.StreamResponse(run)


async def sweep(app: context.App, request: messages.Request) -> messages.Response:  # noqa: ARG001 - a handler's shape
    """Do nothing: runs are put away as soon as they end."""
    return messages.Response()


def _id(request: messages.Request) -> int:
    """The run's id in the path; what is none names no run."""
    text = request.params["runId"]
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) > _MAX_ID:
        raise errors.not_found()
    return int(text)


@contextmanager
def _without_body() -> Iterator[None]:
    """Some answers about a run that is unknown, or has another ETag, have no body (rest-api.md 13)."""
    try:
        yield
    except errors.Problem as problem:
        if problem.kind in (errors.NOT_FOUND, errors.PRECONDITION_FAILED):
            problem.empty_body = True
        raise


def _chosen(request: messages.Request, *, with_statuses: bool = False) -> service.Chosen:
    statuses = []
    for text in request.query.all("status") if with_statuses else ():
        if (status := states.parse(text)) is None:
            raise errors.Problem(errors.INVALID_INPUT, f"Invalid status: {text}")
        statuses.append(status)
    return service.Chosen(_since(request.query), statuses, params.tags(request.query))


def _since(query: messages.Fields) -> datetime | None:
    if (text := query.get("since")) is None:
        return None
    try:
        return units.parse_timestamp(text)
    except errors.Problem:
        raise params.unbound("Nullable<DateTimeOffset>", "since", text) from None


def _tail(query: messages.Fields) -> int | None:
    if (text := query.get("tailLines")) is None:
        return None
    value = int(text) if re.fullmatch(r"\s*[-+]?[0-9]{1,10}\s*", text) else None
    if value is None or not -(2**31) <= value < 2**31:
        raise params.unbound("Nullable<int>", "tailLines", text)
    return max(0, value)


_SINCE = {"since": described.moment("only what was created later than this")}
_TAGS = {"tag": described.with_tags("only runs with all of these tags")}
_STATUS = {
    "status": router.Parameter(
        "only runs in one of these statuses, in any letter case",
        {"type": "array", "items": {"enum": list(typing.get_args(model.RunStatus))}},
    )
}
_WATCH = {"watch": described.flag("a line of JSON now and after every change, until the run has ended")}
_KEY = {"Idempotency-Key": router.Parameter("whoever comes with the same key gets the same run")}
_ENGINE = {
    "engine": router.Parameter("which engine executes it, or `auto`; nothing stands for the configured one"),
    "pull": described.flag("fetch its images also where they are present"),
}
_CHOSEN = {
    "Tyger-Engine": router.Parameter("the engine that executes it, where `engine` was there", optional=True),
    "Tyger-Engine-Reason": router.Parameter(
        "why that one, where the daemon chose; %XX is a byte of UTF-8", optional=True
    ),
}
_OF_KEY = {"key": router.Parameter("the Idempotency-Key that the run is created with")}
_LOGS = {
    "timestamps": described.flag("begin each line with its time"),
    "tailLines": router.Parameter("only so many of the last lines", described.INT32),
    "since": described.moment("only lines later than this"),
    "follow": described.flag("go on until the run has ended"),
}
_MISSING = [described.NOT_FOUND]
_WRONG_ID = router.Reply(400, str)
_ERROR = router.Reply(400, model.ErrorBody)

ROUTES = [
    router.Route(
        "POST", "/runs", create, "Create a run and start it", operation="createRun",
        body=model.Run, normalized=True, asks=_KEY, query=_ENGINE,
        status=201, response=model.Run, headers=described.LOCATION | _CHOSEN,
    ),
    router.Route(
        "GET", "/runs", index, "List runs", operation="getRuns",
        query=described.PAGE | _SINCE | _STATUS | _TAGS, response=model.RunPage,
    ),
    router.Route(
        "GET", "/runs/counts", counts, "Count runs by status", operation="getRunCounts",
        query=_SINCE | _TAGS, response=model.RunCounts,
    ),
    router.Route(
        "GET", "/runs/_progress", progress, "Follow the fetching of images for a run that is being created",
        operation="followRunCreation", query=_OF_KEY, media=described.LINES, response=model.Progress,
    ),
    router.Route(
        "POST", "/runs/_sweep", sweep, "Put ended runs away, which is done already", operation="sweepRuns"
    ),
    router.Route(
        "GET", "/runs/{runId}", show, "Show a run, or watch it", operation="getRunById",
        query=_WATCH, response=model.Run, also=_MISSING,
    ),
    router.Route(
        "PUT", "/runs/{runId}", update, "Replace a run's tags", operation="setRunTags",
        body=model.RunUpdate, asks=described.IF_MATCH, response=model.Run, headers=described.ETAG,
        also=[_ERROR, _WRONG_ID, described.BARE_NOT_FOUND, described.BARE_CHANGED],
    ),
    router.Route(
        "POST", "/runs/{runId}/cancel", cancel, "Cancel a run", operation="cancelRun",
        status=202, response=model.Run, also=_MISSING,
    ),
    router.Route(
        "GET", "/runs/{runId}/logs", logs, "Get a run's log, text without a Content-Type",
        operation="getRunLogs", query=_LOGS, also=[described.BARE_NOT_FOUND],
    ),
]  # fmt: skip
