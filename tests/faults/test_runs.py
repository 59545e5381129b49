"""A run whose buffers are in a storage account, over kills of the daemon and cuts of the network."""

import hashlib
import subprocess

from tests.support import producer
from tests.support.commands import HOST, run_file

MIB = 1 << 20
SIZE = 12 * MIB


def test_a_run_over_kills_and_cuts(make_cloud, tmp_path):
    """What goes in comes out, on the other side of a job that knows of nothing."""
    cloud = make_cloud(more=HOST)
    file = run_file(tmp_path, "cat $IN_PIPE > $OUT_PIPE")
    executing = cloud.streams.start(
        "run", "exec", "-f", file, "--log-level", "error", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    reading = hashlib.sha256()
    received = 0
    sent = 0
    for number, piece in enumerate(producer.pieces(1, SIZE)):
        executing.process.stdin.write(piece)
        executing.process.stdin.flush()
        sent += len(piece)
        if number % 8 == 7:
            while received < sent - 4 * MIB:  # streams are at work in both directions
                data = executing.process.stdout.read1(MIB)
                assert data, executing.said
                reading.update(data)
                received += len(data)
        if number % 16 == 8:
            cloud.daemon.restart()
        if number % 16 == 0:
            cloud.proxy.cut()
    executing.process.stdin.close()
    for data in iter(lambda: executing.process.stdout.read1(MIB), b""):
        reading.update(data)
    assert executing.wait() == 0, executing.said
    assert reading.hexdigest() == producer.digest(1, SIZE)
