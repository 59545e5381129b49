"""Runs one at a time: made, shown, cancelled; contract rest-api.md section 6."""

import threading

import pytest

from tests.support import exchanges, runs
from tests.support.answers import EMPTY_GONE, GONE, answer, ask, bad, invalid
from tests.support.runexchanges import JOB, TAG_KEY, V, post, run

CONFIG = runs.CONFIG


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
