"""The pump's program in a pod, and its lives: a kubelet starts it again."""

import pathlib

import pytest

from tests.support import blobserver, certificates, podapi, pumppods
from tyger import errors
from tygerd.streams import podlife, pumppod


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A second life that this process leads may take its time."""
    monkeypatch.setattr(pumppod, "LAST_WORDS", 60.0)


async def test_a_life_of_the_program(pod):
    pipe = pod.buffer("out", "out")
    with pod.start("--output=out") as process:
        pumppods.write(pipe, b"all")
        pod.api.main = 0
        process.terminate()
        code, err = pumppods.finish(process)
    assert (code, pod.stored("out")) == (0, (b"all", pumppods.COMPLETE))
    assert "wrote 3 bytes to buffer out" in err
    assert not (pod.path / "last-words").exists()
    with pod.start("--output=out") as process:  # which no kubelet would do
        assert pumppods.finish(process) == (0, "")


async def test_a_pump_that_was_killed_fails_the_run_in_its_next_life(pod, caplog):
    pipe = pod.buffer("out", "out")
    pod.buffer("never", "never")
    with pod.start("--output=out", "--output=never", "-f", "1ms") as process:
        pumppods.write(pipe, b"half")
        pod.heard("never", ".bufferstart")
        pod.heard("out", "00/000")
        process.kill()
        pumppods.finish(process)
    assert await pumppod.run(pod.options("--output=out", "--output=never")) == 1
    assert (pod.path / "last-words").read_text() == podlife.LOST
    assert podlife.LOST in caplog.text
    assert [pod.stored(name)[1] for name in ("out", "never")] == [pumppods.FAILED, pumppods.FAILED]


async def test_a_second_life_trusts_whom_the_first_did(tmp_path):
    """A store whose certificate is in the pod's secret."""
    for name in ("api", "tls"):
        (tmp_path / name).mkdir()
    certificate = pathlib.Path(certificates.make(tmp_path / "tls"))
    tls = certificates.server_context(str(certificate))
    with podapi.PodApi(tmp_path / "api") as api, blobserver.BlobServer(tls=tls, tcp=True) as server:
        pod = pumppods.Pod(tmp_path, server, api)
        (tmp_path / "access/ca.pem").write_bytes(certificate.read_bytes())
        pipe = pod.buffer("out", "out")
        with pod.start("--output=out", "-f", "1ms") as process:
            pumppods.write(pipe, b"half")
            pod.heard("out", ".bufferstart")
            process.kill()
            pumppods.finish(process)
        assert await pumppod.run(pod.options("--output=out")) == 1
        assert pod.stored("out")[1] == pumppods.FAILED


async def test_a_failure_is_its_last_word_in_every_life(pod):
    pod.buffer("out", "nobodys")
    pod.server.containers.pop("nobodys")
    for _ in range(2):
        with pod.start("--output=out") as process:
            code, err = pumppods.finish(process)
        assert (code, err.count("the buffer does not exist") > 0) == (1, True)
        assert (pod.path / "last-words").read_text() == "buffer 'out': the buffer does not exist"


async def test_one_that_has_served_waits_for_the_end_of_its_pod(pod):
    podlife.Lives(str(pod.path / "state"), "").end(podlife.Life("served"))
    with pod.start("--socket=80::") as process:
        assert "all sockets have been served: waiting" in process.stderr.readline()
        process.terminate()
        assert pumppods.finish(process) == (0, "")


async def test_it_makes_its_pipes(pod):
    pipe = pathlib.Path(pod.buffer("out", "out"))
    pipe.unlink()
    with pod.start("--output=out") as process:
        pod.heard("out", ".bufferstart")
        assert (pipe.is_fifo(), pipe.stat().st_mode & 0o777) == (True, 0o666)
        pod.api.main = 0
        process.terminate()
        assert pumppods.finish(process)[0] == 0


async def test_pipes_that_cannot_be_made(pod):
    (pod.path / "fifos").rmdir()
    with pod.start("--output=out") as process:
        assert pumppods.finish(process)[0] == 1
    said = f"cannot make the named pipe {pod.path}/fifos/out: No such file or directory"
    assert (pod.path / "last-words").read_text() == said


async def test_a_state_that_cannot_be_kept(pod):
    (pod.path / "state").rmdir()
    with pod.start() as process:
        code, err = pumppods.finish(process)
    assert code == errors.CONFIG.exit_code
    assert "to keep what is under way: No such file or directory" in err
