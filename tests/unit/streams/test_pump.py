"""`tygerd pump` in this process and as a program: both ways, every ending, every exit code."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest
import trio

from tests.house import sources
from tests.support import blobserver, ending
from tyger import errors
from tygerd.stores import dataplane
from tygerd.streams import pump, pumpmoves, pumpoptions

DATA = os.urandom(300_000)


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return str(path)


@pytest.fixture
def tombstone(tmp_path):
    return tmp_path / "tombstone.txt"


def options(*argv):
    return pumpoptions.parser().parse_args([str(word) for word in argv])


def write_all(path, data):
    """What a job does with its output."""
    with open(path, "wb") as file:
        file.write(data)


def read_all(path):
    """What a job does with its input."""
    with open(path, "rb", buffering=0) as file:
        return file.read()


async def in_thread(*call):
    return await trio.to_thread.run_sync(*call)


async def output(server, pipe, tmp_path, data, *more):
    """Pump a job's output; the job writes `data`, or never opens its pipe when that is None."""
    if data is None:
        await pump._pump(options("output", server.url(), "-i", pipe, "--spool", tmp_path, *more))
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_thread, write_all, pipe, data)
        await pump._pump(options("output", server.url(), "-i", pipe, "--spool", tmp_path, *more))


async def take(server, pipe, *more):
    """Pump a job's input; what the job read."""
    read = []

    async def job():
        read.append(await in_thread(read_all, pipe))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(job)
        await pump._pump(options("input", server.url(sig="reader"), "-o", pipe, *more))
    return read[0]


def stored(server):
    """The bytes of the remote buffer, from its blocks in the order of their names."""
    return b"".join(blob.data for name, blob in sorted(server.blobs.items()) if not name.startswith("."))


def spools(tmp_path):
    return [name for name in os.listdir(tmp_path) if name.startswith("tyger-pump-")]


# --- there and back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [DATA, b"x", b""])
async def test_what_goes_out_comes_in(server, pipe, tmp_path, data):
    await output(server, pipe, tmp_path, data, "-b", "64KiB", "-p", "3")
    assert stored(server) == data
    assert server.stored(".bufferend") == b'{"status":"complete"}'
    assert spools(tmp_path) == []
    assert await take(server, pipe, "-p", "3") == data


async def test_block_size_and_parallelism_are_heeded(server, pipe, tmp_path):
    await output(server, pipe, tmp_path, DATA, "-b", "10000B", "-p", "2", "-f", "0")
    sizes = [len(blob.data) for name, blob in sorted(server.blobs.items()) if name.startswith("00/")]
    assert sizes == [10_000] * 30 + [0]
    assert server.most_at_once <= 2


async def test_a_slow_data_plane_holds_the_job_back(server, pipe, tmp_path):
    """With every upload stuck, no more leaves the pipe than the spool is allowed to hold."""
    server.fault("PUT", "00/000", blobserver.SILENCE)
    writing = []
    opened = trio.Event()

    async def job():
        writing.append(await in_thread(os.open, pipe, os.O_WRONLY))
        os.set_blocking(writing[0], False)
        opened.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(job)
        nursery.start_soon(
            pump._pump,
            options("output", server.url(), "-i", pipe, "--spool", tmp_path, "-b", "4096B", "-p", "1"),
        )
        await in_thread(server.wait, lambda: server.count("PUT", ".bufferstart") == 1)
        await opened.wait()
        sent = os.write(writing[0], bytes(4096))
        await in_thread(server.wait, lambda: server.count("PUT", "00/000") == 1)  # and there it is stuck
        with trio.move_on_after(0.1):
            while True:
                with contextlib.suppress(BlockingIOError):
                    sent += os.write(writing[0], bytes(4096))
                await trio.lowlevel.checkpoint()
        os.close(writing[0])
        held = pumpmoves.SPOOL_BLOCKS + 4  # and what capture has in flight
        assert sent <= held * 4096 + 1024 * 1024  # the pipe itself
        nursery.cancel_scope.cancel()
    assert spools(tmp_path) == []


# --- a job that never opens its pipe ------------------------------------------------------------------------


async def test_an_output_that_was_never_opened_is_an_empty_buffer(server, pipe, tmp_path, tombstone, caplog):
    tombstone.write_text("tombstone")
    await output(server, pipe, tmp_path, None, "--tombstone", tombstone)
    assert server.stored("00/000") == b""
    assert server.stored(".bufferend") == b'{"status":"complete"}'
    assert "the job ended without having opened" in caplog.text


