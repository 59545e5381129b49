"""A real container's life, as the kernel sees it."""

from __future__ import annotations

import os
import select

from tests.support import podman as podman_support
from tygerd.supervisor import lifeline


def test_a_container(podman):
    container = podman.cli("run", "--detach", "--rm", podman_support.BUSYBOX, "sleep", "600")
    pid = int(podman.cli("inspect", "--format", "{{.State.Pid}}", container))
    line, own = lifeline.Lifeline(pid, container), os.pidfd_open(pid)
    assert not line.cut
    podman.cli("kill", container)
    assert select.select([own], [], [], 60)[0]
    assert line.cut
    os.close(own)
    line.close()
    line.close()


def test_a_stranger_tells_nothing():
    child = os.posix_spawn("/bin/true", ["true"], {})
    line = lifeline.Lifeline(child, "0123456789abcdef")
    os.waitpid(child, 0)
    assert not line.cut
    line.close()


def test_nobody():
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    line = lifeline.Lifeline(child, "0123456789abcdef")
    assert not line.cut
    line.close()
