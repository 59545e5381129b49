"""`tyger codespec` and `tyger run` as scripts of the original know them (contract cli.md 1.6, 5, 6 and 12)."""

from __future__ import annotations

import json

import pytest

from tests.support import commands, transcripts

CONFIG = commands.HOST


@pytest.fixture(scope="module")
def codespecs(host):
    """Codespecs that the runs here execute, made once."""
    script = transcripts.Script(host)
    make = "codespec create {name} --image host -i in -o out --command -- sh -c '{shell}'"
    for name, shell in {
        "copy": "cat $IN_PIPE > $OUT_PIPE; echo done",
        "fail": "cat $IN_PIPE > $OUT_PIPE; echo no >&2; exit 3",
    }.items():
        script.prints(make.format(name=name, shell=shell), "1\n")
    script.prints("codespec create wait --image host --command -- sleep 60", "1\n")
    script.prints("codespec create talk --image host --command -- sh -c 'echo one; echo two'", "1\n")


@pytest.fixture
def script(host, codespecs):
    return transcripts.Script(host)


# --- codespecs -------------------------------------------------------------------------------------------


def test_a_version_is_printed_and_stays_while_nothing_changes(script):
    script.prints("codespec create v.1 --image a -- x y", "1\n")
    script.prints("codespec create v.1 --image a -- x y", "1\n")
    script.prints("codespec create v.1 --image=a -- x", "2\n")
    script.prints("codespecs create --image a v.1 -e A=1", "3\n")


SHOWN = """\
{
    "kind": "job",
    "name": "shown",
    "version": 1,
    "createdAt": "<time>",
    "buffers": {
      "inputs": [
        "i",
        "j"
      ],
      "outputs": [
        "o"
      ]
    },
    "image": "host",
    "command": [
      "sh",
      "-c",
      "a \\u003c b \\u0026\\u0026 c \\u003e d"
    ],
    "env": {
      "A": "1,2",
      "B": "x=y"
    },
    "resources": {
      "requests": {
        "cpu": "500m",
        "memory": "1Gi"
      },
      "limits": {
        "memory": "2G"
      },
      "shm": "64Mi"
    },
    "maxReplicas": 3
  }
"""


def test_the_odd_layout_of_a_codespec(script):
    line = (
        "codespec create shown --image host -i i,j --output o --env A=1,2 -e B=x=y --cpu-request 0.5"
        " --memory-request 1024Mi --memory-limit 2000M --shm 64Mi -r 3 --command -- sh -c 'a < b && c > d'"
    )
    script.prints(line, "1\n")
    script.prints("codespec show shown", SHOWN)
    script.prints("codespec get shown --version 1", SHOWN)
    script.fails("codespec show shown --version 2", 66, "Error: NotFound: <rest>\n")
    script.fails("codespec show nothing", 66, "Error: NotFound: <rest>\n")


def test_a_file_and_flags_over_it(script, tmp_path):
    path = tmp_path / "c.yml"
    path.write_text(
        "name: filed\nImage: host\nbuffers: {inputs: [a], outputs: [b]}\nargs: [1, yes, 1.10, 010]\n"
        "env: {A: , B: off}\nresources: {limits: {cpu: 1}}\nversion: 7\n"
    )
    script.prints(f"codespec create -f {path} --output c,d --memory-limit 1Ki", "1\n")
    shown = json.loads(script.run("codespec show filed").out)
    assert {name: shown[name] for name in ("buffers", "args", "env", "resources")} == {
        "buffers": {"inputs": ["a"], "outputs": ["c", "d"]},
        "args": ["1", "true", "1.1", "8"],
        "env": {"A": "", "B": "false"},
        "resources": {"limits": {"cpu": "1", "memory": "1Ki"}},
    }
    script.prints(f"codespec create other -f {path} --", "1\n")
    assert "args" not in json.loads(script.run("codespec show other").out)


