"""Runs one at a time: made, shown, cancelled, tagged; contract rest-api.md section 6."""

import json
import re
import struct
import threading

import pytest
import xxhash

from tests.support import exchanges, runs
from tests.support.answers import EMPTY_GONE, EMPTY_STALE, GONE, answer, ask, bad, invalid

V = "api-version=1.0"
CONFIG = runs.CONFIG
JOB = '{"kind":"job","image":"quay.io/x"}'


def post(body, *headers):
    return ask("POST", f"/runs?{V}", body, *headers)


def made(body):
    return answer("201 Created", body, "Location: /runs/[[id:number]]")


def test_a_run_of_a_codespec(talk):
    talk.hold(
        ask(
            "PUT",
            f"/codespecs/negate?{V}",
            '{"kind":"job","image":"quay.io/ffmpeg","args":["-i","$(INPUT_PIPE)"],"buffers":{"inputs":["input"],"outputs":["output"]}}',
        )
        + answer("201 Created", "[[:any]]", "Location: /codespecs/negate/1")
        + ask("POST", f"/buffers?{V}", "{}")
        + answer("201 Created", "[[:any]]", "ETag: [[:etag]]", "Location: /buffers/[[input:buffer]]")
        + post(
            '{"job":{"codespec":"negate/versions/1","buffers":{"input":"[[input]]"}},"timeoutSeconds":600,"tags":{"a":"1"}}'
        )
        + made(
            '{"id":[[id]],"eTag":"[[etag:etag]]","status":"Pending","createdAt":"[[at:time]]",'
            '"job":{"codespec":{"kind":"job","name":"negate","version":1,"createdAt":"[[:time]]","image":"quay.io/ffmpeg","args":["-i","$(INPUT_PIPE)"],"buffers":{"inputs":["input"],"outputs":["output"]}},'
            '"buffers":{"input":"[[input]]","output":"[[output:buffer]]"},"replicas":1},'
            '"timeoutSeconds":600,"tags":{"a":"1"},"bufferAccessTtl":"01:00:00"}'
        )
    )
    # The codespec's name, version and moment are not shown again.
    runs.ended(talk, talk["id"])
    talk.hold(
        ask("GET", f"/runs/[[id]]?{V}")
        + answer(
            "200 OK",
            '{"id":[[id]],"eTag":"[[:etag]]","status":"Succeeded","createdAt":"[[at]]","startedAt":"[[:time]]","finishedAt":"[[:time]]",'
            '"job":{"codespec":{"kind":"job","image":"quay.io/ffmpeg","args":["-i","$(INPUT_PIPE)"],"buffers":{"inputs":["input"],"outputs":["output"]}},'
            '"buffers":{"input":"[[input]]","output":"[[output]]"},"replicas":1},'
            '"timeoutSeconds":600,"tags":{"a":"1"},"bufferAccessTtl":"01:00:00"}',
        )
    )


def test_what_the_original_client_sends(talk):
    talk.hold(
        post(
            '{"createdAt":"0001-01-01T00:00:00Z","job":{"codespec":{"kind":"job","name":"x","version":3,"createdAt":"0001-01-01T00:00:00Z","image":"quay.io/x","resources":{},"buffers":{"inputs":null,"outputs":null}},'
            '"buffers":{},"replicas":1,"bufferTtl":"0.00:05"},"timeoutSeconds":null,"cluster":"somewhere","bufferAccessTtl":"0.00:05"}',
            "Idempotency-Key: 2f6c6f0e-5b7a-4c59-9a4e-5f1f0a5e4f6d",
        )
        + made(
            f'{{"id":[[id]],"eTag":"[[:etag]]","status":"Pending","createdAt":"[[:time]]","job":{{"codespec":{JOB},"bufferTtl":"00:05:00","replicas":1}},'
            '"timeoutSeconds":43200,"bufferAccessTtl":"00:05:00"}'
        )
    )


