"""What a run must satisfy when it is made, and what it is given where it says nothing."""

import json

import pytest

from tests.support import runs
from tests.support.answers import answer, ask, invalid
from tests.support.runexchanges import GOOD, JOB, TAG_KEY, V, post, run

CONFIG = runs.CONFIG

READING = "Error deserializing input: "
REFERENCE = "It should be in the form '<codespec_name>' or '<codespec_name>/versions/<version_number>'."


def inline(**fields):
    return run({**GOOD, **fields})


def unrecognized(name, path):
    return f"{READING}Object contains unrecognized properties '{name}'. Path: {path}"


def reference(text, why=REFERENCE):
    return f"{READING}The codespec reference '{text}' is invalid. {why} Path: $.job.codespec"


TAGS = {f"t{number}": "" for number in range(101)}
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
