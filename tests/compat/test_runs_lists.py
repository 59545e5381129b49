"""Lists, pages and counts of runs, contract rest-api.md sections 2.2, 2.3, 6.3 and 6.4."""

import base64
import json
from urllib.parse import quote

import pytest

from tests.support import exchanges, runs
from tests.support.answers import answer, ask, bad, invalid

V = "api-version=1.0"
CONFIG = runs.CONFIG
JOB = {"kind": "job", "image": "quay.io/x"}


def token(text):
    """z-base-32 of a text, as the contract has it."""
    rfc, z = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"ybndrfg8ejkmcpqxot1uwisza345h769"
    return base64.b32encode(text.encode()).rstrip(b"=").translate(bytes.maketrans(rfc, z)).decode()


def make(talk, group, **tags):
    """A run that ends at once."""
    return runs.create(talk, {"job": {"codespec": JOB}, "tags": {"group": group, **tags}})


def listed(talk, query):
    return runs.body(talk, ask("GET", f"/runs?{query}&{V}"))


def ids(talk, query):
    return [item["id"] for item in listed(talk, query)["items"]]


def counts(talk, query):
    return runs.body(talk, ask("GET", f"/runs/counts?{query}&{V}"))


def moment(run, field="createdAt"):
    return quote(run[field])


def test_a_page(talk):
    made = [make(talk, "page", n=str(number)) for number in range(3)]
    for run in made:
        runs.ended(talk, run["id"])
    shown = [runs.get(talk, run["id"]) for run in reversed(made)]
    link = f"/runs?limit=2&tag%5Bgroup%5D=page&{V}&_ct=[[token:token]]"
    # Newest first, each as GET shows it.
    found = listed(talk, "limit=2&tag[group]=page")
    assert found["items"] == shown[:2]
    talk.hold(
        ask("GET", f"/runs?limit=2&tag[group]=page&{V}")
        + answer("200 OK", f'{{"items":[[[:any]]],"nextLink":"{link}"}}')
    )
    assert found["nextLink"] == link.replace("[[token:token]]", talk["token"])
    # The last page has no link.
    assert runs.body(talk, ask("GET", found["nextLink"])) == {"items": shown[2:]}
    assert listed(talk, "limit=3&tag[group]=page") == {"items": shown}
    assert listed(talk, "tag[group]=page&_ct=") == {"items": shown}  # other lists refuse an empty token
    assert listed(talk, "limit=0&tag[group]=page") == {"items": []}


@pytest.mark.parametrize("limit", [1, 2, 4, 5])
def test_every_run_once(talk, limit):
    for _ in range(5):
        make(talk, f"walk {limit}".replace(" ", "-"))
    expected = ids(talk, f"tag[group]=walk-{limit}")
    assert expected == sorted(expected, reverse=True)
    found, link = [], f"/runs?limit={limit}&tag[group]=walk-{limit}&{V}"
    while link:
        page = runs.body(talk, ask("GET", link))
        found += [item["id"] for item in page["items"]]
        link = page.get("nextLink")
        make(talk, f"walk-{limit}")  # newer ones do not disturb
    assert found == expected


def test_the_token_of_the_contract(talk):
    assert token("[638418036499512620,123]") == "mc5dgqbwgrhdyc3sgohu1pjtge5drcbcgr3dgze"
    talk.hold(
        ask("GET", f"/runs?_ct=mc5dgqbwgrhdyc3sgohu1pjtge5drcbcgr3dgze&{V}")
        + answer("200 OK", '{"items":[]}')
    )


MADE_UP = [
    *['["klamath"]', '[638418036499512620,"yf4sx2aqzitepjhmxjhanomn5e"]'],  # of other lists
    *["[1]", "[1,2,3]", '["1",2]', "[1,null]", "[1.5,2]", "[-1,2]", "{}", "null", "1", '"', "[1,2", ""],
    *[f"[{2**64},1]", f"[1,{2**63}]", f"[1,{2**64}]", f"[1,{-(2**63) - 1}]", f"[{10**30},1]", "[" * 9000],
]


@pytest.mark.parametrize(
    "text", [token(text) for text in MADE_UP if text] + ["0", "MC5D", "yb", "%22", "%00", "é"]
)
def test_tokens_that_are_none(talk, text):
    talk.hold(ask("GET", f"/runs?_ct={quote(text, safe='%')}&{V}") + invalid("Invalid continuation token."))


def test_later_than(talk):
    made = [make(talk, "since") for _ in range(3)]
    all_ids = [run["id"] for run in reversed(made)]
    for of, found in ((made[0], all_ids[:2]), (made[2], [])):
        assert ids(talk, f"tag[group]=since&since={moment(of)}") == found
        assert counts(talk, f"tag[group]=since&since={moment(of)}&limit=1").keys() <= {
            "pending",
            "running",
            "succeeded",
        }
        assert sum(counts(talk, f"tag[group]=since&since={moment(of)}").values()) == len(found)
    assert ids(talk, "tag[group]=since&since=2000-01-01T00:00:00Z") == all_ids
    assert ids(talk, "tag[group]=since&since=2000-01-01T01:00:00.123456789%2B01:00") == all_ids
    assert ids(talk, "tag[group]=since&since=9999-12-31T23:59:59.9999999Z") == []
    assert ids(talk, "tag[group]=since&since=0001-01-01T00:00:00Z") == all_ids
    assert counts(talk, "tag[group]=since&since=2999-01-01T00:00:00Z") == {}


