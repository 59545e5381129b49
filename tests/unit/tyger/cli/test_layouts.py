"""`--output` on every command whose result a person reads."""

import json

import pytest
import yaml

from tests.support import cli, fakedaemon

BUFFER = {
    "id": "b1",
    "createdAt": fakedaemon.CREATED,
    "location": "local",
    "tags": {"no": "1e3"},
    "eTag": "7",
}
RUN = {"id": 3, "status": "Succeeded", "createdAt": fakedaemon.CREATED, "job": {"codespec": "c/versions/1"}}
CODESPEC = {"kind": "job", "name": "c", "version": 1, "createdAt": fakedaemon.CREATED, "image": "i"}
ACCOUNT = {"name": "local", "location": "local", "endpoint": "http+unix://s:"}
TRANSFER = {"id": "t", "kind": "write", "buffer": "b1", "state": "running", "bytes": 2048, "waiting": "room"}

ANSWERS = {
    "/buffers/b1": BUFFER,
    "/buffers": {"items": [BUFFER]},
    "/buffers/storage-accounts": [ACCOUNT],
    "/runs": {"items": [RUN]},
    "/runs/counts": {"failed": 1, "succeeded": 2},
    "/codespecs": {"items": [CODESPEC]},
    "/transfers": {"items": [TRANSFER]},
    "/transfers/t": TRANSFER,
    "/status": {"version": "1", "stores": [{"name": "local"}]},
}

COMMANDS = [
    ["buffer", "show", "b1"],
    ["buffer", "list"],
    ["buffer", "storage-account", "list"],
    ["run", "show", "3"],
    ["run", "list"],
    ["run", "counts"],
    ["codespec", "show", "c"],
    ["codespec", "list"],
    ["transfer", "list"],
    ["transfer", "show", "t"],
    ["status"],
    ["login", "status"],
]


@pytest.fixture
def answers(daemon):
    for path, answer in ANSWERS.items():
        daemon.answers["GET", path] = (200, answer)
    daemon.runs[3], daemon.codespecs["c"] = RUN, CODESPEC
    return daemon


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_yaml_is_the_same_as_json(tyger, answers, command):
    as_json, as_yaml = (tyger(*command, "--output", layout) for layout in ("json", "yaml"))
    assert (as_json.code, as_yaml.code) == (0, 0)
    assert yaml.safe_load(as_yaml.out) == json.loads(as_json.out)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_table_has_a_line_a_thing(tyger, answers, command):
    done = tyger(*command, "-o", "table")
    assert done.code == 0
    assert "{" not in done.out
    assert len(done.out.splitlines()) >= 2


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if "status" not in command], ids=" ".join
)
def test_json_is_what_there_is_without_the_flag(tyger, answers, command):
    assert tyger(*command).out == tyger(*command, "-o", "json").out


def test_the_table_of_transfers_says_why_one_waits(tyger, answers):
    assert tyger("transfer", "list", "-o", "table").out == (
        "ID  KIND   BUFFER  STATE    BYTES   SHIPPED  WHY\n"
        "t   write  b1      running  2.0KiB           room\n"
    )


def test_lists_of_nothing(tyger, daemon):
    daemon.answers["GET", "/runs"] = (200, {"items": []})
    assert yaml.safe_load(tyger("run", "list", "-o", "yaml").out) == []
    assert tyger("run", "list", "-o", "table").out.split() == [
        "ID", "STATUS", "AGE", "TOOK", "CODESPEC", "TAGS", "REASON",
    ]  # fmt: skip


def test_a_list_of_several_pages(tyger, daemon):
    def page(request):
        if request.asked("_ct"):
            return 200, {"items": [RUN | {"id": 2}]}, {}
        return 200, {"items": [RUN], "nextLink": "/runs?_ct=x&limit=2"}, {}

    daemon.answers["GET", "/runs"] = page
    listed = yaml.safe_load(tyger("run", "list", "--limit", "2", "-o", "yaml").out)
    assert [run["id"] for run in listed] == [3, 2]
    assert len(tyger("run", "list", "--limit", "2", "-o", "table").out.splitlines()) == 3


def test_a_run_that_is_watched(tyger, daemon):
    daemon.runs[3] = RUN
    (document,) = yaml.safe_load_all(tyger("run", "watch", "3", "-o", "yaml").out)
    assert document["status"] == "Succeeded"
    heading, line = tyger("run", "watch", "3", "-o", "table").out.splitlines()
    assert heading.split() == ["TIME", "STATUS", "TOOK", "REASON"]
    assert line.split()[1] == "Succeeded"


def test_layouts_that_are_none(tyger):
    done = tyger("run", "list", "-o", "xml")
    assert done.code == 64
    assert "for \"-o, --output\" flag: must be 'json', 'table', 'yaml'" in done.err
    assert tyger("status", "--format", "json", "-o", "table").code == 64
    assert tyger("status", "--format", "json", "-o", "table").err.startswith(
        "Error: --format and --output ex"
    )


def test_a_shell_completes_them(daemon):
    words = {"_TYGER_COMPLETE": "bash_complete", "COMP_WORDS": "tyger run list --output ", "COMP_CWORD": "4"}
    done = cli.run(daemon.path, environment=words)
    assert done.out.split() == [b"plain,json", b"plain,yaml", b"plain,table"]


def test_no_slow_import(daemon):
    daemon.answers["GET", "/runs"] = (200, {"items": [RUN]})
    for layout in ("json", "yaml", "table"):
        done = cli.run(daemon.path, "run", "list", "-o", layout, environment={"PYTHONPROFILEIMPORTTIME": "1"})
        loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
        assert not loaded & {"yaml", "csv", "ssl", "email", "asyncio"}, layout
