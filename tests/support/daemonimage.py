"""The files of an image in which all of tygerd and tyger is: for a daemon that is a pod of a cluster.

cluster.image("localhost/tyger-test-daemon:1", daemonimage.files())   # busybox besides, for a shell
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile

from tests.support import daemon

_PACKER = """
import json, pathlib, pkgutil, sys
root = pathlib.Path(sys.argv[1])
sys.path[:0] = [str(root / "packaging/container"), str(root)]
import contents
import cryptography, encodings, requests, tyger, tygerd, urllib3

contents.ROOTS = [
    found.name
    for package in (cryptography, encodings, requests, tyger, tygerd, urllib3)  # what is imported late, too
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if found.name.rpartition(".")[2] not in ("__main__", "libmd5lanes", "mbcs", "oem")
    and not found.name.startswith(("urllib3.contrib", "urllib3.http2"))
] + ["tyger.__main__", "tygerd.__main__"]
made = {}
for number, entry in enumerate(contents.entries(root)):
    path = entry.path
    if entry.data is not None:
        (pathlib.Path(sys.argv[2]) / str(number)).write_bytes(entry.data)
        made[path] = number
print(json.dumps(made))
"""

_START = "#!/usr/bin/python3 -IS\nfrom {package}.__main__ import {function}\n{function}()\n"


def files() -> dict[str, bytes]:
    """By their paths, with no slash in front: as `packaging/container` has the pump's."""
    with tempfile.TemporaryDirectory(prefix="tyger-daemon-image-") as place:
        argv = [sys.executable, "-c", _PACKER, str(daemon.ROOT), place]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        numbers: dict[str, int] = json.loads(done.stdout)
        found = {path: pathlib.Path(place, str(number)).read_bytes() for path, number in numbers.items()}
    (library,) = [path.rpartition("/")[0] for path in found if path.endswith("/os.pyc")]
    found[f"{library}/lib-dynload/mark"] = b""  # without the directory the interpreter does not start
    for package, function in {"tyger": "main", "tygerd": "program"}.items():
        found[f"usr/bin/{package}"] = _START.format(package=package, function=function).encode()
    return found
