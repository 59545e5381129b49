"""`tyger run show|list|counts|watch|logs|cancel`."""

import json

import pytest

from tests.support import fakedaemon

RUN = {
    "id": 3, "status": "Running", "createdAt": fakedaemon.CREATED,
    "job": {"codespec": {"kind": "job", "image": "x"}}, "tags": {"b": "2", "a": "1"}, "eTag": "9",
    "isSomething": True,
}  # fmt: skip


def test_show(tyger, daemon):
    daemon.runs[3] = RUN
    shown = json.loads(tyger("run", "get", "3").out)
    assert list(shown) == ["id", "status", "createdAt", "job", "tags", "eTag"]


def test_list(tyger, daemon):
    daemon.answers["GET", "/runs"] = (200, {"items": []})
    assert tyger("runs", "list", "--since", "2026-01-01T00:00:00Z", "--tag", "a=b", "-l", "3").out == "[]\n"
    assert daemon.requests[0].query == [("limit", "3"), ("since", "2026-01-01T00:00:00Z"), ("tag[a]", "b")]


def test_counts(tyger, daemon):
    daemon.answers["GET", "/runs/counts"] = (200, {"succeeded": 2, "failed": 1})
    assert tyger("run", "count", "--tag", "a=b").out == '{\n  "failed": 1,\n  "succeeded": 2\n}\n'
    assert daemon.requests[0].query == [("tag[a]", "b")]
    daemon.answers["GET", "/runs/counts"] = (200, {})
    assert tyger("run", "counts").out == "{}\n"


def watching(*snapshots):
    def answer(request):
        assert request.asked("watch") == "true"
        return 200, b"".join(json.dumps(RUN | snapshot).encode() + b"\n" for snapshot in snapshots), {}

    return answer


def test_watch_prints_changes_until_the_end(tyger, daemon):
    daemon.answers["GET", "/runs/3"] = watching(
        {"status": "Pending"},
        {"status": "Running"},
        {"tags": {}},
        {"status": "Failed", "statusReason": "<no>"},
    )
    done = tyger("run", "watch", "3")
    assert done.code == 0
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"id": 3, "status": "Pending", "createdAt": "2026-01-02T03:04:05.678901Z"},
        {"id": 3, "status": "Running", "createdAt": "2026-01-02T03:04:05.678901Z"},
        {"id": 3, "status": "Failed", "statusReason": "<no>", "createdAt": "2026-01-02T03:04:05.678901Z"},
    ]
    assert '"statusReason":"\\u003cno\\u003e"' in done.out


def test_watch_the_whole_resource(tyger, daemon):
    daemon.answers["GET", "/runs/3"] = watching({"status": "Succeeded"})
    assert json.loads(tyger("run", "watch", "3", "--full-resource").out)["tags"] == {"a": "1", "b": "2"}


def test_watch_an_unknown_run(tyger):
    done = tyger("run", "watch", "4")
    assert (done.code, done.err) == (66, "Error: NotFound: The resource was not found\n")


def test_logs(tyger, daemon):
    daemon.logs[3] = [b"one", b"two\xff"]
    daemon.answers["GET", "/runs/3/logs"] = (200, b"one\ntwo")
    done = tyger("run", "logs", "3", "--timestamps", "--tail", "5", "-s", "2026-01-01T00:00:00Z")
    assert (done.code, done.out) == (0, "one\ntwo")
    assert daemon.requests[0].query == [
        ("since", "2026-01-01T00:00:00Z"),
        ("timestamps", "true"),
        ("tailLines", "5"),
    ]
    assert tyger("run", "logs", "3").code == 0
    assert daemon.requests[1].query == []


@pytest.mark.parametrize(
    ("flag", "out"), [([], "one\ntwo three\n"), (["--timestamps"], "1Z one\n2Z two three\n")]
)
def test_logs_followed(tyger, daemon, flag, out):
    daemon.runs[3] = RUN | {"status": "Succeeded"}
    daemon.logs[3] = [b"1Z one", b"2Z two three"]
    assert tyger("run", "logs", "3", "-f", "--tail", "9", *flag).out == out
    assert daemon.requests[0].query == [("follow", "true"), ("timestamps", "true"), ("tailLines", "9")]


def test_logs_of_an_unknown_run(tyger, daemon):
    daemon.answers["GET", "/runs/4/logs"] = (404, b"")
    for flag in ([], ["--follow"]):
        done = tyger("run", "logs", "4", *flag)
        assert (done.code, done.err) == (66, "Error: NotFound: The run '4' was not found\n")


@pytest.mark.parametrize(
    ("answer", "code", "out", "err"),
    [
        ({"status": "Canceled"}, 0, "Job 3 has been canceled\n", ""),
        ({"status": "Canceling"}, 0, "Cancel issued for job 3\n", ""),
        ({"status": "Failed", "statusReason": "boom"}, 75, "",
         "Error: unable to cancel job 3 because its status is Failed (boom)\n"),
        ({"status": "Succeeded"}, 75, "", "Error: unable to cancel job 3 because its status is Succeeded\n"),
    ],
)  # fmt: skip
def test_cancel(tyger, daemon, answer, code, out, err):
    daemon.answers["POST", "/runs/3/cancel"] = (202, RUN | answer)
    assert tyger("run", "stop", "3") == (code, out, err)
