"""A pod's pump in this process: main is a thread or nobody, the kubelet is a channel of signals."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest
import trio

from tests.house import sources
from tests.support import blobserver, certificates, podapi
from tyger import errors
from tygerd.streams import podlife, podmates, pumpoptions, pumppod
from tygerd.supervisor import ending

DATA = os.urandom(300_000)


class Pod:
    """The directories of a pod, its store, and its API server."""

    def __init__(self, path, server, api):
        self.path = path
        self.server = server
        self.api = api
        for name in ("fifos", "access", "state"):
            (path / name).mkdir()
        self.stop, self.signals = trio.open_memory_channel(9)

    def buffer(self, name, container, sig="good"):
        """Give a parameter a buffer; main's end of its pipe."""
        self.server.containers.setdefault(container, {})
        (self.path / "access" / name).write_text(self.server.url(container, sig))
        os.mkfifo(self.path / "fifos" / name)
        return str(self.path / "fifos" / name)

    def argv(self, *argv):
        places = {name: self.path / name for name in ("fifos", "access", "state")}
        places |= {"last-words": self.path / "last-words", "service-account": self.api.directory}
        return ["pod", *argv, *(f"--{name}={path}" for name, path in places.items())]

    def options(self, *argv):
        return pumpoptions.parser().parse_args(self.argv(*argv))

    def start(self, *argv):
        """The program, as a pod starts it."""
        return subprocess.Popen(
            [sys.executable, "-m", "tygerd", "pump", *self.argv(*argv), "--log-format", "human"],
            env={"PYTHONPATH": str(sources.ROOT), **self.api.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def pump(self, *argv):
        return pumppod.Pump(self.options(*argv), self.api.environ)

    def ended(self, code, **status):
        """Main has ended, and the kubelet stops us."""
        self.api.main, self.api.more = code, status
        self.stop.send_nowait(signal.SIGTERM)

    async def live(self, *argv):
        with trio.fail_after(60):
            return await self.pump(*argv).run(self.signals)

    def stored(self, container):
        """The bytes of a buffer, and its end."""
        blobs = self.server.containers[container]
        data = b"".join(blob.data for name, blob in sorted(blobs.items()) if not name.startswith("."))
        end = blobs.get(".bufferend")
        return data, end and end.data.decode()


@pytest.fixture(autouse=True)
def unseen(monkeypatch):
    """This host is no pod: nobody's processes are main's."""
    monkeypatch.setattr(podmates, "main_lives", lambda: None)


COMPLETE, FAILED = '{"status":"complete"}', '{"status":"failed"}'


@pytest.fixture
def pod(tmp_path, server):
    (tmp_path / "api").mkdir()
    with podapi.PodApi(tmp_path / "api") as api:
        yield Pod(tmp_path, server, api)


def write(path, *pieces):
    with open(path, "wb", buffering=0) as file:
        file.writelines(pieces)


def read(path, most=-1):
    with open(path, "rb", buffering=0) as file:
        return file.read(most)


async def in_thread(*call):
    return await trio.to_thread.run_sync(*call)


@contextlib.asynccontextmanager
async def living(pod, *argv):
    """A pump that lives while the block goes on; what became of it is appended to the list."""
    ends = []

    async def live():
        ends.append(await pod.live(*argv))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        yield ends


async def filled(pod, name, data):
    """An input of the pod with this content; main's end of its pipe."""
    pipe = pod.buffer(f"made-{name}", name)
    async with living(pod, f"--output=made-{name}"):
        await in_thread(write, pipe, data)
        pod.ended(0)
    pod.api.main = None
    os.unlink(pipe)
    return pod.buffer(name, name, "reader")


async def test_there_and_back(pod):
    pipe = await filled(pod, "in", DATA)
    assert pod.stored("in") == (DATA, COMPLETE)
    async with living(pod, "--input=in") as ends:
        assert await in_thread(read, pipe) == DATA
        pod.ended(0)
    assert ends == [podlife.Life("done")]


async def test_many_buffers_at_once(pod):
    """More than trio has threads; main opens all of them before it writes to any."""
    names = [f"out{number}" for number in range(50)]
    pipes = [pod.buffer(name, name) for name in names]

    def main():
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(open(pipe, "wb", buffering=0)) for pipe in pipes]
            for name, file in zip(names, files, strict=True):
                file.write(name.encode())

    async with living(pod, *(f"--output={name}" for name in names)) as ends:
        await in_thread(main)
        pod.ended(0)
    assert ends == [podlife.Life("done")]
    assert [pod.stored(name) for name in names] == [(name.encode(), COMPLETE) for name in names]


async def test_pipes_that_main_never_opened(pod):
    await filled(pod, "in", DATA)
    pod.buffer("out", "out")
    pod.ended(0)
    assert await pod.live("--input=in", "--output=out") == podlife.Life("done")
    assert pod.stored("out") == (b"", COMPLETE)


async def test_an_input_may_be_left_unread_and_opened_again(pod):
    pipe = await filled(pod, "in", DATA)
    async with living(pod, "--input=in") as ends:
        assert await in_thread(read, pipe, 10) == DATA[:10]
        assert await in_thread(read, pipe, 10) == DATA[10:20]
        pod.ended(0)
    assert ends == [podlife.Life("done")]


async def test_a_main_that_failed_fails_its_outputs(pod, caplog):
    """Also one that it had closed a moment ago; the pump itself has not failed."""
    pipes = [pod.buffer(name, name) for name in ("half", "never")]
    async with living(pod, "--output=half", "--output=never") as ends:
        await in_thread(write, pipes[0], b"half")
        pod.ended(7)
    assert ends == [podlife.Life("done")]
    assert [pod.stored(name)[1] for name in ("half", "never")] == [FAILED, FAILED]
    assert "Main exited with code 7" in caplog.text


async def test_a_pod_that_is_deleted_fails_its_outputs_whatever_main_says(pod):
    pipe = pod.buffer("out", "out")
    async with living(pod, "--output=out") as ends:
        await in_thread(write, pipe, b"all")
        pod.api.deleted = True
        pod.ended(0)
    assert ends == [podlife.Life("done")]
    assert pod.stored("out")[1] == FAILED


async def test_an_output_that_main_outlives_is_complete(pod, monkeypatch):
    monkeypatch.setattr(pumppod, "SLOW_SETTLE", 0.05)
    pipe = pod.buffer("out", "out")
    async with living(pod, "--output=out", "-f", "1ms") as ends:
        await in_thread(write, pipe, b"all")
        await in_thread(pod.server.wait, lambda: ".bufferend" in pod.server.containers["out"])
        assert pod.stored("out") == (b"all", COMPLETE)
        pod.ended(1)
    assert ends == [podlife.Life("done")]


async def test_no_verdict_is_given_while_it_is_not_known_how_main_ended(pod, monkeypatch):
    monkeypatch.setattr(pumppod, "SLOW_SETTLE", 0.05)
    pod.api.refusals = [503] * 3  # some 0.35 s
    pipe = pod.buffer("out", "out")
    async with living(pod, "--output=out"):
        pod.ended(9)
        await in_thread(write, pipe, b"half")
    assert pod.stored("out")[1] == FAILED


async def test_a_main_that_is_seen_need_not_be_waited_for_so_long(pod, monkeypatch):
    """Where processes can be seen, the verdict is a supervisor's, and as fast."""
    monkeypatch.setattr(podmates, "main_lives", lambda: True)
    monkeypatch.setattr(ending, "SETTLE", 0.05)
    monkeypatch.setattr(pumppod, "SLOW_SETTLE", 60.0)
    pipe = pod.buffer("out", "out")
    async with living(pod, "--output=out"):
        await in_thread(write, pipe, b"all")
        await in_thread(pod.server.wait, lambda: ".bufferend" in pod.server.containers["out"])
        pod.ended(1)
    assert pod.stored("out") == (b"all", COMPLETE)


async def test_a_main_that_is_seen_to_have_ended_is_heard_of_however_late(pod, monkeypatch):
    """A busy kubelet may take its time: what a crash has cut is not whole."""
    looks = []

    def look():
        looks.append(trio.current_time())
        if len(looks) == 10:
            pod.ended(9)
        return False

    monkeypatch.setattr(podmates, "main_lives", look)
    monkeypatch.setattr(ending, "SETTLE", 0.01)
    pipe = pod.buffer("out", "out")
    async with living(pod, "--output=out"):
        await in_thread(write, pipe, b"half")
    assert len(looks) >= 10
    assert pod.stored("out")[1] == FAILED


@pytest.mark.parametrize("settle", [0.05, 5.0])
async def test_a_second_writer_fails_the_run(pod, monkeypatch, settle):
    monkeypatch.setattr(pumppod, "SLOW_SETTLE", settle)
    pipe = pod.buffer("out", "out")
    async with living(pod, "--output=out") as ends:
        await in_thread(write, pipe, b"one")
        await in_thread(pod.server.wait, lambda: "00/000" in pod.server.containers["out"])
        if settle < 1:
            await in_thread(pod.server.wait, lambda: ".bufferend" in pod.server.containers["out"])
        await in_thread(write, pipe, b"two")
    [end] = ends
    assert end.stage == "failed"
    assert end.reason.startswith("buffer 'out': the job wrote to its pipe again")


async def test_a_file_in_the_place_of_a_pipe(pod):
    pipe = pod.buffer("out", "out")
    async with living(pod, "--output=out") as ends:
        await in_thread(pod.server.wait, lambda: ".bufferstart" in pod.server.containers["out"])
        os.unlink(pipe)
        write(pipe, b"lost")
        pod.ended(0)
    assert ends[0].reason.startswith("buffer 'out': the job has put a file in the place of its pipe")
    assert pod.stored("out")[1] == FAILED


async def test_an_input_that_fails_fails_the_run_and_all_outputs(pod):
    pod.buffer("in", "in", "reader")
    pod.server.containers.pop("in")
    pipes = [str(pod.path / "fifos/in"), pod.buffer("out", "out")]
    async with living(pod, "--input=in", "--output=out") as ends, trio.open_nursery() as nursery:
        nursery.start_soon(in_thread, read, pipes[0])
    assert ends == [podlife.Life("failed", "buffer 'in': the buffer does not exist")]
    assert pod.stored("out")[1] == FAILED


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--input=gone"], "buffer 'gone': .*/access/gone is not an access URL, and as a file it cannot"),
        (["--socket=80:nothing:"], "socket 80: cannot open .*/fifos/nothing: No such file"),
    ],
)
async def test_what_is_missing_is_named(pod, argv, words):
    with pytest.raises(errors.Problem, match=words):
        await pod.live(*argv)


