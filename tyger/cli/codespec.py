"""`tyger codespec`: what a piece of processing needs, by name and version."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from tyger import errors
from tyger.cli import fields, flags, groups, layouts, listing, session

_NAME = re.compile(r"[a-z0-9\-._]*")
NAME_RULE = (
    "codespec names must contain only lower case letters (a-z), numbers (0-9), dashes (-), underscores (_),"
    " and dots (.)"
)


@click.group(
    cls=groups.Group,
    name="codespec",
    aliases={"get": "show"},
    help="Create and look at codespecs: image, command, named buffers and resources of processing.",
    short_help="Manage codespecs.",
)
def command() -> None:
    """Group; see `groups.Group`."""


def _quantity_option(name: str, what: str) -> Callable[[flags.F], flags.F]:
    kind = flags.quantity(name.strip("-").replace("-", " "))
    return click.option(name, type=kind, metavar="QUANTITY", help=f"{what}, as a Kubernetes quantity.")


@command.command(
    name="create",
    container_words=True,
    help=groups.describe(
        """
Create a codespec, or a new version of it, and print the version number.

An unchanged codespec keeps its version. It is described by flags, by a YAML file (--file), or by both: flags
override the file. Words behind -- are the arguments of the container, or with --command its command.
        """,
        examples=(
            "tyger codespec create negate --image quay.io/linuxserver.io/ffmpeg -i input -o output \\",
            "  -- -i '$(INPUT_PIPE)' -vf negate -f nut -y '$(OUTPUT_PIPE)'",
            "tyger codespec create -f negate.yml",
        ),
        exit_status="0 on success, 65 when the codespec or its file is not valid.",
    ),
    short_help="Create a codespec or a new version of it.",
)
@click.argument("names", nargs=-1, metavar="[NAME] [-- WORD...]")
@click.option(
    "-f",
    "--file",
    "path",
    type=flags.FILE,
    metavar="FILE",
    help="Read the codespec from this YAML file; - is standard input.",
)
@click.option("--image", metavar="IMAGE", help="Container image; needed here or in the file.")
@click.option(
    "-k",
    "--kind",
    metavar="KIND",
    default="job",
    show_default=True,
    help="job or worker; counts only when the file names none.",
)
@click.option("-r", "--max-replicas", metavar="N", help="Most replicas that a run may ask for.")
@flags.list_option(
    "-i",
    "--input",
    "inputs",
    metavar="NAME",
    help="Name of an input buffer; several with commas, or repeat the flag. Replaces the file's.",
)
@flags.list_option(
    "-o",
    "--output",
    "outputs",
    metavar="NAME",
    help="Name of an output buffer; several with commas, or repeat the flag. Replaces the file's.",
)
@flags.map_option(
    "-e", "--env", "env", help="Environment variable. May be repeated. Replaces all of the file's."
)
@flags.port_map_option("--endpoint", "endpoints", help="Named port of a worker. May be repeated.")
@click.option("--identity", metavar="NAME", help="Workload identity of the container.")
@_quantity_option("--cpu-request", "CPU that must be free")
@_quantity_option("--memory-request", "Memory that must be free")
@_quantity_option("--cpu-limit", "CPU that may be used at most")
@_quantity_option("--memory-limit", "Memory that may be used at most")
@_quantity_option("--gpu", "Number of GPUs")
@_quantity_option("--shm", "Size of /dev/shm")
@click.option(
    "--command", "is_command", is_flag=True, help="The words behind -- are the command, not its arguments."
)
@click.pass_context
def create(context: click.Context, /, names: Sequence[str], path: str | None, **given: Any) -> None:
    """PUT /codespecs/{name}."""
    invocation: session.Session = context.obj
    words = context.meta[groups.Command.WORDS]
    from_file: dict[str, Any] = {}
    if path is not None:
        from tyger.cli import specs

        from_file = specs.read_codespec(path)
    name = _name(names, from_file, words, has_file=path is not None)
    codespec = _with_flags({**from_file, "name": name}, given, words)
    answer = invocation.request("PUT", "/codespecs/" + session.segment(name, "codespec name"), body=codespec)
    location = answer.headers.get("location", "")
    version = location.rpartition("/")[2]
    if not version.isdigit():
        raise errors.Problem(
            errors.PROTOCOL, f"unable to get codespec version: the answer's location is '{location}'"
        )
    invocation.console.text(version)


def _name(
    names: Sequence[str], from_file: Mapping[str, Any], words: list[str] | None, *, has_file: bool
) -> str:
    if len(names) > 1:
        shown = " ".join(names[1:])
        if words is None:
            raise click.UsageError(
                f"unexpected positional args [{shown}]. Container arguments must be preceded by -- and placed"
                " at the end of the command-line"
            )
        raise click.UsageError(f"unexpected positional args before container args: [{shown}]")
    name = names[0] if names else str(from_file.get("name", ""))
    if not name:
        raise click.UsageError(
            "a name for the codespec must be required"
            if has_file
            else "if -f|--file is not provided, a name for the codespec is required"
        )
    if not _NAME.fullmatch(name):
        raise errors.Problem(errors.INVALID_INPUT, NAME_RULE)
    return name


def _with_flags(
    codespec: dict[str, Any], given: Mapping[str, Any], words: list[str] | None
) -> dict[str, Any]:
    """The file's codespec with the flags over it: lists and maps replace, resources merge (cli.md 5.1)."""
    codespec.setdefault("kind", given["kind"].lower() or "job")
    codespec["image"] = given["image"] or codespec.get("image", "")
    if given["max_replicas"] is not None:
        codespec["maxReplicas"] = _max_replicas(given["max_replicas"])
    buffers = dict(codespec.get("buffers", {}))
    for name in ("inputs", "outputs"):
        if given[name] is not None:
            buffers[name] = given[name]
    optional = {
        "buffers": buffers,
        "env": given["env"],
        "endpoints": given["endpoints"],
        "identity": given["identity"],
        "resources": _resources(codespec.get("resources", {}), given),
    }
    codespec.update({name: value for name, value in optional.items() if value})
    if words is not None:
        codespec["command" if given["is_command"] else "args"] = words
    _check_kind(codespec)
    return codespec


