"""Images that cannot be pulled, through the installed commands: one line, what to do, a code of its own."""

from __future__ import annotations

import base64
import json
import pathlib
from collections.abc import Iterator

import pytest

from tests.support import commands, containers, registry
from tests.support import podman as podman_support


@pytest.fixture(scope="module")
def host(podman: podman_support.Podman) -> Iterator[containers.Host]:
    """A daemon that all share: nothing here makes a run."""
    with containers.host(podman) as it:
        yield it


def pull(host: containers.Host, image: str) -> tuple[int, str]:
    """How a run of this image ends that asks for it to be pulled, and what is said."""
    file = host.run_file("true", image=image, inputs=(), outputs=())
    before = host.commands.run("run", "list", "--limit", 1).stdout
    done = host.commands.run("run", "exec", "-f", file, "--pull")
    assert host.commands.run("run", "list", "--limit", 1).stdout == before
    return done.returncode, commands.complaint(done)


@pytest.mark.parametrize(
    ("status", "word", "code", "said"),
    [
        (404, "MANIFEST_UNKNOWN", 65, "has no such image"),
        (403, "DENIED", 77, "sign in with podman login 127.0.0.1"),
        (429, "TOOMANYREQUESTS", 75, "wait and try again"),
        (503, "UNAVAILABLE", 69, "cannot be reached"),
    ],
)
def test_a_registry_that_refuses(host: containers.Host, status: int, word: str, code: int, said: str) -> None:
    with registry.refuse(status, word) as place:
        returned, line = pull(host, f"{place}/busybox:1")
    assert (returned, said in line) == (code, True), line
    assert f"cannot pull the image '{place}/busybox:1': " in line


def test_a_registry_that_nobody_knows(host: containers.Host) -> None:
    code, line = pull(host, "no-such-host.invalid/busybox:1")
    assert code == 69
    assert "the registry no-such-host.invalid cannot be reached" in line


def test_an_image_that_asks_for_credentials(
    host: containers.Host, podman: podman_support.Podman, tmp_path: pathlib.Path
) -> None:
    account = f"{registry.USER}:{registry.PASSWORD}"
    with registry.serve(tmp_path, password=True) as place:
        image = f"{place}/busybox:1"
        podman.cli("push", "--quiet", f"--creds={account}", podman_support.BUSYBOX, image)
        code, line = pull(host, image)
        assert code == 77
        assert f"sign in with podman login {place}" in line
        auth = tmp_path / "auth.json"
        entry = {"auth": base64.b64encode(account.encode()).decode()}
        auth.write_text(json.dumps({"auths": {place: entry}}))
        with containers.host(podman, config=f'auth_file = "{auth}"\n') as signed_in:
            file = signed_in.run_file("true", image=image, inputs=(), outputs=())
            done = signed_in.commands.run("run", "exec", "-f", file, "--pull")
            assert done.returncode == 0, done.stderr
        podman.cli("rmi", image)