async def test_a_pipe_that_is_none(pod):
    pod.buffer("out", "out")
    os.unlink(pod.path / "fifos/out")
    (pod.path / "fifos/out").write_text("a file")
    assert "is not a named pipe" in (await pod.live("--output=out")).reason


# --- sockets ---------------------------------------------------------------------------------------------


class Echo(threading.Thread):
    """A main that listens on a port, and sends back what it gets from one connection."""

    def __init__(self):
        super().__init__()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        peer, _ = self.listener.accept()
        with peer:
            while data := peer.recv(65536):
                peer.sendall(data)
        self.listener.close()


@pytest.fixture
def echo():
    made = Echo()
    yield made
    if made.is_alive():
        socket.create_connection(("127.0.0.1", made.port)).close()
        made.join()
    made.listener.close()


async def test_a_socket_that_was_served_ends_the_run_while_main_goes_on(pod, echo, monkeypatch):
    monkeypatch.setattr(pumppod, "SLOW_SETTLE", 0.05)
    await filled(pod, "in", DATA)
    pod.buffer("out", "out")
    echo.start()
    end = await pod.live("--input=in", "--output=out", f"--socket={echo.port}:in:out")
    assert end == podlife.Life("served")
    assert pod.stored("out") == (DATA, COMPLETE)


