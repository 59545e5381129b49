"""`kill -9` of the daemon while a run is at work: the next one adopts it; no byte, no run is doubled."""

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import threading

from tests.support import daemon, ending, enginegate

CONFIG = """
[engine.process]
cancel_grace = 0.2
[[engine.process.images]]
image = "here"
"""
KILLS = 4
PIECE = 1_000_000


def run_file(path, command):
    body = {
        "job": {
            "codespec": {
                "image": "here",
                "buffers": {"inputs": ["input"], "outputs": ["output"]},
                "command": ["sh", "-c", command],
            }
        }
    }
    path.write_text(json.dumps(body))  # JSON is YAML
    return str(path)


def tyger(it, *arguments, **more):
    return subprocess.run(
        [*daemon.TYGER, *arguments], env=it.env, check=True, capture_output=True, text=True, **more
    ).stdout


def test_a_run_goes_on_over_kills(tmp_path):
    chance = random.Random(1)
    content = [chance.randbytes(PIECE) for _ in range(2 * KILLS)]
    with daemon.daemon(config=CONFIG) as it:
        file = run_file(tmp_path / "run.yml", "cat $(INPUT_PIPE) > $(OUTPUT_PIPE); echo ended")
        client = subprocess.Popen(
            [*daemon.TYGER, "run", "exec", "-f", file, "--log-level", "error"],
            env=it.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        received = bytearray()
        enough = threading.Condition()

        def read():
            while data := os.read(client.stdout.fileno(), PIECE):
                with enough:
                    received.extend(data)
                    enough.notify()

        reader = threading.Thread(target=read)
        reader.start()
        sent = 0
        for number, piece in enumerate(content):
            client.stdin.write(piece)
            client.stdin.flush()
            sent += len(piece)
            if number % 2:
                it.kill()
                it.restart()
            else:  # let it through before the next kill: streams are at work in both directions
                with enough:
                    least = sent - PIECE
                    assert enough.wait_for(lambda least=least: len(received) > least, daemon.PATIENCE)
        client.stdin.close()
        reader.join(daemon.PATIENCE)
        assert client.wait(daemon.PATIENCE) == 0
        client.stdout.close()
        assert bytes(received) == b"".join(content)
        (run,) = json.loads(tyger(it, "run", "list"))
        assert run["status"] == "Succeeded"
        buffers = run["job"]["buffers"]
        for name in ("input", "output"):
            read = subprocess.run(
                [*daemon.TYGER, "buffer", "read", buffers[name]],
                env=it.env, capture_output=True, check=True, timeout=daemon.PATIENCE,
            )  # fmt: skip
            assert read.stdout == b"".join(content)
        assert tyger(it, "run", "logs", str(run["id"])) == "[main] ended\n"


@contextlib.contextmanager
def asking(it, tmp_path, *words):
    """A command that has asked for a run; its daemon was killed before it heard of that."""
    body = {"job": {"codespec": {"image": "here", "command": ["true"]}}}
    (tmp_path / "run.yml").write_text(json.dumps(body))
    with (
        enginegate.gate(it.socket) as gate,
        gate.held("POST", "/runs$") as hold,
        ending.Popen(
            [*daemon.TYGER, "run", *words, "-f", str(tmp_path / "run.yml")],
            env=it.env | {"TYGER_SOCKET": gate.path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as client,
    ):
        hold.arrived()
        it.kill()
        hold.release()
        yield client


def test_a_daemon_that_is_killed_before_it_has_made_the_run(tmp_path):
    """The next one makes it, and only once."""
    with daemon.daemon(config=CONFIG) as it:
        with asking(it, tmp_path, "create") as client:
            said = b""
            while b"The daemon is away; waiting for it" not in said:
                said += (line := client.stderr.readline())
                assert line, said
            it.start()
            out, rest = client.communicate(timeout=daemon.PATIENCE)
        assert (client.returncode, out) == (0, b"1\n"), rest.decode()
        assert last_state(it, "1")["status"] == "Succeeded"
        assert len(json.loads(tyger(it, "run", "list"))) == 1


def test_a_daemon_that_stays_away_after_it_was_asked_for_a_run(tmp_path):
    """It is waited for so long as is said; whoever gives up is told that the run may be there."""
    with (
        daemon.daemon(config=CONFIG) as it,
        asking(it, tmp_path, "exec", "--retry-for", "1s") as client,
    ):
        _, said = client.communicate(timeout=daemon.PATIENCE)
    assert client.returncode == 69, said.decode()
    assert b"The run may have been created; see: tyger run list" in said


def start_job(it, tmp_path):
    """A run whose job waits; its id, and the job's pid."""
    body = {"job": {"codespec": {"image": "here", "command": ["sh", "-c", "echo $$$$; exec sleep 600"]}}}
    (tmp_path / "run.yml").write_text(json.dumps(body))
    run_id = tyger(it, "run", "create", "-f", str(tmp_path / "run.yml")).strip()
    with ending.Popen(
        [*daemon.TYGER, "run", "logs", run_id, "--follow"], env=it.env, stdout=subprocess.PIPE
    ) as follower:
        pid = int(follower.stdout.readline())
        follower.kill()
    return run_id, pid


def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def last_state(it, run_id):
    return json.loads(tyger(it, "run", "watch", run_id, timeout=daemon.PATIENCE).splitlines()[-1])


def test_a_run_that_ended_while_nobody_looked(tmp_path):
    with daemon.daemon(config=CONFIG.replace("[[", 'bubblewrap = "off"\n[[')) as it:
        run_id, pid = start_job(it, tmp_path)
        it.kill()
        os.kill(pid, signal.SIGKILL)
        it.restart()
        last = last_state(it, run_id)
        assert (last["status"], last["statusReason"]) == ("Failed", "Main exited with code 137 (SIGKILL)")
        assert tyger(it, "run", "logs", run_id) == f"{pid}\n"


def test_a_supervisor_that_is_killed_too(tmp_path):
    with daemon.daemon(config=CONFIG.replace("[[", 'bubblewrap = "off"\n[[')) as it:
        run_id, pid = start_job(it, tmp_path)
        job = os.pidfd_open(pid)
        it.kill()
        os.kill(parent(pid), signal.SIGKILL)
        assert select.select([job], [], [], daemon.PATIENCE)[0], "the job outlives its supervisor"
        os.close(job)
        it.restart()
        last = last_state(it, run_id)
        reason = "the supervisor of the run was killed, and its job with it"
        assert (last["status"], last["statusReason"]) == ("Failed", reason)
