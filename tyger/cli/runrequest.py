"""The request for a new run: the run file, with the flags of `run create` and `exec` over it (cli.md 6.1)."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import unquote

import click

from tyger import client, errors, sockets, units
from tyger.cli import flags, session

if TYPE_CHECKING:
    from tyger import streams

F = TypeVar("F", bound=Callable[..., Any])

AT_ONCE = 0.2
"""Seconds in which a run is there, unless its images have to be fetched, of which people are told then."""

STARTS = 3
"""How many daemons are started for one request, if each goes away under it: it may be the request that ends
them, and with each what others do there.
"""

WENT_AWAY = "each daemon that was started has gone away under this request; see its log"
MAY_BE_THERE = "The run may have been created; see: tyger run list"

PULL_UNSUPPORTED = "The --pull parameter is only supported when running Tyger in Docker."


def options(function: F) -> F:
    """The flags that `create` and `exec` share."""
    decorators = [
        click.option(
            "-f",
            "--file",
            "path",
            type=flags.FILE,
            metavar="FILE",
            help="Read the run from this YAML file; - is standard input.",
        ),
        click.option(
            "-c",
            "--codespec",
            metavar="NAME",
            help="Codespec to execute; replaces the file's, also an inline one.",
        ),
        click.option(
            "--version",
            metavar="N",
            help="Version of the codespec; counts only with --codespec. Default: the latest.",
        ),
        click.option(
            "-r", "--replicas", type=flags.INTEGER, metavar="N", help="Replicas of the job. Default: 1."
        ),
        click.option("--node-pool", metavar="NAME", help="Node pool of the job; only on Kubernetes."),
        flags.map_option(
            "-b",
            "--buffer",
            "buffers",
            help="Buffer for a parameter of the codespec, as NAME=ID; _ is an ephemeral one. May be repeated."
            " Parameters without one get a new buffer.",
        ),
        flags.map_option("--buffer-tag", "buffer_tags", help="Tag of the new buffers. May be repeated."),
        click.option(
            "--buffer-ttl",
            type=flags.BUFFER_TTL,
            metavar="TTL",
            help="Life of the new buffers: D.HH:MM or D.HH:MM:SS.",
        ),
        click.option(
            "--worker-codespec", metavar="NAME", help="Codespec of the workers; only on Kubernetes."
        ),
        click.option(
            "--worker-version", metavar="N", help="Version of the workers' codespec. Default: the latest."
        ),
        click.option(
            "--worker-replicas", type=flags.INTEGER, metavar="N", help="Number of workers. Default: 1."
        ),
        click.option("--worker-node-pool", metavar="NAME", help="Node pool of the workers."),
        click.option("--cluster", metavar="NAME", help="Cluster to run in; only on Kubernetes."),
        click.option(
            "--timeout",
            type=flags.DURATION,
            metavar="DURATION",
            help="The run fails when it takes longer, such as 90s or 2h30m; whole seconds. Default: 12h.",
        ),
        flags.map_option("--tag", "tags", help="Tag of the run. May be repeated."),
        click.option(
            "--pull",
            is_flag=True,
            help="Pull the images first, also where they are there; only where containers can be run.",
        ),
        click.option(
            "--engine",
            metavar="NAME",
            help="Engine that executes the run: process, container, or auto for the first that can. Default:"
            " the file's, or what tygerd.toml says.",
        ),
        click.option(
            "--buffer-access-ttl",
            type=flags.TTL,
            metavar="TTL",
            hidden=True,
            help="Life of the access URLs that the run gets, D.HH:MM:SS.",
        ),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


class Request(NamedTuple):
    """The body of POST /runs, the name of an engine ("": no wish), and whether images are pulled first."""

    body: dict[str, Any]
    engine: str = ""
    pull: bool = False


def build(invocation: session.Session, given: Mapping[str, Any]) -> Request:
    """The request for a run. `given` are the values of `options`.

    Raises:
        Problem: the file is wrong, or the job (or worker) has no codespec.
    """
    run: dict[str, Any] = {}
    if given["path"] is not None:
        from tyger.cli import specs

        run = specs.read_run(given["path"])
    job = _target(run.get("job", {}), given, "")
    _merge(job, "buffers", given["buffers"])
    _merge(job, "tags", given["buffer_tags"])
    _put(job, "bufferTtl", given["buffer_ttl"])
    run["job"] = job
    if "worker" in run or any(
        given[f"worker_{name}"] for name in ("codespec", "version", "replicas", "node_pool")
    ):
        run["worker"] = _target(run.get("worker", {}), given, "worker_")
    _put(run, "cluster", given["cluster"])
    _merge(run, "tags", given["tags"])
    if given["timeout"] is not None:
        run["timeoutSeconds"] = int(given["timeout"])
    if given["buffer_access_ttl"] is not None:
        run["bufferAccessTtl"] = units.format_ttl(given["buffer_access_ttl"])
    for name in ("job", "worker"):
        if name in run and not run[name].get("codespec"):
            raise errors.Problem(
                errors.INVALID_INPUT,
                f"a codespec for the {name} must be specified, with a flag or in the run file",
            )
    engine = run.pop("engine", "")
    request = Request(run, given["engine"] or engine, given["pull"])
    if not request.pull or _can_pull(invocation, request.engine):
        return request
    invocation.console.log("warn", PULL_UNSUPPORTED)
    return request._replace(pull=False)


def _can_pull(invocation: session.Session, engine: str) -> bool:
    """Whether images may be pulled where no engine was named; one that was says by itself that it cannot."""
    if engine not in ("", "auto"):
        return True
    return "Docker" in invocation.ask("GET", "/metadata").get("capabilities", ())


def submit(
    invocation: session.Session, wanted: Request, stop: streams.Stop, limit: streams.Patience
) -> dict[str, Any]:
    """Create the run. Where its daemon is killed meanwhile, the next is asked, and makes no second one.

    The next is waited for within `limit`. While the run's images are fetched people are told how far they
    have come; when `stop` is requested meanwhile, the run is given up.

    Raises:
        Problem: the daemon's; also when it was given up.
    """
    from tyger.cli import runfollow  # `run list` and its like do without

    key = str(uuid.uuid4())
    patience = runfollow.Patience(invocation, stop, limit)
    there = invocation.client
    connections, starts = there.connections, there.starts
    while True:
        try:
            answer = _post(invocation, wanted, key, stop)
            break
        except errors.Problem as problem:
            if problem.answer is not None or there.connections == connections:
                raise  # it was refused, or nobody was there to take it
            with _doubtful(invocation):
                if there.starts - starts >= STARTS:
                    raise errors.Problem(errors.UNAVAILABLE, WENT_AWAY) from None
                if not patience.again(problem):
                    raise
    patience.reached()
    run = session.as_object(answer.json())
    if reason := answer.headers.get("tyger-engine-reason"):
        engine = answer.headers.get("tyger-engine", "")
        invocation.console.log("info", f"The {engine} engine was chosen", reason=unquote(reason))
    if wanted.pull:
        for image in _images(run):
            invocation.console.log("info", f"Pulled image {image}", image=image)
    return run


@contextlib.contextmanager
def _doubtful(invocation: session.Session) -> Iterator[None]:
    """Say, with what is raised, that the run may be there."""
    try:
        yield
    except errors.Problem:
        invocation.console.log("warn", MAY_BE_THERE)
        raise


def _post(invocation: session.Session, wanted: Request, key: str, stop: streams.Stop) -> client.Answer:
    return invocation.request(
        "POST",
        "/runs",
        query=[("engine", wanted.engine), *([("pull", "true")] if wanted.pull else [])],
        body=wanted.body,
        headers={"Idempotency-Key": key},
        meanwhile=lambda: _tell_progress(invocation, key, stop.fileno()),
        at_once=AT_ONCE,
    )


def _tell_progress(invocation: session.Session, key: str, wake: int) -> None:
    """Say what the daemon does for a run that it is about to create, until it has done it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(errors.Problem, sockets.Interrupted))
        stream = invocation.stream("GET", "/runs/_progress", query=[("key", key)], wake=wake)
        for line in stack.enter_context(stream).lines():
            message = session.as_object(json.loads(line)).get("message")
            invocation.console.log("info", str(message))


def _images(run: Mapping[str, Any]) -> list[str]:
    """The images of a run, each once."""
    targets = [run.get("job") or {}, run.get("worker") or {}]
    codespecs = [target["codespec"] for target in targets if isinstance(target.get("codespec"), dict)]
    return list(dict.fromkeys(str(codespec.get("image")) for codespec in codespecs))


def _target(from_file: Mapping[str, Any], given: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    target = dict(from_file)
    if reference := given[prefix + "codespec"]:
        version = given[prefix + "version"]
        target["codespec"] = f"{reference}/versions/{version}" if version else reference
    _put(target, "replicas", given[prefix + "replicas"])
    _put(target, "nodePool", given[prefix + "node_pool"])
    return target


def _put(target: dict[str, Any], name: str, value: object) -> None:
    """Set a field where the flag was given; 0 and empty text count as not given (cli.md 6.1)."""
    if value:
        target[name] = value


def _merge(target: dict[str, Any], name: str, pairs: Mapping[str, str]) -> None:
    if pairs:
        target[name] = {**target.get(name, {}), **pairs}