@pytest.mark.parametrize("path", ["/runs", "/runs/counts"])
@pytest.mark.parametrize("text", ["today", "2024-01-32T00:00:00Z", "", "0001-01-01T00:00:00%2B01:00"])
def test_moments_that_are_none(talk, path, text):
    shown = text.replace("%2B", "+")
    talk.hold(
        ask("GET", f"{path}?since={text}&{V}")
        + bad(f'Failed to bind parameter "Nullable<DateTimeOffset> since" from "{shown}".')
    )


def test_statuses(talk, host):
    """A run is found by the status that it has now; nobody has to sweep first."""
    with runs.gate(host) as gate, exchanges.talk(host.socket) as other:
        succeeded = make(talk, "status")["id"]
        failed = runs.create(talk, runs.shell("exit 1", {"tags": {"group": "status"}}))["id"]
        cancelled = runs.create(talk, runs.shell("sleep 100", {"tags": {"group": "status"}}))["id"]
        talk.hold(ask("POST", f"/runs/{cancelled}/cancel?{V}") + answer("202 Accepted", "[[:any]]"))
        for run_id in (succeeded, failed):
            runs.ended(talk, run_id)
        running = runs.create(talk, runs.shell(gate.wait, {"tags": {"group": "status"}}))["id"]
        snapshots = runs.watch(other, running)
        while next(snapshots)["status"] != "Running":
            pass
        for query, found in {
            "status=succeeded": [succeeded],
            "status=FAILED": [failed],
            "status=Canceled": [cancelled],
            "status=running": [running],
            "status=pending&status=canceling": [],
            "status=failed&status=Succeeded&status=failed": [failed, succeeded],
            "status=failed&tag[group]=other": [],
        }.items():
            assert (
                ids(talk, f"tag[group]=status&{query}") == found
                if "other" not in query
                else ids(talk, query) == []
            ), query
        talk.hold(
            ask("GET", f"/runs/counts?tag[group]=status&{V}")
            + answer("200 OK", '{"[[a:text]]":1,"[[b:text]]":1,"[[c:text]]":1,"[[d:text]]":1}')
        )
        assert sorted(talk[name] for name in "abcd") == ["canceled", "failed", "running", "succeeded"]
        gate.open()
        assert [one["status"] for one in snapshots] == ["Succeeded"]
        assert counts(talk, "tag[group]=status") == {"canceled": 1, "failed": 1, "succeeded": 2}


@pytest.mark.parametrize("status", ["done", "", "1", "failed,running", "Failed "])
def test_statuses_that_are_none(talk, status):
    talk.hold(ask("GET", f"/runs?status={quote(status)}&{V}") + invalid(f"Invalid status: {status}"))


def test_tags(talk):
    first, second = make(talk, "tags", a="1", b="")["id"], make(talk, "tags", a="1", b="x")["id"]
    for query, found in {
        "tag[a]=1&tag[group]=tags": [second, first],
        "tag%5Ba%5D=1&tag%5Bb%5D=&tag%5Bgroup%5D=tags": [first],
        "tag[b]=x&tag[group]=tags": [second],
        "tag[b]=X&tag[group]=tags": [],
        "tag[B]=x&tag[group]=tags": [],
        "tag[none]=x": [],
        # What is no filter here: the other prefix, another spelling, something behind the bracket.
        "tag[group]=tags&excludeTag[b]=x": [second, first],
        "tag[group]=tags&tag[b]x=y": [second, first],
        "tag[group]=tags&tag[b=y": [second, first],
    }.items():
        assert ids(talk, query) == found, query
        assert sum(counts(talk, query).values()) == len(found), query
    assert counts(talk, "tag[none]=x") == {}


def test_limits(talk):
    talk.hold(ask("GET", f"/runs?limit=-1&{V}") + invalid("Limit must be a non-negative integer."))
    talk.hold(
        ask("GET", f"/runs?limit=x&{V}") + bad('Failed to bind parameter "Nullable<int> limit" from "x".')
    )
    talk.hold(
        ask("GET", f"/runs?limit=2147483648&{V}")
        + bad('Failed to bind parameter "Nullable<int> limit" from "2147483648".')
    )
    make(talk, "limits")
    assert len(ids(talk, "limit=2147483647&tag[group]=limits")) == 1


def test_twenty_unless_asked_for_more(talk):
    for _ in range(21):
        make(talk, "twenty")
    found = listed(talk, "tag[group]=twenty")
    assert (len(found["items"]), "nextLink" in found) == (20, True)
    assert json.dumps(found["nextLink"]).count("_ct") == 1
    assert len(ids(talk, "tag[group]=twenty&limit=1001")) == 21
