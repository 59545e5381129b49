"""Access URLs of pods, which expire while a job is at work, and whose daemon is another one by then.

It takes some minutes: `pytest -m long tests/cluster/test_access_urls.py`.
"""

import time

import pytest

from tests.support import certificates, freeport, pods

pytestmark = pytest.mark.long

TTL = "00:00:30"
"""The shortest that there is."""

WRITES = "for i in $(seq 50); do echo $i; sleep 1; done >$OUT_PIPE"
WRITTEN = "".join(f"{number}\n" for number in range(1, 51)).encode()


@pytest.fixture
def host(cluster, namespace, pump_image, tmp_path):
    """A daemon whose data plane stays where it is, with a certificate that was given."""
    assert pump_image
    files = certificates.signed(tmp_path, addresses=[cluster.host])
    with freeport.freeport() as port:
        place = f'[store.local]\nlisten = "{cluster.host}:{port}"\n'
        place += f'certificate = "{files[0]}"\nkey = "{files[1]}"\n'
        given = pods.CONFIG
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(pods, "CONFIG", given.replace('[store.local]\nlisten = "{host}:0"\n', place))
            with pods.host(cluster, namespace) as made:
                made.files = files
                yield made


def test_they_expire_while_a_job_writes(host):
    """Twice, with a daemon that was away when they had to be replaced, and another certificate."""
    run = host.create(WRITES, outputs=["out"], bufferAccessTtl=TTL)
    running(host, run)
    time.sleep(8)
    host.daemon.kill()
    renewed = host.daemon.path / "renewed"
    renewed.mkdir()
    for old, new in zip(host.files, certificates.signed(renewed, addresses=[host.cluster.host]), strict=True):
        with open(new, "rb") as source, open(old, "wb") as target:
            target.write(source.read())
    time.sleep(25)  # what the pod has has expired by now
    host.daemon.start()
    host.ends(run)
    buffer = host.show(run)["job"]["buffers"]["out"]
    done = host.commands.run("buffer", "read", buffer)
    assert (done.returncode, done.stdout) == (0, WRITTEN), done.stderr
    host.clean()


def running(host, run):
    """Until its job runs."""
    while host.show(run)["status"] == "Pending":
        time.sleep(0.1)
