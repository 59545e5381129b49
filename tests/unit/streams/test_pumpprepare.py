"""`tygerd pump prepare`: pipes that anybody may open, names that resolve in the end."""

import os
import signal
import socket
import stat
import subprocess
import sys

import pytest

from tests.house import sources
from tests.support import ending
from tygerd.streams import pumpprepare


def test_pipes_for_everybody(tmp_path):
    os.mkfifo(tmp_path / "out", 0o600)  # of an earlier attempt
    old = os.umask(0o077)
    try:
        assert pumpprepare.main(["--fifo=in", "--fifo=out", f"--fifos={tmp_path}"]) == 0
    finally:
        os.umask(old)
    for name in ("in", "out"):
        found = os.stat(tmp_path / name)
        assert (stat.S_ISFIFO(found.st_mode), stat.S_IMODE(found.st_mode)) == (True, 0o666)


def test_a_place_that_is_not_there(tmp_path, capsys):
    assert pumpprepare.main(["--fifo=in", f"--fifos={tmp_path}/nowhere"]) == 1
    said = (
        f"tygerd pump prepare: cannot make the named pipe {tmp_path}/nowhere/in: No such file or directory\n"
    )
    assert capsys.readouterr().err == said


def test_names_are_waited_for(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(pumpprepare, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(pumpprepare, "SILENT", 0.0)

    def resolve(host, *_, **__):
        asked.append(host)
        if len(asked) < 3:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [()]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert pumpprepare.main(["--host=a.b", "--host=c.d"]) == 0
    assert asked == ["a.b"] * 3 + ["c.d"]
    assert capsys.readouterr().err == "tygerd pump prepare: a.b does not resolve yet; waiting\n"


def test_usage(capsys):
    assert pumpprepare.main(["--sideways"]) == 64
    assert "--sideways" in capsys.readouterr().err
    assert pumpprepare.main(["--help"]) == 0


def test_it_can_be_stopped_and_loads_little(tmp_path):
    """The program, as a pod starts it; a name under .invalid never resolves."""
    argv = ["pump", "prepare", f"--fifos={tmp_path}", "--fifo=in", "--host=a.invalid"]
    with ending.Popen(
        [sys.executable, "-X", "importtime", "-m", "tygerd", *argv],
        env={"PYTHONPATH": str(sources.ROOT), "RES_OPTIONS": "timeout:1 attempts:1"},  # nobody may answer
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        loaded = set()
        for line in process.stderr:
            loaded.add(line.rpartition("|")[2].strip())
            if "encodings.idna" in line or "does not resolve" in line:  # it is looking the name up
                break
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert not {"trio", "msgspec", "ssl", "logging", "http.client"} & loaded


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_name_that_resolves(host):
    pumpprepare.wait_for(host)