def _resources(from_file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    resources = dict(from_file)
    for section, kind in (("requests", "request"), ("limits", "limit")):
        merged = dict(resources.get(section, {}))
        merged.update(
            {what: given[f"{what}_{kind}"] for what in ("cpu", "memory") if given[f"{what}_{kind}"]}
        )
        if merged:
            resources[section] = merged
    resources.update({what: given[what] for what in ("gpu", "shm") if given[what]})
    return resources


def _max_replicas(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise errors.Problem(errors.INVALID_INPUT, f"max-replicas must be an integer, got {text}")
    return int(text)


def _check_kind(codespec: Mapping[str, Any]) -> None:
    match codespec["kind"]:
        case "job":
            if codespec.get("endpoints"):
                raise errors.Problem(errors.INVALID_INPUT, "job codespecs cannot have endpoints")
        case "worker":
            if codespec.get("buffers") or codespec.get("sockets"):
                raise errors.Problem(errors.INVALID_INPUT, "worker codespecs cannot have use buffers")
        case _:
            raise errors.Problem(
                errors.INVALID_INPUT,
                "codespec kind must be either 'job', worker' or empty (defaults to 'job')",
            )


@command.command(
    name="show",
    help=groups.describe(
        "Print a codespec as JSON: its latest version, or the one named.",
        examples=(
            "tyger codespec show negate",
            "tyger codespec show negate --version 2 --output yaml > negate.yml",
        ),
        exit_status="0 on success, 66 when there is no such codespec or version.",
    ),
)
@flags.one("name", "codespec name")
@click.option("--version", metavar="N", help="Version to show. Default: the latest.")
@layouts.option()
@click.pass_obj
def show(invocation: session.Session, name: str, version: str | None) -> None:
    """GET /codespecs/{name}[/versions/{version}]."""
    path = "/codespecs/" + session.segment(name, "codespec name")
    if version is not None:
        path += "/versions/" + session.segment(version, "codespec version")
    invocation.console.codespec(invocation.ask("GET", path))


@command.command(
    name="list",
    help=groups.describe(
        "List the latest version of each codespec as a JSON array, by name.",
        examples=("tyger codespec list --prefix recon",),
        exit_status="0 on success.",
    ),
)
@click.option("-p", "--prefix", metavar="TEXT", help="Only codespecs whose name begins with this.")
@flags.limit_option()
@layouts.option()
@click.pass_obj
def list_(invocation: session.Session, prefix: str | None, limit: int | None) -> None:
    """GET /codespecs."""
    query = [("prefix", prefix)] if prefix else []
    listing.show(invocation, fields.CODESPEC, "/codespecs", query, limit)