def test_what_a_client_cannot_set_is_ignored(talk):
    talk.hold(
        post(
            f'{{"id":99,"eTag":"1","status":"Failed","statusReason":"x","runningCount":7,"createdAt":"2000-01-01T00:00:00Z","startedAt":"2000-01-01T00:00:00Z","finishedAt":"2000-01-01T00:00:00Z","kind":"user","job":{{"codespec":{JOB}}}}}'
        )
        + made(
            f'{{"id":[[id]],"eTag":"[[:etag]]","status":"Pending","createdAt":"[[at:time]]","job":{{"codespec":{JOB},"replicas":1}},"timeoutSeconds":43200,"bufferAccessTtl":"01:00:00"}}'
        )
    )
    assert talk["id"] != "99"
    assert not talk["at"].startswith("2000")


def test_one_that_was_shown_can_be_sent_again(talk):
    first = runs.create(talk, runs.shell("exit 3", {"tags": {"a": ""}}, tags={"b": "c"}, nodePool="any"))
    shown = runs.ended(talk, first["id"])
    assert (shown["status"], shown["statusReason"]) == ("Failed", "Main exited with code 3")
    again = runs.create(talk, shown)
    assert (again["id"], again["job"], again["tags"]) == (first["id"] + 1, first["job"], {"a": ""})


# --- rules ---------------------------------------------------------------------------------------------

READING = "Error deserializing input: "
REFERENCE = "It should be in the form '<codespec_name>' or '<codespec_name>/versions/<version_number>'."
GOOD = json.loads(JOB)


def run(codespec=None, *, job=None, **fields):
    return {"job": {"codespec": codespec or GOOD, **(job or {})}, **fields}


def inline(**fields):
    return run({**GOOD, **fields})


def unrecognized(name, path):
    return f"{READING}Object contains unrecognized properties '{name}'. Path: {path}"


def reference(text, why=REFERENCE):
    return f"{READING}The codespec reference '{text}' is invalid. {why} Path: $.job.codespec"


TAGS = {f"t{number}": "" for number in range(101)}
TAG_KEY = "Tag keys must contain up to 128 letters (a-z, A-Z), numbers (0-9) and underscores (_)"
TAG_VALUE = "Tag values can contain up to 256 letters (a-z, A-Z), numbers (0-9) and underscores (_)"
TOO_MANY = "No more than 100 tags can be set on a buffer"
IO = {"inputs": ["in"], "outputs": ["out"]}
SPAN = "give D, HH:MM, D.HH:MM or D.HH:MM:SS, such as 0.12:00"

