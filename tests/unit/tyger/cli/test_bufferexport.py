"""What `buffer export` and `import` ask for, and how they show a log; the rest is in tests/e2e."""

import json

import pytest

from tests.support import cli
from tyger.cli import bufferexport, output

ACCOUNTS = ("GET", "/buffers/storage-accounts")
REFUSED = (400, {"error": {"code": "InvalidInput", "message": "no"}})
LINE = {"level": "info", "buffer": "b", "bytes": 3, "time": "2026-01-02T03:04:05Z", "message": "Exported"}


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        ((), {"sourceStorageAccountName": ""}),
        (
            ("--source-storage-account", "first", "--tag", "a=b", "--tag", "c=d", "--hash-ids"),
            {"sourceStorageAccountName": "first", "filters": {"a": "b", "c": "d"}, "hashIds": True},
        ),
    ],
)
def test_what_an_export_asks_for(daemon, arguments, body):
    daemon.answers["POST", "/buffers/export"] = REFUSED
    done = cli.run(daemon.path, "buffer", "export", "https://x/", *arguments)
    assert (done.code, done.out) == (65, b"")
    assert 'FTL Failed to export buffers error="InvalidInput: no"' in done.err
    assert daemon.requests[-1].body == {"destinationStorageEndpoint": "https://x/", **body}


@pytest.mark.parametrize(
    ("accounts", "asked"), [(["local", "one"], "one"), (["local"], "local"), (["one", "local"], "one")]
)
def test_an_import_finds_the_only_account(daemon, accounts, asked):
    daemon.answers[ACCOUNTS] = (200, [{"name": name} for name in accounts])
    daemon.answers["POST", "/buffers/import"] = REFUSED
    done = cli.run(daemon.path, "buffer", "import")
    assert 'FTL Failed to import buffers error="InvalidInput: no"' in done.err
    assert daemon.requests[-1].body == {"storageAccountName": asked}


def test_an_import_does_not_guess(daemon):
    daemon.answers[ACCOUNTS] = (200, [{"name": name} for name in ("local", "one", "two")])
    done = cli.run(daemon.path, "buffer", "import")
    assert done.code == 64
    assert "say which with --storage-account: one, two" in done.err


def shown(capfd, environ, line):
    console = output.Console(environ)
    bufferexport.show(console, line)
    return capfd.readouterr().err


def test_a_line_of_the_log_becomes_one_of_ours(capfd):
    said = shown(capfd, {}, json.dumps(LINE).encode())
    assert said.endswith("INF Exported buffer=b bytes=3\n")


@pytest.mark.parametrize(
    "line", [b"plain text", b"[1]", b'{"level":"info"}', b'{"level":"odd","message":"x"}', b"3"]
)
def test_what_is_none_is_shown_as_it_came(capfd, line):
    assert shown(capfd, {}, line) == line.decode() + "\n"


def test_as_json_it_is_left_as_it_is(capfd):
    console = output.Console({})
    console.format = "json"
    bufferexport.show(console, json.dumps(LINE).encode())
    assert json.loads(capfd.readouterr().err) == LINE
