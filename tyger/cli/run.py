"""`tyger run`: start runs, look at them, cancel them. `run exec`, which moves the bytes too, is `execute`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from tyger import errors
from tyger.cli import fields, flags, groups, layouts, listing, resource, runrequest, session

NO_SUCH = "0 on success, 66 when there is no such run"


@click.group(
    cls=groups.Group,
    name="run",
    lazy={"exec": groups.Lazy("tyger.cli.execute"), "attach": groups.Lazy("tyger.cli.attach")},
    aliases={"get": "show", "count": "counts", "stop": "cancel"},
    help="Execute codespecs, and look at their executions.",
    short_help="Manage runs.",
)
def command() -> None:
    """Group; see `groups.Group`."""


@command.command(
    name="create",
    help=groups.describe(
        """
Start a run and print its ID; it goes on by itself.

The run is described by flags, by a YAML file (--file), or by both: flags override the file. Buffer parameters
that are not mapped get new buffers, which `tyger run show` names.
        """,
        examples=(
            "tyger run create -c negate -b input=$in -b output=$out",
            "id=$(tyger run create -f run.yml); tyger run watch $id",
        ),
        exit_status="0 when the run was created, 65 when it is not valid.",
    ),
)
@runrequest.options
@click.pass_obj
def create(invocation: session.Session, /, **given: Any) -> None:
    """POST /runs."""
    from tyger import streams
    from tyger.cli import data

    request = runrequest.build(invocation, given)
    limit = streams.Patience(data.PATIENCE_WITH_FILES, first=True)
    created = runrequest.submit(invocation, request, streams.Stop(), limit)
    invocation.console.text(str(created.get("id")))


@command.command(
    name="show",
    help=groups.describe("Print a run as JSON.", examples=("tyger run show 7",), exit_status=NO_SUCH + "."),
)
@flags.one("run_id", "run ID", flags.RUN_ID)
@layouts.option()
@click.pass_obj
def show(invocation: session.Session, run_id: int) -> None:
    """GET /runs/{id}."""
    invocation.console.one(fields.RUN, invocation.ask("GET", f"/runs/{run_id}"))


@command.command(
    name="list",
    help=groups.describe(
        "List runs as a JSON array, the newest first.",
        examples=(
            "tyger run list --status running,pending",
            "tyger run list --since '2 hours ago' --tag scan=7",
            "tyger run list --output table",
        ),
        exit_status="0 on success.",
    ),
)
@flags.since_option("runs created")
@flags.map_option("--tag", "tags", help="Only runs with this tag. Repeat it to ask for several at once.")
@flags.status_option()
@flags.limit_option()
@layouts.option()
@click.pass_obj
def list_(
    invocation: session.Session,
    since: str | None,
    tags: Mapping[str, str],
    statuses: Sequence[str],
    limit: int | None,
) -> None:
    """GET /runs."""
    query = _since(since) + resource.tag_filters(tags) + [("status", name.capitalize()) for name in statuses]
    listing.show(invocation, fields.RUN, "/runs", query, limit)


@command.command(
    name="counts",
    help=groups.describe(
        "Print how many runs there are in each state, as a JSON object.",
        examples=("tyger run counts --since today",),
        exit_status="0 on success.",
    ),
)
@flags.since_option("runs created")
@flags.map_option("--tag", "tags", help="Only runs with this tag. Repeat it to ask for several at once.")
@layouts.option()
@click.pass_obj
def counts(invocation: session.Session, since: str | None, tags: Mapping[str, str]) -> None:
    """GET /runs/counts."""
    found = invocation.ask("GET", "/runs/counts", query=_since(since) + resource.tag_filters(tags))
    invocation.console.json(fields.sorted_map(found))


@command.command(
    name="set",
    help=groups.describe(
        "Change a run's tags, and print it as it is afterwards.\n\n"
        "The given tags are merged into those it has; with --clear-tags they replace them.",
        examples=("tyger run set 7 --tag state=checked", "tyger run set 7 --clear-tags"),
        exit_status=NO_SUCH + ", 75 when its ETag is another.",
    ),
)
@flags.one("run_id", "run ID", flags.RUN_ID)
@flags.map_option("--tag", "tags", help="Tag to set. May be repeated.")
@click.option("--clear-tags", is_flag=True, help="Remove all other tags.")
@click.option("--etag", metavar="ETAG", help="Change it only if it still has this ETag.")
@click.pass_obj
def set_(
    invocation: session.Session, run_id: int, tags: Mapping[str, str], clear_tags: bool, etag: str | None
) -> None:
    """GET, merge, PUT /runs/{id}."""
    updated = resource.update(
        invocation, f"/runs/{run_id}", tags=tags, clear_tags=clear_tags, etag=etag, expires_at=None
    )
    invocation.console.one(fields.RUN, updated)


@command.command(
    name="watch",
    help=groups.describe(
        "Print a line of JSON now and at each change of a run, until the run has ended.",
        examples=("tyger run watch 7 | jq -r .status",),
        exit_status=NO_SUCH + ".",
    ),
)
@flags.one("run_id", "Run ID", flags.RUN_ID)
@click.option(
    "--full-resource", is_flag=True, help="Print the whole run each time, not only its state and times."
)
@layouts.option(default="JSON, a line each time")
@click.pass_obj
def watch(invocation: session.Session, run_id: int, full_resource: bool) -> None:
    """GET /runs/{id}?watch=true."""
    from tyger import streams
    from tyger.cli import output, runfollow

    table = fields.RUN if full_resource else fields.RUN_METADATA
    previous = ""
    stop = streams.Stop()  # never requested: a signal ends this command at once
    for snapshot in runfollow.snapshots(invocation, run_id, stop):
        line = output.dumps(table(snapshot))
        if line != previous:
            invocation.console.line(table, snapshot)
        previous = line


@command.command(
    name="logs",
    help=groups.describe(
        "Print what the program of a run wrote to its standard output and standard error.",
        examples=("tyger run logs 7 --follow", "tyger run logs 7 --tail 20 --timestamps"),
        exit_status=NO_SUCH + ".",
    ),
)
@flags.one("run_id", "run ID", flags.RUN_ID)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time (UTC).")
@click.option(
    "--tail",
    type=flags.INTEGER,
    metavar="N",
    default=-1,
    help="Only the last N lines; negative (default): all.",
)
@flags.since_option("lines written")
@click.pass_obj
def logs(
    invocation: session.Session, run_id: int, follow: bool, timestamps: bool, tail: int, since: str | None
) -> None:
    """GET /runs/{id}/logs."""
    lines = tail if tail >= 0 else None
    if follow:
        _follow(invocation, run_id, timestamps=timestamps, tail=lines, since=since)
        return
    query = _since(since)
    query += [("timestamps", "true")] if timestamps else []
    query += [("tailLines", str(lines))] if lines is not None else []
    from tyger.cli import runfollow

    with runfollow.log_stream(invocation, run_id, query) as stream:
        for piece in stream.pieces():
            invocation.console.data(piece)


def _follow(
    invocation: session.Session, run_id: int, *, timestamps: bool, tail: int | None, since: str | None
) -> None:
    from tyger import streams
    from tyger.cli import runfollow

    def is_over() -> bool:
        return invocation.ask("GET", f"/runs/{run_id}").get("status") in runfollow.TERMINAL

    runfollow.log_lines(
        invocation,
        run_id,
        streams.Stop(),
        lambda line: invocation.console.data(line + b"\n"),
        timestamps=timestamps,
        is_over=is_over,
        tail=tail,
        since=since,
    )


@command.command(
    name="cancel",
    help=groups.describe(
        "Cancel a run: its program is told to end, and killed when it doesn't.",
        examples=("tyger run cancel 7",),
        exit_status=NO_SUCH + ", 75 when it has succeeded or failed already.",
    ),
)
@flags.one("run_id", "run ID", flags.RUN_ID)
@click.pass_obj
def cancel(invocation: session.Session, run_id: int) -> None:
    """POST /runs/{id}/cancel."""
    run = invocation.ask("POST", f"/runs/{run_id}/cancel")
    match run.get("status"):
        case "Canceled":
            invocation.console.text(f"Job {run_id} has been canceled")
        case "Canceling":
            invocation.console.text(f"Cancel issued for job {run_id}")
        case status:
            reason = f" ({run['statusReason']})" if run.get("statusReason") else ""
            raise errors.Problem(
                errors.PRECONDITION_FAILED,
                f"unable to cancel job {run_id} because its status is {status}{reason}",
            )


def _since(since: str | None) -> list[tuple[str, str]]:
    return [("since", since)] if since is not None else []