RULES = [
    ("null", "null is not a valid input value"),
    ("{}", f"{READING}The object is missing required properties including: 'job'. Path: $"),
    ({"job": {}}, f"{READING}The object is missing required properties including: 'codespec'. Path: $.job"),
    (run(color="red"), unrecognized("color", "$")),
    (run(job={"color": "red"}), unrecognized("color", "$.job")),
    (run(worker={"codespec": "x", "buffers": {}}), unrecognized("buffers", "$.worker")),
    (run(worker={"codespec": "x", "tags": {}}), unrecognized("tags", "$.worker")),
    (run(worker={"codespec": "x", "bufferTtl": "1"}), unrecognized("bufferTtl", "$.worker")),
    (run(worker={}), f"{READING}The object is missing required properties including: 'codespec'. Path: $.worker"),
    (run(5), f"{READING}Expected string or object. Path: $.job.codespec"),
    (run({"image": "x"}), f"{READING}Missing discriminator property 'kind'. Path: $.job.codespec"),
    (run({"kind": "x", "image": "x"}), f"{READING}Invalid value for the property 'kind'. It can be either 'job' or 'worker'. Path: $.job.codespec"),
    (run({"kind": "job"}), f"{READING}The object is missing required properties including: 'image'. Path: $.job.codespec"),
    (inline(image=""), "The image field is required."),
    (inline(endpoints={}), unrecognized("endpoints", "$.job.codespec")),
    (inline(resources={"gpu": "x"}), f"{READING}'x' is not a quantity such as 1, 500m, 1.5G or 512Mi. Path: $.job.codespec.resources.gpu"),
    (inline(buffers={"inputs": ["A"]}), "The name of buffer 'A' is invalid. Buffer names must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character."),
    (inline(sockets=[{"port": 0}]), "Port must be between 1 and 65535"),
    (run("Negate"), reference("Negate")),
    (run({"job": {"codespec": ""}}["job"]["codespec"] or "/"), reference("/")),
    (run("negate/1"), reference("negate/1")),
    (run("negate/versions/x"), reference("negate/versions/x")),
    (run("negate/versions/2147483648"), reference("negate/versions/2147483648", "The version number '2147483648' is not a valid integer.")),
    ('{"job":{"codespec":""}}', reference("")),
    (run(timeoutSeconds=2**31), f"{READING}Expected `int` <= 2147483647. Path: $.timeoutSeconds"),
    (run(job={"replicas": 2**31}), f"{READING}Expected `int` <= 2147483647. Path: $.job.replicas"),
    (run(bufferAccessTtl="1h"), f"{READING}invalid time span '1h': {SPAN} Path: $.bufferAccessTtl"),
    (run(job={"bufferTtl": " 1"}), f"{READING}invalid time span ' 1': {SPAN} Path: $.job.bufferTtl"),
    (run(status="Odd"), f"{READING}Invalid enum value 'Odd'. Path: $.status"),
    (run(kind="system"), "System runs cannot be created directly"),
    (run(tags=TAGS), TOO_MANY),
    (run(tags={"": "v"}), TAG_KEY),
    (run(tags={"a" * 129: "v"}), TAG_KEY),
    (run(tags={"a b": "v"}), TAG_KEY),
    (run(tags={"a": "v" * 257}), TAG_VALUE),
    (run(tags={"a": "ü"}), TAG_VALUE),
    # Those of buffers are judged where one is made.
    (run({**GOOD, "buffers": IO}, job={"tags": {"a b": ""}}), TAG_KEY),
    (run({**GOOD, "buffers": IO}, job={"tags": {f"t{number}": "" for number in range(100)}}), TOO_MANY),
    (run({**GOOD, "buffers": IO}, bufferAccessTtl="00:00:29"), "Access TTL must be at least 30 seconds."),
    (run({**GOOD, "buffers": IO}, bufferAccessTtl="01:00:01"), "Access TTL must be less than or equal to 01:00:00."),
    (run({**GOOD, "buffers": IO}, job={"bufferTtl": "9999999.00:00"}), "bufferTtl 9999999.00:00:00 is out of the calendar"),
    (run("none"), "The codespec 'none' was not found"),
    (run("there/versions/7"), "The version '7' of codespec 'there' was not found. The latest version is '1'."),
    (run({"kind": "worker", "image": "quay.io/x"}), "the job's codespec is of kind 'worker'; a job needs one of kind 'job'"),
    (run({**GOOD, "buffers": IO}, job={"buffers": {"in": "nosuchbuffernosuchbuffer22"}}), "The buffer 'nosuchbuffernosuchbuffer22' was not found"),
    (run({**GOOD, "buffers": IO}, job={"buffers": {"in": ""}}), "The buffer '' was not found"),
    (run({**GOOD, "buffers": IO}, job={"buffers": {"in": "temp-nosuchbuffernosuchbuffer22"}}), "The buffer 'temp-nosuchbuffernosuchbuffer22' was not found"),
    (run({**GOOD, "buffers": IO}, job={"buffers": {"IN": "[[buffer]]"}}), "Buffer argument '[IN, [[buffer]]]' does not correspond to a buffer parameter on the codespec"),
    (run(worker={"codespec": "there"}), "Runs with workers are only supported on Kubernetes"),
    # What this engine cannot do it refuses by name.
    (inline(resources={"gpu": 1}), "gpu: the process engine gives no GPU to a job; leave resources.gpu out"),
    (inline(env={"A=B": "c"}), "env: 'A=B' cannot be the name of an environment variable"),
    (inline(args=["\0"]), "args: it has a null byte, which no program can get"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message"), RULES)
def test_rules(talk, body, message):
    """And nothing is left behind by what was refused."""
    talk.hold(
        ask("PUT", f"/codespecs/there?{V}", JOB)
        + answer("201 Created", "[[:any]]", "Location: /codespecs/there/1")
        + ask("POST", f"/buffers?{V}", "{}")
        + answer("201 Created", "[[:any]]", "ETag: [[:etag]]", "Location: /buffers/[[buffer:buffer]]")
        + ask("GET", f"/buffers/count?{V}")
        + answer("200 OK", "[[buffers:number]]")
        + ask("GET", f"/runs?limit=1&{V}")
        + answer("200 OK", '{"items":[[[newest:any]]')
    )
    talk.hold(post(body) + invalid(message))
    talk.hold(ask("GET", f"/buffers/count?{V}") + answer("200 OK", "[[buffers]]"))
    items = runs.body(talk, ask("GET", f"/runs?limit=1&{V}"))["items"]
    assert [item["id"] for item in items] == [
        item["id"] for item in json.loads('{"items":[' + talk["newest"])["items"]
    ]


def test_an_image_that_stands_for_nothing_here(talk):
    talk.hold(
        post(inline(image="ghcr.io/x"))
        + answer(
            "400 Bad Request",
            '{"error":{"code":"InvalidInput","message":"the image \'ghcr.io/x\' is not mapped to anything on this host.[[:any]]',
        )
    )


@pytest.mark.parametrize("state", ["deleted", "expired"])
def test_a_buffer_that_is_not_active(talk, state):
    expiry = ',"expiresAt":"2000-01-01T00:00:00Z"' if state == "expired" else ""
    talk.hold(
        ask("POST", f"/buffers?{V}", f'{{"tags":{{"a":"b"}}{expiry}}}')
        + answer("201 Created", "[[:any]]", "ETag: [[:etag]]", "Location: /buffers/[[buffer:buffer]]")
    )
    if state == "deleted":
        talk.hold(ask("DELETE", f"/buffers/[[buffer]]?{V}") + answer("200 OK", "[[:any]]"))
    body = run({**GOOD, "buffers": IO}, job={"buffers": {"in": "[[buffer]]"}})
    talk.hold(post(body) + invalid(f"The buffer '{talk['buffer']}' was not found"))


def test_buffers_that_are_made(talk):
    body = run(
        {**GOOD, "buffers": IO}, job={"tags": {"x": "y"}, "bufferTtl": "0.01:00"}, bufferAccessTtl="00:00:30"
    )
    buffers = runs.create(talk, body)["job"]["buffers"]
    assert list(buffers) == ["in", "out"]
    for name, buffer in buffers.items():
        talk.hold(
            ask("GET", f"/buffers/{buffer}?{V}")
            + answer(
                "200 OK",
                f'{{"id":"{buffer}","location":"local","createdAt":"[[:time]]","expiresAt":"[[:time]]","tags":{{"bufferName":"{name}","x":"y"}},"eTag":"[[etag:etag]]"}}',
                "ETag: [[:etag]]",
            )
        )


@pytest.mark.parametrize("timeout", [0, -5])
def test_a_timeout_is_not_checked(talk, timeout):
    made = runs.create(talk, runs.shell("sleep 100", {"timeoutSeconds": timeout}))
    assert made["timeoutSeconds"] == timeout
    last = runs.ended(talk, made["id"])
    assert last["status"] == "Canceled"
    assert last["statusReason"] == "Run exceeded its timeout while pending"


# --- idempotency keys ----------------------------------------------------------------------------------


def test_one_key_makes_one_run(talk):
    first = runs.create(talk, run(timeoutSeconds=7), "Idempotency-Key: one key")
    # Whatever comes with it the second time; shown as by GET.
    again = runs.create(talk, run("none", tags={"a": "b"}), "Idempotency-Key: one key")
    assert (again["id"], again["timeoutSeconds"]) == (first["id"], 7)
    # A wrong body is refused all the same, and a refused request leaves its key free.
    talk.hold(post(run(tags={"a b": ""}), "Idempotency-Key: one key") + invalid(TAG_KEY))
    talk.hold(post(run("none"), "Idempotency-Key: other") + invalid("The codespec 'none' was not found"))
    assert runs.create(talk, run(), "Idempotency-Key: other")["id"] != first["id"]
    # No key at all is none that could be the same.
    empty = [runs.create(talk, run(), "Idempotency-Key:")["id"] for _ in range(2)]
    assert empty[0] != empty[1]


def test_one_key_at_once_and_after_a_crash(host):
    ids, ready = [], threading.Barrier(8)

    def client():
        with exchanges.talk(host.socket) as talk:
            ready.wait()
            ids.append(runs.create(talk, run(), "Idempotency-Key: at once")["id"])

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    host.restart()
    with exchanges.talk(host.socket) as talk:
        assert runs.create(talk, run(), "Idempotency-Key: at once")["id"] == ids[0]
        assert runs.create(talk, run())["id"] > ids[0]


# --- tags ----------------------------------------------------------------------------------------------


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


# --- cancelling ----------------------------------------------------------------------------------------


def test_cancelling(talk):
    made = runs.create(talk, runs.shell("sleep 100", {"tags": {"a": "b"}}, outputs=["out"]))
    talk.hold(
        ask("POST", f"/runs/[[id]]/cancel?{V}")
        + answer(
            "202 Accepted",
            '{"id":[[id]],"eTag":"[[etag:etag]]","status":"Canceled","statusReason":"Canceled by user","createdAt":"[[:time]]",[[:any]]"finishedAt":"[[at:time]]","job":[[:any]]}',
        )
    )
    assert "." not in talk["at"]
    assert [one["status"] for one in runs.watch(talk, made["id"])] == ["Canceled"]
    # Once more, as the original's client does at log level trace: nothing changes.
    before = runs.get(talk, made["id"])
    talk.trace = True
    assert runs.body(talk, ask("POST", f"/runs/[[id]]/cancel?{V}"), "202 Accepted") == before
    assert before["finishedAt"] == talk["at"]


def test_cancelling_what_has_ended(talk):
    made = runs.create(talk, run())
    last = runs.ended(talk, made["id"])
    assert last["status"] == "Succeeded"
    assert runs.body(talk, ask("POST", f"/runs/[[id]]/cancel?{V}"), "202 Accepted") == last


# --- what is not there ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["999999", "0", "-1", "x", "1.0", "0x1", "99999999999999999999", "%D9%A1", "9" * 5000]
)
def test_a_run_that_is_not_there(talk, name):
    talk.hold(
        f"""
> GET /runs/{name}?{V}
{GONE}
> GET /runs/{name}?watch=true&{V}
{GONE}
> POST /runs/{name}/cancel?{V}
{GONE}
> GET /runs/{name}/logs?{V}
{EMPTY_GONE}
> GET /runs/{name}/logs?follow=true&timestamps=true&{V}
{EMPTY_GONE}
> PUT /runs/{name}?{V}
>
> {{"tags":{{}}}}
{EMPTY_GONE}
"""
    )


def test_flags_that_are_neither(talk):
    """Told before it is asked whether there is such a run, as the original's binder does."""
    for flag in ("watch=1", "watch="):
        name, _, value = flag.partition("=")
        talk.hold(
            ask("GET", f"/runs/x?{flag}&{V}") + bad(f'Failed to bind parameter "bool {name}" from "{value}".')
        )


def test_the_sweep_of_the_original(talk):
    """Its own tests ask for it; here a run that has ended is put away already."""
    talk.hold(ask("POST", f"/runs/_sweep?{V}") + "< 200 OK\n")
    talk.trace = True
    talk.hold(ask("POST", f"/runs/_sweep?{V}") + "< 200 OK\n")


# --- what a job is given: rest-api.md section 9 ----------------------------------------------------------


def printed(talk, text, **fields):
    made = runs.create(talk, {"job": {"codespec": runs.script(text, **fields)}})
    last = runs.ended(talk, made["id"])
    assert last["status"] == "Succeeded", runs.log(talk, made["id"])
    return made["id"], runs.log(talk, made["id"])


def test_the_environment_of_a_job(talk):
    buffers = {"inputs": ["my-input"], "outputs": ["out"]}
    env = {"A": "$(MY-INPUT_PIPE)", "B": "<$(A)>", "C": "$(NONE)", "D": "$$(A)"}
    text = 'echo "$TYGER_RUN_ID|$A|$B|$C|$D|$(OUT_PIPE)|$OUT_PIPE|$(echo substituted)"; test -p "$OUT_PIPE"'
    run_id, log = printed(talk, text, env=env, buffers=buffers)
    first = log.removeprefix("[main] ").removesuffix("\n").split("|")
    assert first[0] == str(run_id)
    assert first[1].endswith("/my-input.pipe")
    assert first[2:5] == [f"<{first[1]}>", "$(NONE)", "$(A)"]
    assert first[5] == first[6]
    assert first[5].endswith("/out.pipe")
    assert first[7] == "substituted"  # no variable: left to the shell
    # The pipes never show up in what is stored.
    assert runs.get(talk, run_id)["job"]["codespec"]["env"] == env


def test_names_of_pipes_are_in_upper_case_and_no_more(talk):
    _, log = printed(talk, "", command=["/usr/bin/env"], args=[], buffers={"inputs": ["my-input", "0"]})
    names = {line.partition("=")[0] for line in log.splitlines()}
    assert {"[main] MY-INPUT_PIPE", "[main] 0_PIPE", "[main] TYGER_RUN_ID"} <= names


def test_the_working_directory(talk):
    _, log = printed(talk, "pwd; touch here", workingDir="/dev/shm/..")
    assert log == "/dev\n"


def test_what_this_engine_ignores_is_kept_and_shown(talk):
    spec = runs.script(
        "true",
        identity="somebody",
        maxReplicas=7,
        resources={"requests": {"cpu": "1"}, "limits": {"memory": "0"}, "gpu": "0", "shm": "1Mi"},
    )
    target = {"codespec": spec, "nodePool": "pool", "replicas": 1}
    made = runs.create(talk, {"job": target, "cluster": "anywhere"})
    last = runs.ended(talk, made["id"])
    assert (last["status"], last["job"]) == ("Succeeded", target)
    assert "cluster" not in last  # as in the original's Docker mode


ENDS = {"complete": "dDGK6tOTr1krU6jOyYJ/Rw==", "failed": "l4FjUUeaw1N1wQ5zVGyUWQ=="}
"""What may stand at the end of a buffer, and its MD5: contract buffers.md section 5."""


def test_outputs_that_a_job_never_touched(talk):
    """Whole and empty where it succeeds, failed where it fails."""
    for text, status, mark in (("true", "Succeeded", "complete"), ("exit 1", "Failed", "failed")):
        made = runs.create(talk, runs.shell(text, inputs=["in"], outputs=["out"]))
        assert runs.ended(talk, made["id"])["status"] == status
        talk.hold(
            ask("POST", f"/buffers/{made['job']['buffers']['out']}/access?{V}")
            + answer("201 Created", '{"uri":"http+unix://[[:any]]:[[path:path]]?[[signature:any]]"}')
            + ask("GET", "[[path]]/.bufferend?[[signature]]")
            + f'< 200 OK\n< Content-MD5: {ENDS[mark]}\n<\n< {{"status":"{mark}"}}\n'
        )