async def test_a_main_that_never_listened(pod):
    pod.buffer("out", "out")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        pod.ended(0)
        end = await pod.live("--output=out", f"--socket={port}::out")
    assert end.reason == f"socket {port}: main ended, and nobody had listened on port {port}"
    assert pod.stored("out")[1] == FAILED


# --- the program, and its lives --------------------------------------------------------------------------


def finish(process):
    out, err = process.communicate(timeout=60)
    assert out == ""
    return process.returncode, err


def begun(pod, container):
    pod.server.wait(lambda: ".bufferstart" in pod.server.containers[container])


async def test_a_life_of_the_program(pod):
    pipe = pod.buffer("out", "out")
    with pod.start("--output=out") as process:
        write(pipe, b"all")
        pod.api.main = 0
        process.terminate()
        code, err = finish(process)
    assert (code, pod.stored("out")) == (0, (b"all", COMPLETE))
    assert "wrote 3 bytes to buffer out" in err
    assert not (pod.path / "last-words").exists()
    with pod.start("--output=out") as process:  # which no kubelet would do
        assert finish(process) == (0, "")


async def test_a_pump_that_was_killed_fails_the_run_in_its_next_life(pod):
    pipe = pod.buffer("out", "out")
    pod.buffer("never", "never")
    with pod.start("--output=out", "--output=never", "-f", "1ms") as process:
        write(pipe, b"half")
        begun(pod, "never")
        pod.server.wait(lambda: "00/000" in pod.server.containers["out"])
        process.kill()
        finish(process)
    with pod.start("--output=out", "--output=never") as process:
        code, err = finish(process)
    assert (code, (pod.path / "last-words").read_text()) == (1, podlife.LOST)
    assert podlife.LOST in err
    assert [pod.stored(name)[1] for name in ("out", "never")] == [FAILED, FAILED]


