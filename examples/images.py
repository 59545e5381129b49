"""The demo's container images, made of this host's own programs and the files that they load.

Nothing is pulled. Where a registry is at hand the same names may as well be pulled or built (`mrd-recon.yml`
says how): a run sees no difference. The engine is any that speaks the Docker API on a Unix socket. Standard
library only.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import urllib.parse
from collections.abc import Iterable
from typing import NamedTuple

FFMPEG = "quay.io/linuxserver.io/ffmpeg"
MRD = "localhost/mrd-python:2"

LEFT_OUT = {"__pycache__", "site-packages", "test", "tests", "idlelib", "lib2to3", "ensurepip", "turtledemo"}
"""Directories of Python that no job of the demo needs."""


class ImageError(Exception):
    """An image could not be made; the text is one line for the user."""


class Image(NamedTuple):
    """Files of this host by their path in the image, and what it says of itself in a Dockerfile's words."""

    files: dict[str, pathlib.Path]
    changes: list[str]


class Engine(http.client.HTTPConnection):
    """One connection to a container engine's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=300)
        self.path = path

    def connect(self) -> None:
        """See `HTTPConnection`."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def has(self, image: str) -> bool:
        """Whether an image is there."""
        self.request("GET", f"/images/{image}/json")
        with self.getresponse() as answer:
            answer.read()
            return answer.status == 200

    def load(self, name: str, image: Image) -> None:
        """Make an image of files."""
        # The tag is in `repo`: Podman 4.3 knows of no parameter `tag` here.
        query = [("fromSrc", "-"), ("repo", name), *(("changes", one) for one in image.changes)]
        reader, writer = os.pipe()
        packer = threading.Thread(target=pack, args=(image.files, writer))
        packer.start()
        with open(reader, "rb") as body:
            try:
                self.request(
                    "POST",
                    "/images/create?" + urllib.parse.urlencode(query),
                    body=body,
                    headers={"Content-Type": "application/x-tar"},
                    encode_chunked=True,
                )
                with self.getresponse() as answer:
                    said = answer.read().decode(errors="replace")
            except OSError as error:
                raise ImageError(f"cannot make the image {name}: {error}") from error
        packer.join()
        if answer.status >= 300 or '"error"' in said:
            raise ImageError(f"cannot make the image {name}: {said.strip()}")


def pack(files: dict[str, pathlib.Path], writer: int) -> None:
    """Write a root file system as a tar stream. Nobody reads it any more: the reader knows why."""
    made = {""}
    try:
        with open(writer, "wb") as out, tarfile.open(fileobj=out, mode="w|") as tar:
            for path, source in sorted(files.items()):
                for parent in reversed(pathlib.PurePosixPath(path).parents):
                    if (name := str(parent).strip("/")) not in made:
                        made.add(name)
                        entry = tarfile.TarInfo(name)
                        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                        tar.addfile(entry)
                entry = tar.gettarinfo(source.resolve(), path.strip("/"))
                entry.uid = entry.gid = 0
                entry.uname = entry.gname = ""
                with source.resolve().open("rb") as file:
                    tar.addfile(entry, file)
            for name in ("tmp", "dev", "proc", "sys", "run", "etc", "var/tmp"):
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("tmp") else 0o755
                tar.addfile(entry)
    except BrokenPipeError:
        pass


def libraries(programs: Iterable[pathlib.Path]) -> dict[str, pathlib.Path]:
    """The shared libraries that programs load, and their loader."""
    found = {}
    for program in programs:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for path in re.findall(r"(/\S+) \(0x", listed):
            found[os.path.normpath(path)] = pathlib.Path(path)
    return found


def ffmpeg() -> Image:
    """This host's ffmpeg."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise ImageError("ffmpeg is missing; on Debian: apt-get install ffmpeg")
    files = {"/usr/bin/ffmpeg": pathlib.Path(program), **libraries([pathlib.Path(program)])}
    return Image(files, ['ENTRYPOINT ["/usr/bin/ffmpeg"]'])


def mrd() -> Image:
    """This Python with mrd-python in it, as an image of python has it: below /usr/local."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = pathlib.Path(sys.executable).resolve()
    library = pathlib.Path(os.__file__).parent
    files = {f"/usr/local/bin/{name}": program for name in ("python", "python3", version)}
    files |= _tree(library, f"/usr/local/lib/{version}", LEFT_OUT)
    for name in ("mrd", "numpy", "PIL"):
        package = importlib.util.find_spec(name)
        if package is None or package.origin is None:
            raise ImageError(f"{name} is missing; ./just setup installs it")
        site = pathlib.Path(package.origin).parents[1]
        for part in (name, f"{name}.libs", "pillow.libs"):
            files |= _tree(site / part, f"/usr/local/lib/{version}/site-packages/{part}", {"__pycache__"})
    # Packages bring most of their libraries along and find them by themselves; the rest may be anywhere.
    wanted = libraries([program, *(path for path in files.values() if path.suffix == ".so")])
    system = ("/lib", "/usr/lib")
    files |= {path: source for path, source in wanted.items() if path.startswith(system)}
    files |= {
        f"/usr/local/lib/{source.name}": source
        for path, source in wanted.items()
        if not path.startswith(system) and "site-packages" not in path
    }
    paths = ["ENV PATH=/usr/local/bin:/usr/bin:/bin", "ENV LD_LIBRARY_PATH=/usr/local/lib"]
    paths.append(f"ENV PYTHONPATH=/usr/local/lib/{version}/site-packages")  # Debian's looks in another place
    return Image(files, [*paths, 'CMD ["python3"]'])


def _tree(source: pathlib.Path, target: str, left_out: set[str]) -> dict[str, pathlib.Path]:
    """The files below a directory, by their path in the image."""
    return {
        f"{target}/{path.relative_to(source)}": path
        for path in source.rglob("*")
        if path.is_file() and not left_out & set(path.relative_to(source).parts)
    }