def test_the_list_of_codespecs(script):
    for name in ("p1", "p2"):
        script.prints(f"codespec create pre.{name} --image host", "1\n")
    item = (
        '    {\n      "kind": "job",\n      "name": "pre.%s",\n      "version": 1,\n'
        '      "createdAt": "<time>",\n      "image": "host"\n    }'
    )
    script.prints("codespec list -p pre.", f"[\n{item % 'p1'},\n{item % 'p2'}\n  ]\n")
    script.prints("codespec list --prefix nothing", "[]\n")


def test_codespecs_that_are_refused(script):
    rule = (
        "Error: codespec names must contain only lower case letters (a-z), numbers (0-9), dashes (-), underscores"
        " (_), and dots (.)\n"
    )
    script.fails("codespec create Upper --image a", 65, rule)
    script.fails("codespec create x", 65, "Error: InvalidInput: The image field is required.\n")


# --- runs ------------------------------------------------------------------------------------------------


def test_exec_prints_the_output_and_nothing_else(script):
    script.prints(
        "run exec -c copy",
        "a\x00b\udcff",
        data=b"a\x00b\xff",
        err=None,
    )
    done = script.run("run exec -c copy --log-format json --logs", data=b"x")
    assert done.out == "x"
    records = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    assert "[main] done" in done.err.splitlines()
    assert all(
        next(iter(record)) == "level" and list(record)[-2:] == ["time", "message"] for record in records
    )
    said = [(record["message"], record.get("status")) for record in records]
    assert said[0] == ("Run created", None)
    assert ("Run status changed", "Succeeded") in said


def test_exec_of_a_job_that_fails(script):
    done = script.run("run exec -c fail", data=b"x")
    assert done.code == 1
    last = done.err.splitlines()[-1]
    script.match('<stamp> FTL Run failed error="run failed with status Failed (<rest>)"', last)
    assert "exited with code 3" in last
    assert " INF Run created runId=" in done.err


def test_exec_that_cannot_know_what_is_meant(script):
    script.prints("codespec create two --image host -i a,b -o c -- x", "1\n")
    script.fails(
        "run exec -c two",
        65,
        "Error: exec cannot be called if the job has multiple unmapped input buffers<rest>\n",
    )
    script.fails("run exec", 65, "Error: a codespec for the job must be specified<rest>\n")
    script.fails("run exec -c nothing", 66, "Error: NotFound: <rest>\n")


RUN = """\
{
  "id": {run},
  "status": "Succeeded",<reason>
  "createdAt": "<time>",
  "startedAt": "<time>",
  "finishedAt": "<time>",
  "job": {
    "codespec": {
      "kind": "job",
      "image": "host",
      "command": [
        "sh",
        "-c",
        "echo one; echo two"
      ]
    },
    "replicas": 1
  },
  "timeoutSeconds": 60,
  "tags": {
    "a": "1",
    "b": "2"
  },
  "eTag": "<etag:tag>",
  "bufferAccessTtl": "01:00:00"
}
"""


def test_a_run_from_its_creation_to_its_tags(script):
    script.prints("run create -c talk --tag b=2 --tag a=1 --timeout 1m", "<n:run>\n")
    done = script.run("run watch {run}")
    assert done.code == 0
    for line in done.out.splitlines():
        assert list(json.loads(line))[:2] == ["id", "status"]
        assert '"tags"' not in line
        assert line.startswith(f'{{"id":{script.known["run"]},"status":"')
    last = done.out.splitlines()[-1]
    assert json.loads(last)["status"] == "Succeeded"
    reason = "statusReason" in json.loads(last)
    expected = RUN.replace("<reason>", '\n  "statusReason": "<rest>",' if reason else "")
    script.prints("run show {run}", expected)
    script.prints("runs get {run}", expected.replace("<etag:tag>", "{tag}"))
    script.prints("run logs {run}", "one\ntwo\n")
    script.prints("run logs {run} --tail 1 -f", "two\n")
    script.match("<rest> one\n<rest> two\n", script.run("run logs {run} --timestamps").out)
    script.fails(
        "run set {run} --tag c=3 --etag 1", 75, "Error: the server's ETag does not match the provided ETag\n"
    )
    changed = script.run("run set {run} --tag c=3 --etag {tag}")
    assert json.loads(changed.out)["tags"] == {"a": "1", "b": "2", "c": "3"}
    assert "tags" not in json.loads(script.run("run set {run} --clear-tags").out)
    script.fails(
        "run cancel {run}", 75, "Error: unable to cancel job {run} because its status is Succeeded<rest>\n"
    )


