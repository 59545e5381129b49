"""Readiness and passed sockets, spoken with a small service manager of our own."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

from tests.support import daemon
from tygerd.osutil import systemd


@pytest.fixture
def place():
    with daemon.directory() as path:
        yield path


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(place, abstract):
    name = f"@{place}" if abstract else str(place / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        systemd.notify("READY=1", {"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", ["", "relative", "/nowhere/at/all"])
def test_no_service_manager_is_no_failure(name):
    systemd.notify("READY=1", {"NOTIFY_SOCKET": name})
    systemd.notify("READY=1", {})


def test_sockets_for_another_process_are_not_ours():
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "OTHER": "y"}
    assert systemd.passed_socket(environ) is None
    assert environ == {"OTHER": "y"}
    assert systemd.passed_socket({}) is None


def test_only_one_socket_is_taken():
    with pytest.raises(ValueError, match="passed 2 sockets"):
        systemd.passed_socket({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"})


# A process of its own, because the descriptor is number 3.
CHILD = """
import os
from tygerd.osutil import systemd
environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
try:
    with systemd.passed_socket(environ) as sock:
        print(sock.getsockname(), sock.get_inheritable())
except ValueError as error:
    print(error)
"""


def passed(number):
    def place_it():
        os.dup2(number, 3)

    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={"PYTHONPATH": str(pathlib.Path(__file__).resolve().parents[3])},
        pass_fds=[3],
        preexec_fn=place_it,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_passed_socket_is_taken(place):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(place / "s"))
        sock.listen()
        assert passed(sock.fileno()) == f"{place}/s False"


def test_what_is_no_listening_unix_socket_is_refused(place):
    with socket.socket(socket.AF_UNIX) as deaf, socket.socket(socket.AF_INET) as internet:
        internet.listen()
        for sock in (deaf, internet):
            assert "something else than a listening Unix stream socket" in passed(sock.fileno())