async def test_a_second_life_trusts_whom_the_first_did(tmp_path):
    """A store whose certificate is in the pod's secret."""
    for name in ("api", "tls"):
        (tmp_path / name).mkdir()
    certificate = pathlib.Path(certificates.make(tmp_path / "tls"))
    tls = certificates.server_context(str(certificate))
    with podapi.PodApi(tmp_path / "api") as api, blobserver.BlobServer(tls=tls, tcp=True) as server:
        pod = Pod(tmp_path, server, api)
        (tmp_path / "access/ca.pem").write_bytes(certificate.read_bytes())
        pipe = pod.buffer("out", "out")
        for _ in range(2):
            with pod.start("--output=out", "-f", "1ms") as process:
                if ".bufferstart" not in server.containers["out"]:
                    write(pipe, b"half")
                    begun(pod, "out")
                    process.kill()
                finish(process)
        assert pod.stored("out")[1] == FAILED


async def test_a_failure_is_its_last_word_in_every_life(pod):
    pod.buffer("out", "nobodys")
    pod.server.containers.pop("nobodys")
    for _ in range(2):
        with pod.start("--output=out") as process:
            code, err = finish(process)
        assert (code, err.count("the buffer does not exist") > 0) == (1, True)
        assert (pod.path / "last-words").read_text() == "buffer 'out': the buffer does not exist"


async def test_one_that_has_served_waits_for_the_end_of_its_pod(pod):
    podlife.Lives(str(pod.path / "state"), "").end(podlife.Life("served"))
    with pod.start("--socket=80::") as process:
        assert "all sockets have been served: waiting" in process.stderr.readline()
        process.terminate()
        assert finish(process) == (0, "")


async def test_it_makes_its_pipes(pod):
    pipe = pathlib.Path(pod.buffer("out", "out"))
    pipe.unlink()
    with pod.start("--output=out") as process:
        begun(pod, "out")
        assert (pipe.is_fifo(), pipe.stat().st_mode & 0o777) == (True, 0o666)
        pod.api.main = 0
        process.terminate()
        assert finish(process)[0] == 0


async def test_pipes_that_cannot_be_made(pod):
    (pod.path / "fifos").rmdir()
    with pod.start("--output=out") as process:
        assert finish(process)[0] == 1
    said = f"cannot make the named pipe {pod.path}/fifos/out: No such file or directory"
    assert (pod.path / "last-words").read_text() == said


async def test_a_state_that_cannot_be_kept(pod):
    (pod.path / "state").rmdir()
    with pod.start() as process:
        code, err = finish(process)
    assert code == errors.CONFIG.exit_code
    assert "to keep what is under way: No such file or directory" in err
