"""The tags of a run, and its ETag; contract rest-api.md section 6."""

import json
import re
import struct

import xxhash

from tests.support import exchanges, runs
from tests.support.answers import EMPTY_STALE, answer, ask, invalid
from tests.support.runexchanges import V, run

CONFIG = runs.CONFIG


def put(body, *headers, path="[[id]]"):
    return ask("PUT", f"/runs/{path}?{V}", body, *headers)


def shown(tags):
    return answer(
        "200 OK",
        f'{{"id":[[id]],"eTag":"[[etag:etag]]",[[:any]]"timeoutSeconds":43200{tags},"bufferAccessTtl":"01:00:00"}}',
        "ETag: [[header:etag]]",
    )


def test_tags_are_replaced(talk):
    runs.ended(talk, runs.create(talk, run(tags={"a": "1", "B": ""}))["id"])
    talk.hold(put('{"tags":{"c":"3"}}') + shown(',"tags":{"c":"3"}'))
    first = talk["etag"]
    assert talk["header"] == first == runs.get(talk, talk["id"])["eTag"]
    # What the original's client sends, with the ETag that it was told.
    talk.hold(
        put('{"id":[[id]],"eTag":"x","tags":{"d":"4"},"expiresAt":null}', f"If-Match: {first}")
        + shown(',"tags":{"d":"4"}')
    )
    for header in ("If-Match: *", "If-Match:"):
        talk.hold(put('{"tags":{"d":"4"},"color":"red"}', header) + shown(',"tags":{"d":"4"}'))
    # Without tags there are none afterwards; their syntax is not looked at.
    for nothing in ("{}", '{"tags":null}', '{"tags":{}}'):
        talk.hold(put('{"tags":{"not a tag":"ü"}}') + shown(',"tags":{"not a tag":"ü"}'))
        talk.hold(put(nothing) + shown(""))
    # A refusal changes nothing; it has no body (rest-api.md 13, 1).
    for stale in (first, f'"{talk["etag"]}"', f'W/"{talk["etag"]}"', f"{talk['etag']}, *"):
        talk.hold(put('{"tags":{"e":"5"}}', f"If-Match: {stale}") + EMPTY_STALE)
    assert "tags" not in runs.get(talk, talk["id"])


def test_the_id_of_another_run(talk):
    runs.create(talk, run())
    text = "The run ID in the URL does not match the run ID in the request body."
    talk.hold(put('{"id":99,"tags":{"a":"b"}}') + answer("400 Bad Request", json.dumps(text)))
    talk.hold(
        put("")
        + answer(
            "400 Bad Request",
            '{"error":{"code":"InvalidInput","message":"Error deserializing input: [[:any]]"}}',
        )
    )
    talk.hold(put("null") + invalid("null is not a valid input value"))


def test_tags_of_a_run_in_any_state(talk, host):
    with runs.gate(host) as gate, exchanges.talk(host.socket) as other:
        made = runs.create(talk, runs.shell(gate.wait))
        snapshots = runs.watch(other, made["id"])
        while next(snapshots)["status"] != "Running":
            pass
        talk.hold(put('{"tags":{"state":"running"}}') + shown(',"tags":{"state":"running"}'))
        assert next(snapshots)["tags"] == {"state": "running"}
        gate.open()
        *_, last = snapshots
    assert (last["status"], last["tags"]) == ("Succeeded", {"state": "running"})


def test_an_etag_is_what_the_original_makes_of_the_same_state(talk):
    """Contract rest-api.md 2.4; of a run that failed, with tags."""
    made = runs.create(talk, runs.shell("exit 2", {"tags": {"b": "2", "a": "1"}}, nodePool="pool"))
    last = runs.ended(talk, made["id"])

    def ticks(text):
        seconds, fraction = re.fullmatch(r"(.{19})\.?(\d*)\+00:00", text).groups()
        return struct.pack("<q", _seconds(seconds) * 10_000_000 + int(fraction.ljust(7, "0")))

    data = struct.pack("<q", last["id"]) + bytes([2]) + b"Main exited with code 2" + struct.pack("<i", 0)
    data += ticks(last["startedAt"]) + ticks(last["finishedAt"]) + b"\xff" + b"pool" + b"a\x001b\x002"
    assert last["eTag"] == str(xxhash.xxh3_64_intdigest(data))


def _seconds(text):
    """Since the year 1."""
    year, month, day, hour, minute, second = map(int, re.findall(r"\d+", text))
    month_days = [
        31,
        28 + (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ]
    years = year - 1
    days = years * 365 + years // 4 - years // 100 + years // 400 + sum(month_days[: month - 1]) + day - 1
    return ((days * 24 + hour) * 60 + minute) * 60 + second