async def test_an_input_that_was_never_opened_is_left_alone(server, pipe, tombstone, caplog):
    tombstone.write_text("tombstone")
    await pump._pump(options("input", server.url(), "-o", pipe, "--tombstone", tombstone))
    assert server.seen == []
    assert "the job ended without having opened" in caplog.text


async def test_a_tombstone_does_not_end_a_pipe_that_is_open(server, pipe, tmp_path, tombstone):
    opened, go_on = trio.Event(), trio.Event()

    async def job():
        fd = await in_thread(os.open, pipe, os.O_WRONLY)
        os.write(fd, b"before")
        opened.set()
        await go_on.wait()
        os.write(fd, b", after")
        os.close(fd)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(job)
        nursery.start_soon(output, server, pipe, tmp_path, None, "--tombstone", tombstone, "-f", "1ms")
        await opened.wait()
        await in_thread(server.wait, lambda: "00/000" in server.blobs)
        tombstone.write_text("tombstone")
        go_on.set()
    assert stored(server) == b"before, after"


# --- failures --------------------------------------------------------------------------------------------


async def test_a_job_that_closes_its_input_early(server, pipe, tmp_path):
    await output(server, pipe, tmp_path, bytes(8_000_000), "-b", "1MiB")

    def job():
        with open(pipe, "rb", buffering=0) as file:
            file.read(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_thread, job)
        with pytest.raises(
            errors.Problem, match=r"the job closed .* before it had read everything"
        ) as caught:
            await pump._pump(options("input", server.url(), "-o", pipe))
    assert caught.value.kind is errors.IO_ERROR


async def test_a_job_that_reads_what_there_is_and_leaves_before_the_end_is_known(server, pipe, tmp_path):
    """It knew its data's length; that it didn't wait for the end of file is no failure."""
    await output(server, pipe, tmp_path, b"Hello")
    ends = {name: server.blobs.pop(name) for name in ("00/001", ".bufferend")}

    def job():
        with open(pipe, "rb", buffering=0) as file:
            assert file.read(5) == b"Hello"
        for name, blob in ends.items():
            server.put(name, blob.data, **blob.meta)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_thread, job)
        await pump._pump(options("input", server.url(), "-o", pipe))


async def test_a_refused_output_lets_go_of_a_job_that_has_not_opened_its_pipe(server, pipe, tmp_path):
    server.put(".bufferstart", b'{"version":"0.3.0"}')
    with pytest.raises(dataplane.ExistsError):
        await output(server, pipe, tmp_path, None)
    assert spools(tmp_path) == []


@pytest.mark.parametrize("way", ["input", "output"])
async def test_the_wrong_container(server, pipe, tmp_path, way):
    flag = ["-o", pipe] if way == "input" else ["-i", pipe, "--spool", tmp_path]
    async with trio.open_nursery() as nursery:
        if way == "input":
            nursery.start_soon(in_thread, read_all, pipe)
        with pytest.raises(dataplane.ContainerNotFoundError, match="the buffer does not exist"):
            await pump._pump(options(way, server.url("elsewhere"), *flag))


async def test_a_spool_that_cannot_be_made(server, pipe, tmp_path):
    with pytest.raises(errors.Problem, match=r"cannot make a spool in .*/missing: No such file") as caught:
        await output(server, pipe, tmp_path / "missing", None)
    assert caught.value.kind is errors.CONFIG


async def test_relays_are_not_for_this_program(pipe):
    with pytest.raises(errors.Problem, match="ephemeral buffer"):
        await pump._pump(options("input", "http+unix:///run/s:?sig=x&relay=true", "-o", pipe))


async def test_an_access_file_that_is_replaced_when_the_url_expires(server, pipe, tmp_path):
    await output(server, pipe, tmp_path, DATA, "-b", "10000B")
    file = tmp_path / "input.access"
    file.write_text(server.url(sig="short") + "\n")
    server.signatures["short"] = "r"

    def expire():
        server.wait(lambda: server.count("GET", "00/000") == 1)
        del server.signatures["short"]
        server.wait(lambda: server.count("GET", "00/001") >= 1)
        (tmp_path / "new").write_text(server.url(sig="reader"))
        (tmp_path / "new").rename(file)

    read = []

    async def job():
        read.append(await in_thread(read_all, pipe))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(job)
        nursery.start_soon(in_thread, expire)
        await pump._pump(options("input", file, "-o", pipe, "-p", "1"))
    assert read == [DATA]


