"""Jobs in containers that are up to no good, through the installed commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import containers


@pytest.fixture(scope="module")
def host(podman) -> Iterator[containers.Host]:
    with containers.host(podman) as made:
        yield made


HOSTILE = """
rm -f $IN_PIPE $OUT_PIPE
chmod 0 $OUT_PIPE
echo x > /run/secrets/$TYGER_RUN_ID/pipes/file
cat $IN_PIPE > $OUT_PIPE
"""


def test_a_job_does_nothing_to_its_pipes_but_read_and_write(host):
    """Its user is root, to whom they belong."""
    done = host.commands.run("run", "exec", "-f", host.run_file(HOSTILE), "--logs", input=b"data\n")
    assert (done.returncode, done.stdout) == (0, b"data\n"), done.stderr
    assert done.stderr.count(b"Read-only file system") == 4
    host.clean()


def test_a_file_in_the_place_of_a_pipe(host):
    file = host.run_file("echo result > /tmp/a && mv /tmp/a $OUT_PIPE", inputs=())
    done = host.commands.run("run", "exec", "-f", file, "--logs")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"Read-only file system" in done.stderr
    host.clean()
