"""What is in the pump's image: this interpreter, and of modules and libraries what the pump loads.

Nothing is downloaded, and nothing is run but the interpreter: it imports the pump, and says what that took.
Libraries are those that the loader finds here (`ldd`), so the image is for machines as this one.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator

from archive import Entry

ROOTS = ["tygerd.__main__", "tygerd.streams.pump", "tygerd.streams.pumpprepare"]
ROOTS += ["tygerd.streams.pumpready", "tygerd.supervisor.sockets"]
"""All that the pump may import of ours, as late as it may; each with what it imports."""

LATE = [
    *(
        "encodings.ascii",
        "encodings.idna",
        "encodings.latin_1",
        "encodings.utf_8",
        "stringprep",
        "unicodedata",
    ),
    *("_strptime", "locale", "traceback", "linecache"),
]
"""What the standard library imports only when it needs it: for the names of hosts, dates, errors."""

LIBRARY = f"usr/{sys.platlibdir}/python{sys.version_info.major}.{sys.version_info.minor}"
"""Everything that is imported, ours and the standard library, is here: there is no path to search."""

USER = 65532
"""Nobody, by the custom of images that have no users."""

CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"

BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Where systems keep the public authorities."""

ENV = ["PATH=/usr/bin", f"SSL_CERT_FILE=/{CERTIFICATES}", "LANG=C.UTF-8"]

# -I: nothing in the environment or the working directory decides what is imported; -S: nor does `site`.
START = b"#!/usr/bin/python3 -IS\nfrom tygerd.__main__ import program\nprogram()\n"

_ASK = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
found = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
print(json.dumps({name: file for name, file in found.items() if file and name != "__main__"}))
"""


class Failed(Exception):  # noqa: N818 - said to a person as it is
    """The image cannot be made, in words."""


def entries(root: pathlib.Path) -> list[Entry]:
    """Everything in the image. `root` is our checkout.

    Raises:
        Failed: something that it needs is not here.
    """
    interpreter = os.path.realpath(sys.executable)
    modules = _modules(root)
    objects = {file for file in modules.values() if not file.endswith(".py")}
    lanes = root / "tygerd/blocks/libmd5lanes.so"
    made = [
        Entry("usr/bin/tygerd", START, 0o755),
        Entry("usr/bin/python3", _stripped(interpreter), 0o755),
        Entry(f"{LIBRARY}/lib-dynload"),  # a mark: without it the interpreter does not believe where it is
        Entry(CERTIFICATES, _bundle()),
        Entry("etc/passwd", f"nobody:x:{USER}:{USER}:::\n".encode()),
        Entry("etc/nsswitch.conf", b"hosts: files dns\n"),
        Entry("tmp", mode=0o1777),
    ]
    if lanes.exists():
        made.append(Entry(f"{LIBRARY}/tygerd/blocks/{lanes.name}", _stripped(str(lanes)), 0o755))
        objects.add(str(lanes))
    made += _imported(modules)
    made += _libraries([interpreter, *objects])
    return made


def _modules(root: pathlib.Path) -> dict[str, str]:
    """The file of every module that the pump may load, by the module's name."""
    argv = [sys.executable, "-S", "-c", _ASK, *ROOTS, *LATE]
    path = [str(root), *(place for place in sys.path if place.endswith(("site-packages", "dist-packages")))]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"the pump cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _imported(modules: dict[str, str]) -> Iterator[Entry]:
    for name, file in modules.items():
        place = name.replace(".", "/")
        if not file.endswith(".py"):
            place = os.path.join(os.path.dirname(place), os.path.basename(file))
            yield Entry(f"{LIBRARY}/{place}", _stripped(file), 0o755)
            continue
        if os.path.basename(file) == "__init__.py":
            place += "/__init__"
        yield Entry(f"{LIBRARY}/{place}.pyc", _compiled(file, f"/{LIBRARY}/{place}.py"))


def _compiled(file: str, shown: str) -> bytes:
    """Bytecode without docstrings (PEP 552: with no source to compare); tracebacks show `shown`."""
    code = compile(pathlib.Path(file).read_bytes(), shown, "exec", dont_inherit=True, optimize=2)
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)


def _libraries(objects: Iterable[str]) -> list[Entry]:
    """The shared libraries of these, and the loader; where a loader looks without being told."""
    found: dict[str, str] = {}
    for path in sorted(objects):
        done = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
        if "not found" in done.stdout:
            raise Failed(f"{path} lacks a library: {done.stdout.strip()}")
        for name, place in re.findall(r"^\s*(?:(\S+) => )?(/\S+) \(", done.stdout, re.MULTILINE):
            found[name or place] = place
    libc = next((place for name, place in found.items() if name.startswith("libc.so")), None)
    if libc is None:
        raise Failed("the C library cannot be found with ldd")
    usual = os.path.dirname(libc)
    return [
        Entry(
            (name if name.startswith("/") else os.path.join(usual, name)).lstrip("/"),
            _stripped(os.path.realpath(place)),
            0o755,
        )
        for name, place in found.items()
    ]


def _stripped(path: str) -> bytes:
    """A program or library without the symbols that only a debugger reads, where there is a `strip`."""
    data = pathlib.Path(path).read_bytes()
    if not data.startswith(b"\x7fELF"):
        raise Failed(f"{path} is no program")
    if (strip := shutil.which("strip")) is None:
        return data
    with tempfile.NamedTemporaryFile() as copy:
        argv = [strip, "--strip-unneeded", "-o", copy.name, path]
        done = subprocess.run(argv, capture_output=True, check=False)
        return data if done.returncode else pathlib.Path(copy.name).read_bytes()


def _bundle() -> bytes:
    """The public authorities that this system trusts."""
    for path in BUNDLES:
        if os.path.exists(path):
            return pathlib.Path(path).read_bytes()
    raise Failed("this system has no certificates of public authorities (Debian: ca-certificates)")