# --- the program -----------------------------------------------------------------------------------------


def start(*argv):
    return ending.Popen(
        [sys.executable, "-m", "tygerd", "pump", *map(str, argv), "--log-format", "human"],
        env={"PYTHONPATH": str(sources.ROOT), "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process):
    out, err = process.communicate(timeout=60)
    assert out == b""
    return process.returncode, err.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signalled_an_output_is_failed(server, pipe, tmp_path, number):
    with (
        start("output", server.url(), "-i", pipe, "--spool", tmp_path, "-f", "1ms") as process,
        open(pipe, "wb", buffering=0) as job,
    ):
        job.write(b"half")
        server.wait(lambda: "00/000" in server.blobs)
        process.send_signal(number)
        code, err = finish(process)
    assert code == 128 + number
    assert f"{number.name}: stopping" in err
    assert server.stored(".bufferend") == b'{"status":"failed"}'
    assert spools(tmp_path) == []


def test_signalled_an_input_ends(server, pipe):
    server.put(".bufferstart", b'{"version":"0.3.0"}')
    with start("input", server.url(), "-o", pipe) as process:
        with open(pipe, "rb", buffering=0) as job:
            server.wait(lambda: server.count("GET", "00/000") > 0)
            process.terminate()
            assert job.read() == b""
        assert finish(process)[0] == 128 + signal.SIGTERM
    assert server.stored(".bufferend") is None


def test_signalled_while_the_pipe_is_not_open(server, pipe, tmp_path):
    with start("output", server.url(), "-i", pipe, "--spool", tmp_path) as process:
        server.wait(lambda: ".bufferstart" in server.blobs)
        process.terminate()
        assert finish(process)[0] == 128 + signal.SIGTERM
    assert server.stored(".bufferend") == b'{"status":"failed"}'


def test_an_error_is_one_line_and_its_exit_code(pipe):
    with start("input", "no-such-file", "-o", pipe) as process:
        code, err = finish(process)
    assert code == errors.INVALID_INPUT.exit_code
    assert err.count("\n") == 1
    assert "no-such-file is not an access URL, and as a file it cannot be read: No such file" in err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "required: input|output|pod|prepare|ready"),
        (["sideways"], "invalid choice: 'sideways'"),
        (["input", "b"], "required: -o/--output"),
        (["output", "b", "-i", "p", "-p", "0"], "the degree of parallelism (dop) must be at least 1"),
        (["output", "b", "-i", "p", "-b", "4 lightyears"], "invalid size '4 lightyears'"),
        (["output", "b", "-i", "p", "-b", "0B"], "the block size must be at least 1 byte"),
        (["output", "b", "-i", "p", "--flush-interval=-1s"], "the flush interval must not be negative"),
        (["output", "b", "-i", "p", "-f", "soon"], "invalid duration 'soon'"),
    ],
)
def test_usage(argv, words, capsys):
    assert pump.main(argv) == errors.USAGE.exit_code
    assert words in capsys.readouterr().err


def test_help(capsys):
    assert pump.main(["output", "--help"]) == 0
    assert "--flush-interval" in capsys.readouterr().out


def test_defaults():
    given = vars(options("output", "b", "-i", "p"))
    assert (given["dop"], given["block_size"], given["flush_interval"]) == (16, 4 << 20, 1.0)
    assert options("input", "b", "-o", "p").dop == 32


def test_what_is_loaded_stays_small():
    """A pod has this program alone: what it must not need, it must not load."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, tygerd.streams.pump; print(*sys.modules)"],
        env={"PYTHONPATH": str(sources.ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.split()
    parts = {name.split(".")[1] for name in loaded if name.startswith("tygerd.")}
    assert parts <= {"blocks", "clock", "logs", "osutil", "stores", "streams", "supervisor"}
    assert {name for name in loaded if name.startswith("tygerd.supervisor.")} <= {
        "tygerd.supervisor.ending",
        "tygerd.supervisor.spec",
    }
    assert not {"sqlalchemy", "alembic", "h11", "cryptography", "click", "yaml"} & set(loaded)
