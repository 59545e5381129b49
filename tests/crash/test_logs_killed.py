"""`kill -9` of the daemon while a run logs at a high rate: a follower gets each line once, in order."""

import json
import subprocess
import threading

import pytest

from tests.support import daemon

CONFIG = """
[[engine.process.images]]
image = "here"
"""

ROUNDS, LINES = 16, 2500
"""The job prints so many lines at once, so often, with a breath in between."""

# In each round lines come at once, the last of them in two pieces; standard error has a line of its own.
SCRIPT = (
    f"for r in $(seq 0 {ROUNDS - 1}); do seq $((r * {LINES})) $(((r + 1) * {LINES} - 2));"
    f" printf $(((r + 1) * {LINES} / 10 - 1)); sleep 0.04; echo 9; echo round $r >&2; sleep 0.04; done"
)


KILLS = [int(part * ROUNDS * LINES) for part in (0.05, 0.3, 0.5, 0.8)]
"""Behind so many lines."""


def followed(process, lines, reached, go_on):
    """Take the lines; where a kill is due it is waited for, so that the rest is not there before."""
    for line in process.stdout:
        lines.append(line)
        if len(lines) in KILLS:
            reached.release()
            go_on.acquire()


@pytest.mark.long
def test_every_line_once_over_kills(tmp_path):
    codespec = {"image": "here", "command": ["sh", "-c", SCRIPT.replace("$(", "$$(")]}
    with daemon.daemon(config=CONFIG) as it:
        file = tmp_path / "run.yml"
        file.write_text(json.dumps({"job": {"codespec": codespec}}))  # JSON is YAML
        created = subprocess.run(
            [*daemon.TYGER, "run", "create", "-f", str(file)],
            env=it.env,
            capture_output=True,
            check=True,
            text=True,
        )
        run = created.stdout.strip()
        client = subprocess.Popen(
            [*daemon.TYGER, "run", "logs", run, "--follow", "--timestamps"],
            env=it.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        lines, reached, go_on = [], threading.Semaphore(0), threading.Semaphore(0)
        reader = threading.Thread(target=followed, args=(client, lines, reached, go_on), daemon=True)
        reader.start()
        for kill in range(len(KILLS)):
            assert reached.acquire(timeout=daemon.PATIENCE), len(lines)
            it.kill()
            go_on.release()
            if kill == 2:  # it is missed, and that is said
                assert b"The daemon is away; waiting for it" in client.stderr.readline()
            it.start()
        reader.join(daemon.PATIENCE)
        assert client.wait(daemon.PATIENCE) == 0
        said = client.stderr.read()
        client.stdout.close()
        client.stderr.close()
        kept = subprocess.run(
            [*daemon.TYGER, "run", "logs", run, "--timestamps"], env=it.env, capture_output=True, check=True
        ).stdout
    stamps, texts = zip(*(line.rstrip(b"\n").split(b" ", 1) for line in lines), strict=True)
    assert [text for text in texts if text.isdigit()] == [b"%d" % number for number in range(ROUNDS * LINES)]
    assert [text for text in texts if not text.isdigit()] == [b"round %d" % r for r in range(ROUNDS)]
    assert len(set(stamps)) == len(stamps)
    assert b"".join(lines) == kept
    assert b"The daemon is back" in said
