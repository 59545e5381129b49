"""One process that keeps others out, and one of the same user that looks at it."""

import subprocess
import sys

import pytest

USER = """
import ctypes, os, sys
from tygerd.osutil import undumpable
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(52173)
    os.setuid(52173)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as it is of a program that was started by this user
"""

KEEPER = """
if sys.argv[1] == "kept":
    undumpable.keep_out()
os.open(f"/proc/self/fd/{os.pipe()[0]}", os.O_RDONLY)  # itself it may go on as before
print("there", flush=True)
sys.stdin.read()
"""

SNOOPER = """
for name in ("environ", "maps", "fd", "root/etc"):
    try:
        path = f"/proc/{sys.argv[1]}/{name}"
        os.listdir(path) if name in ("fd", "root/etc") else open(path).read()
        print(name)
    except OSError:
        pass
"""


@pytest.mark.parametrize(("how", "seen"), [("open", "environ maps fd root/etc"), ("kept", "")])
def test_who_has_the_same_user(how, seen):
    keeper = subprocess.Popen(
        [sys.executable, "-c", USER + KEEPER, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with keeper:
        try:
            assert keeper.stdout.readline() == b"there\n"
            snooper = [sys.executable, "-c", USER + SNOOPER, str(keeper.pid)]
            found = subprocess.run(snooper, stdout=subprocess.PIPE, check=True).stdout
        finally:
            keeper.stdin.close()
    assert keeper.returncode == 0
    assert found.decode().split() == seen.split()
