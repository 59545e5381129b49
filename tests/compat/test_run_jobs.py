"""What a job is given: contract rest-api.md section 9."""

from tests.support import runs
from tests.support.answers import answer, ask
from tests.support.runexchanges import V

CONFIG = runs.CONFIG


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
