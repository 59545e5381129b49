"""`tyger transfer list|show|pause|resume|cancel`."""

import json

import pytest

ITEM = {"id": "t", "kind": "write", "buffer": "b", "state": "running", "bytes": 0, "blocks": 0}
SHOWN = '"id": "t",{0}"kind": "write",{0}"buffer": "b",{0}"state": "running",{0}"bytes": 0'


@pytest.mark.parametrize("answer", [[ITEM], {"items": [ITEM]}])
def test_list(tyger, daemon, answer):
    daemon.answers["GET", "/transfers"] = (200, answer)
    indent = "\n      "
    assert tyger("transfer", "list").out == "[\n    {" + indent + SHOWN.format(indent) + "\n    }\n  ]\n"


def test_a_list_that_is_none(tyger, daemon):
    daemon.answers["GET", "/transfers"] = (200, 5)
    assert tyger("transfer", "list").code == 76


@pytest.mark.parametrize(
    ("verb", "method", "path"),
    [
        ("show", "GET", "/transfers/t"),
        ("pause", "POST", "/transfers/t/pause"),
        ("resume", "POST", "/transfers/t/resume"),
        ("cancel", "POST", "/transfers/t/cancel"),
    ],
)
def test_one(tyger, daemon, verb, method, path):
    daemon.answers[method, path] = (200, ITEM)
    assert tyger("transfer", verb, "t").out == "{\n  " + SHOWN.format("\n  ") + "\n}\n"


def test_no_bytes_yet_is_a_number(tyger, daemon):
    daemon.answers["GET", "/transfers/t"] = (200, {"id": "t"})  # the daemon leaves 0 out
    assert '"bytes": 0' in tyger("transfer", "show", "t").out


def test_an_unknown_one(tyger):
    assert tyger("transfer", "show", "nope").code == 66


def test_all_that_is_known_of_one(tyger, daemon):
    daemon.answers["GET", "/transfers/t"] = (
        200,
        ITEM | {"shipped": 3, "location": "westeurope", "paused": True, "stalled": "x", "priority": "bulk"},
    )
    out = json.loads(tyger("transfer", "show", "t").out)
    assert (out["shipped"], out["location"], out["paused"], out["stalled"]) == (3, "westeurope", True, "x")
    assert out["priority"] == "bulk"


def test_a_table(tyger, daemon):
    daemon.answers["GET", "/transfers"] = (
        200,
        {
            "items": [
                ITEM | {"bytes": 3 << 30, "shipped": 2048, "waiting": "offline since 13:04:12 UTC:\nrefused"},
                ITEM | {"id": "longer", "kind": "read", "state": "failed", "reason": "its client went away"},
            ]
        },
    )
    assert tyger("transfer", "list", "--output", "table").out == (
        "ID      KIND   BUFFER  STATE    BYTES   SHIPPED  WHY\n"
        "t       write  b       running  3.0GiB  2.0KiB   offline since 13:04:12 UTC: refused\n"
        "longer  read   b       failed   0B               its client went away\n"
    )


def test_an_empty_table(tyger, daemon):
    assert tyger("transfer", "list", "-o", "table").out == "ID  KIND  BUFFER  STATE  BYTES  SHIPPED  WHY\n"


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_several(tyger, daemon, verb):
    for name in ("t1", "t2"):
        daemon.change(name, state="running")
    done = tyger("transfer", verb, "t1", "t2")
    assert done.code == 0
    assert [each["id"] for each in json.loads(done.out)] == ["t1", "t2"]
    assert [request.path for request in daemon.requests] == [
        f"/transfers/{name}/{verb}" for name in ("t1", "t2")
    ]


def test_several_of_which_one_is_unknown(tyger, daemon):
    daemon.change("t1", state="running")
    done = tyger("transfer", "pause", "t1", "nope", "t1")
    assert done.code == 66
    assert [each["id"] for each in json.loads(done.out)] == ["t1"]
    assert "NotFound" in done.err
    assert len(daemon.requests) == 2


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_none(tyger, daemon, verb):
    done = tyger("transfer", verb)
    assert (done.code, done.err.splitlines()[0]) == (64, "Error: at least one transfer ID is required")


@pytest.mark.parametrize("name", ["", "..", "a/b", "\udcff"])
def test_what_is_no_id(tyger, daemon, name):
    for verb in ("show", "pause", "watch"):
        assert tyger("transfer", verb, name).code == 65
    assert daemon.requests == []