def test_lists_and_counts(script):
    script.prints("run list --tag which=none", "[]\n")
    script.prints("run counts --tag which=none", "{}\n")
    for name in ("talk", "fail", "talk"):
        script.prints(f"run create -c {name} --tag which=these", "<n:run>\n")
        if name == "fail":
            buffer = json.loads(script.run("run show {run}").out)["job"]["buffers"]["in"]
            assert script.run(f"buffer write {buffer}", data=b"").code == 0
        assert script.run("run watch {run}").code == 0
    script.prints("run count --tag which=these", '{\n  "failed": 1,\n  "succeeded": 2\n}\n')
    every = json.loads(script.run("run list --tag which=these").out)
    assert [run["status"] for run in every] == ["Succeeded", "Failed", "Succeeded"]
    assert every[0]["id"] > every[1]["id"] > every[2]["id"]
    for status in ("Failed", "FAILED,canceled", "failed --status pending"):
        chosen = json.loads(script.run(f"run list --tag which=these --status {status}").out)
        assert chosen == every[1:2]
    script.prints("run list --tag which=these --since '1 hour ago' --limit 0", "[]\n")
    out = script.run("run list --tag which=these -s '1 hour ago' -l 1").out
    assert out.startswith('[\n  {\n    "id": ')
    assert out.endswith("\n  }\n]\n")
    script.prints("run list --tag which=these --since 2999-01-01", "[]\n")


def test_cancelling(script):
    script.prints("run create -c wait", "<n:run>\n")
    done = script.run("run stop {run}")
    assert done.code == 0
    assert done.out in (
        script.filled("Job {run} has been canceled\n"),
        script.filled("Cancel issued for job {run}\n"),
    )
    script.run("run watch {run}")
    script.prints("run cancel {run}", "Job {run} has been canceled\n")


def test_a_run_file(script, tmp_path):
    path = tmp_path / "run.yml"
    path.write_text(
        "job:\n  codespec:\n    image: host\n    command: [sh, -c, 'echo $$A']\n    env: {A: \"1\"}\n"
        "tags: {t: 1}\ntimeoutSeconds: 30\nid: 5\n"
    )
    script.prints(f"run create -f {path} --tag u=2", "<n:run>\n")
    assert script.run("run watch {run}").code == 0
    shown = json.loads(script.run("run show {run}").out)
    assert shown["tags"] == {"t": "1", "u": "2"}
    assert shown["timeoutSeconds"] == 30
    assert shown["job"]["codespec"]["kind"] == "job"
    path.write_text("job: {codespec: x}\ntimeoutSeconds: '30'\n")
    script.fails(
        f"run create -f {path}", 65, f"Error: failed to parse file {path}: line 2: timeoutSeconds: <rest>\n"
    )
    path.write_text("job: {codespec: x}\nnoSuch: 1\n")
    script.fails(
        f"run create -f {path}", 65, f'Error: failed to parse file {path}: line 2: unknown field "noSuch"\n'
    )
    script.fails(
        f"run create -f {path}.not", 66, f"Error: failed to read file {path}.not: No such file or directory\n"
    )


def test_runs_that_are_not_there(script):
    for line in ("run show 999", "run watch 999", "run cancel 999", "run set 999 --tag a=b"):
        done = script.run(line)
        assert done.code == 66
        assert done.out == ""
        assert "was not found" in done.err
    assert script.run("run logs 999").code == 66
