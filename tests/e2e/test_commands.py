"""The commands against a real daemon and real jobs: what they deliver, and how each mistake ends."""

import contextlib
import hashlib
import json
import os
import pty
import signal
import subprocess
import threading

import pytest

from tests.support import daemon as daemons

CONFIG = """
[[engine.process.images]]
image = "host"
root = "/"
entrypoint = []
"""

PATIENCE = 120


@pytest.fixture(scope="module")
def daemon():
    with daemons.daemon(config=CONFIG) as it:
        yield it


@pytest.fixture
def tyger(daemon):
    def call(*arguments, data=b"", **options):
        return subprocess.run(
            [*daemons.TYGER, *map(str, arguments)],
            env=daemon.env, input=data, capture_output=True, timeout=PATIENCE, check=False, **options,
        )  # fmt: skip

    return call


@pytest.fixture
def start(daemon):
    """Start a command with pipes; what still runs when the test ends is killed."""
    started = []

    def begin(*arguments):
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*daemons.TYGER, *arguments], env=daemon.env, stdin=pipe, stdout=pipe, stderr=pipe
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
        process.wait()


@pytest.fixture
def buffer(tyger):
    return tyger("buffer", "create").stdout.decode().strip()


def runfile(tmp_path, script, inputs=("in",), outputs=("out",), **more):
    """A run file whose job is a line of shell."""
    codespec = {
        "image": "host",
        "buffers": {"inputs": list(inputs), "outputs": list(outputs)},
        "command": ["sh", "-c", script],
    }
    path = tmp_path / "run.yml"
    path.write_text(json.dumps({"job": {"codespec": codespec}, **more}))
    return str(path)


def until(process, text):
    """Read standard error until a line has `text`; that line."""
    while text not in (line := process.stderr.readline()):
        assert line, "it ended"
    return line


def run_of(process):
    return int(until(process, b"Run created").rpartition(b"runId=")[2])


# --- buffers ---------------------------------------------------------------------------------------------


def test_generated_bytes_through_a_buffer(tyger, daemon, buffer):
    size = 40 * 1024 * 1024 + 17
    program = " ".join(daemons.TYGER)
    fill = f"{program} buffer gen {size}B | {program} buffer write {buffer}"
    done = subprocess.run(
        ["bash", "-c", f"set -eo pipefail; {fill}; {program} buffer read {buffer} | sha256sum"],
        env=daemon.env,
        capture_output=True,
        check=True,
    )
    pattern = bytes(range(58, 122)) * 1024
    expected = hashlib.sha256((pattern * (size // len(pattern) + 1))[:size]).hexdigest()
    assert done.stdout.split()[0].decode() == expected


def test_a_buffer_is_read_while_it_is_written(start, buffer):
    writer = start("buffer", "write", buffer, "--flush-interval", "5ms")
    reader = start("buffer", "read", buffer)
    for word in (b"one", b"two", b"three"):
        writer.stdin.write(word)
        writer.stdin.flush()
        assert reader.stdout.read(len(word)) == word
    writer.stdin.close()
    assert reader.stdout.read() == b""
    assert (writer.wait(PATIENCE), reader.wait(PATIENCE)) == (0, 0)


def test_what_must_not_be_done_to_a_buffer(tyger, buffer):
    assert tyger("buffer", "write", buffer, data=b"once").returncode == 0
    again = tyger("buffer", "write", buffer, data=b"twice")
    assert again.returncode == 73
    assert b"FTL Failed to write buffer" in again.stderr
    assert tyger("buffer", "read", buffer).stdout == b"once"
    assert tyger("buffer", "delete", buffer).returncode == 0
    for verb in ("show", "read", "write"):
        assert tyger("buffer", verb, buffer, data=b"x").returncode == 66
    assert tyger("buffer", "delete", buffer).returncode == 75
    assert json.loads(tyger("buffer", "restore", buffer).stdout)["id"] == buffer
    assert tyger("buffer", "read", buffer).stdout == b"once"


def test_a_failed_buffer_says_why(tyger, start, buffer):
    writer = start("buffer", "write", buffer, "--flush-interval", "5ms")
    reader = start("buffer", "read", buffer)
    writer.stdin.write(b"half")
    writer.stdin.flush()
    assert reader.stdout.read(4) == b"half"
    writer.send_signal(signal.SIGTERM)
    assert writer.wait(PATIENCE) == 128 + signal.SIGTERM
    assert reader.wait(PATIENCE) == 74
    assert b"FTL Failed to read buffer" in reader.stderr.read()
    assert tyger("buffer", "read", buffer).returncode == 74


def test_an_access_url_stands_for_its_buffer(tyger, buffer, tmp_path):
    url = tyger("buffer", "access", buffer, "--write").stdout.decode().strip()
    (tmp_path / "url").write_text(url + "\n")
    assert tyger("buffer", "write", tmp_path / "url", data=b"by url").returncode == 0
    assert tyger("buffer", "read", url).stdout == b"by url"


def test_tags_and_lists(tyger):
    mark = os.urandom(8).hex()
    ids = [
        tyger("buffer", "create", "--tag", f"mark={mark}", "--tag", f"n={n}").stdout.decode().strip()
        for n in range(3)
    ]
    listed = json.loads(tyger("buffer", "list", "--tag", f"mark={mark}", "--exclude-tag", "n=1").stdout)
    assert [item["id"] for item in listed] == [ids[2], ids[0]]
    assert len(json.loads(tyger("buffer", "list", "--tag", f"mark={mark}", "--limit", "2").stdout)) == 2
    changed = json.loads(tyger("buffer", "set", ids[0], "--tag", "n=9", "--etag", listed[1]["eTag"]).stdout)
    assert changed["tags"] == {"mark": mark, "n": "9"}
    assert tyger("buffer", "set", ids[0], "--clear-tags", "--etag", listed[1]["eTag"]).returncode == 75
    assert tyger("buffer", "delete", "--tag", f"mark={mark}", "--force").stdout == b"Deleted 3 buffers.\n"
    assert tyger("buffer", "delete", "--tag", f"mark={mark}").stdout == b"No buffers found.\n"


# --- runs ------------------------------------------------------------------------------------------------


def test_a_pipe_through_a_run(tyger, tmp_path):
    data = os.urandom(3_000_000)
    path = runfile(tmp_path, "sha256sum < $IN_PIPE | cut -d' ' -f1 > $OUT_PIPE; echo logged")
    done = tyger("run", "exec", "-f", path, "--logs", data=data)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().strip() == hashlib.sha256(data).hexdigest()
    assert b"logged\n" in done.stderr


def test_a_run_that_fails_says_why(tyger, tmp_path):
    done = tyger("run", "exec", "-f", runfile(tmp_path, "echo so sad >&2; exit 3"), "--logs", data=b"abc")
    assert done.returncode == 1
    assert b"so sad" in done.stderr
    assert done.stderr.endswith(
        b'FTL Run failed error="run failed with status Failed (Main exited with code 3)"\n'
    )


def test_the_first_byte_comes_before_the_last_was_sent(start, tmp_path):
    path = runfile(tmp_path, "cat < $IN_PIPE > $OUT_PIPE")
    process = start("run", "exec", "-f", path, "--flush-interval", "5ms")
    for word in (b"one", b"two"):
        process.stdin.write(word)
        process.stdin.flush()
        assert process.stdout.read(3) == word
    process.stdin.close()
    assert process.stdout.read() == b""
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_run(tyger, start, tmp_path, number):
    process = start("run", "exec", "-f", runfile(tmp_path, "sleep 60", inputs=(), outputs=()))
    run = run_of(process)
    until(process, b"status=Running")
    process.send_signal(number)
    assert process.wait(PATIENCE) == (-number if number == signal.SIGINT else 128 + number)
    assert json.loads(tyger("run", "show", run).stdout)["status"] in ("Canceling", "Canceled")


def test_a_detached_run_goes_on(tyger, start, tmp_path):
    path = runfile(tmp_path, "cat $GO_PIPE; echo late", inputs=("go",), outputs=())
    go = tyger("buffer", "create").stdout.decode().strip()
    process = start("run", "exec", "-f", path, "-b", f"go={go}", "--on-exit", "detach")
    run = run_of(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert tyger("buffer", "write", go).returncode == 0
    assert json.loads(tyger("run", "watch", run).stdout.splitlines()[-1])["status"] == "Succeeded"
    assert tyger("run", "logs", run).stdout.endswith(b"late\n")


def test_a_reader_that_goes_away_ends_run_and_command(tyger, start, tmp_path):
    process = start(
        "run", "exec", "-f", runfile(tmp_path, "cat < $IN_PIPE > $OUT_PIPE"), "--flush-interval", "5ms"
    )
    run = run_of(process)
    process.stdin.write(b"abc")
    process.stdin.flush()
    assert process.stdout.read(3) == b"abc"
    process.stdout.close()
    assert process.wait(PATIENCE) == 128 + signal.SIGPIPE
    assert json.loads(tyger("run", "show", run).stdout)["status"] in ("Canceling", "Canceled")


def test_a_job_that_does_not_read_its_input(tyger, tmp_path):
    done = tyger("run", "exec", "-f", runfile(tmp_path, "echo early > $OUT_PIPE"), data=b"x" * 5_000_000)
    assert (done.returncode, done.stdout) == (0, b"early\n")


def test_a_line_of_two_megabytes_in_the_log(tyger, tmp_path):
    path = runfile(tmp_path, "head -c 2000000 /dev/zero | tr '\\0' x; echo", inputs=(), outputs=())
    run = tyger("run", "create", "-f", path).stdout.decode().strip()
    line = tyger("run", "logs", run, "--follow").stdout
    assert line.count(b"x") == 2_000_000
    assert line.count(b"\n") == 1


def test_what_is_refused_before_a_run_exists(tyger, tmp_path):
    (tmp_path / "bad.yml").write_text("job:\n  codespec:\n    imagee: x\n")
    for arguments, code, said in (
        (
            ["-f", tmp_path / "bad.yml"],
            65,
            b'line 3: job.codespec: unknown field "imagee" (did you mean image?)',
        ),
        (["-f", tmp_path / "missing.yml"], 66, b"No such file or directory"),
        (["-c", "unknown"], 66, b"NotFound"),
    ):
        done = tyger("run", "exec", *arguments)
        assert done.returncode == code
        assert said in done.stderr
    unmapped = tyger("run", "create", "-f", runfile_of_image(tmp_path, "quay.io/nobody/nothing"))
    assert unmapped.returncode == 65
    assert b"[[engine.process.images]]" in unmapped.stderr


def runfile_of_image(tmp_path, image):
    path = tmp_path / "image.yml"
    path.write_text(f"job: {{codespec: {{image: {image}}}}}")
    return path


def test_codespec_versions(tyger):
    name = "c-" + os.urandom(4).hex()
    create = ("codespec", "create", name, "--image", "host")
    assert tyger(*create).stdout == b"1\n"
    assert tyger(*create).stdout == b"1\n"
    assert tyger(*create, "--", "x").stdout == b"2\n"
    assert json.loads(tyger("codespec", "show", name, "--version", "1").stdout)["version"] == 1
    assert [item["version"] for item in json.loads(tyger("codespec", "list", "--prefix", name).stdout)] == [2]
    done = tyger("run", "create", "-c", name, "--version", "9")
    assert done.returncode == 65
    assert b"The latest version is '2'" in done.stderr


# --- the daemon goes away --------------------------------------------------------------------------------


def test_a_run_rides_through_a_killed_daemon(tmp_path):
    """Half of the input before, half after: the output is exact, and the command succeeds."""
    half = os.urandom(1_000_000)
    with daemons.daemon(config=CONFIG) as it:
        process = subprocess.Popen(
            [*daemons.TYGER, "run", "exec", "-f", runfile(tmp_path, "cat < $IN_PIPE > $OUT_PIPE")],
            env=it.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        received = bytearray()
        arrived = threading.Event()

        def drain():
            while piece := process.stdout.read1(1 << 16):
                received.extend(piece)
                if len(received) >= len(half):
                    arrived.set()
            arrived.set()

        reader = threading.Thread(target=drain)
        reader.start()
        process.stdin.write(half)
        process.stdin.flush()
        assert arrived.wait(PATIENCE)
        it.restart()
        process.stdin.write(half)
        process.stdin.close()
        code = process.wait(PATIENCE)
        reader.join()
        said = process.stderr.read().decode()
        process.stdout.close()
        process.stderr.close()
    assert code == 0, said
    assert bytes(received) == half + half


def test_no_daemon_and_none_may_be_started():
    with daemons.daemon(start=False) as it:
        for arguments in (
            ["status"],
            ["buffer", "show", "x"],
            ["run", "watch", "1"],
            ["run", "logs", "-f", "1"],
        ):
            done = subprocess.run(
                [*daemons.TYGER, *arguments], env=it.env, capture_output=True, check=False, timeout=PATIENCE
            )
            assert done.returncode == 69
            assert done.stderr.count(b"\n") == 1


def test_ctrl_c_at_a_terminal_cancels_run_and_fails_input(daemon, tyger, tmp_path):
    path = runfile(tmp_path, "cat < $IN_PIPE > $OUT_PIPE")
    program = " ".join(daemons.TYGER)
    for _ in range(5):
        child, leader = pty.fork()
        if child == 0:
            line = f"(printf half; cat) | {program} run exec -f {path} --flush-interval 5ms > {tmp_path}/out"
            os.execvpe("bash", ["bash", "-c", line], daemon.env)
        shown = b""
        # Both streams are under way, too.
        while b"Running" not in shown or shown.count(b"Transfer starting") < 2:
            shown += os.read(leader, 4096)
        os.write(leader, b"\x03")
        with contextlib.suppress(OSError):  # EIO: all have let go of the terminal
            while piece := os.read(leader, 4096):
                shown += piece
        os.close(leader)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in (-signal.SIGINT, 128 + signal.SIGINT)
        run = json.loads(tyger("run", "list", "--limit", "1").stdout)[0]
        assert run["status"] in ("Canceling", "Canceled", "Failed")
        assert tyger("buffer", "read", run["job"]["buffers"]["in"]).returncode == 74
