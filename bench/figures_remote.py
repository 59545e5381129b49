"""The figures of buffers in a storage account: rates and cost against rclone, md5sum and a minimal program.

The blob server stands in for Azure, as it is fast enough to be no measure of itself; it runs on the same
cores, so its work counts against both sides.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import cloud
import rig as rigs
import table

from tyger import units

BLOCK_SIZE = 4 * table.MIB


class _Sample:
    """Writes and reads of one site, with what they took."""

    def __init__(self, site: cloud.Site, size: int) -> None:
        self.site = site
        self.size = size

    def write(self) -> tuple[str, rigs.Ran]:
        """Write a new buffer; its id, and the time; `cpu[0]` is client and daemon."""
        rig = self.site.rig
        buffer = rig.tyger("buffer", "create", "--location", cloud.LOCATION)
        command = [rigs.TYGER, "buffer", "write", buffer, "--block-size", "4MiB"]
        return buffer, self._ours(
            lambda: rigs.pipeline(self.site.source(self.size), command, environ=rig.environ), 1
        )

    def write_and_purge(self) -> rigs.Ran:
        """Write a buffer and remove it."""
        buffer, ran = self.write()
        self.site.rig.purge(buffer)
        return ran

    def read(self, buffer: str) -> rigs.Ran:
        """Read a buffer into a pipe whose reader looks at every byte."""
        command = [rigs.TYGER, "buffer", "read", buffer]
        return self._ours(lambda: rigs.pipeline(command, ["cat"], environ=self.site.rig.environ), 0)

    def _ours(self, run: Callable[[], rigs.Ran], client: int) -> rigs.Ran:
        before = self.site.rig.cpu()
        ran = run()
        return rigs.Ran(ran.seconds, [self.site.rig.cpu() - before + ran.cpu[client]])


def write(options: table.Options) -> list[table.Row]:
    """Rate against `rclone rcat` on the same server, processor time against md5sum of the same bytes.

    The server compares the MD5s of our blocks, and has none to compare of rclone's.
    """
    rate, cost = _against_rcat(options, md5sum=True)
    return [
        table.times_as_fast("remote write, against rclone rcat", options.size, rate, 4),
        table.times_the_cost("remote write, CPU against md5sum", options.size, cost, 2),
    ]


def write_unverified(options: table.Options) -> list[table.Row]:
    """The same rate where the server hashes nothing for either."""
    rate, _ = _against_rcat(options, "-verify=false")
    return [table.times_as_fast("the same, server without -verify", options.size, rate, 4)]


def _against_rcat(options: table.Options, *flags: str, md5sum: bool = False) -> tuple[rigs.Pair, rigs.Pair]:
    """Seconds of both, and processor time of md5sum and of us; each with a server that holds nothing else."""
    rate, cost = rigs.Pair([], []), rigs.Pair([], [])
    with cloud.site(options, *flags) as site:
        sample = _Sample(site, options.size)
        source = site.source(options.size)
        program, environ = site.rclone()
        for _ in range(options.repeat):
            site.server.restart()
            target = f"bench:{site.server.renew('reference')}/blob"
            rate.reference.append(rigs.pipeline(source, [program, "rcat", target], environ=environ).seconds)
            site.server.restart()
            ours = sample.write_and_purge()
            rate.subject.append(ours.seconds)
            cost.subject.append(ours.cpu[0])
            if md5sum:
                cost.reference.append(rigs.pipeline(source, ["md5sum"]).cpu[1])
    return rate, cost


def read(options: table.Options) -> list[table.Row]:
    """Rate against `rclone cat | md5sum`, and alone; processor time against that md5sum."""
    rate, cost = rigs.Pair([], []), rigs.Pair([], [])
    with cloud.site(options) as site:
        sample = _Sample(site, options.size)
        program, environ = site.rclone()
        site.server.put(site.server.renew("reference"), "blob", site.sample, options.size)
        buffer, _ = sample.write()
        for _ in range(options.repeat):
            theirs = rigs.pipeline([program, "cat", "bench:reference/blob"], ["md5sum"], environ=environ)
            rate.reference.append(theirs.seconds)
            cost.reference.append(theirs.cpu[1])
            ours = sample.read(buffer)
            rate.subject.append(ours.seconds)
            cost.subject.append(ours.cpu[0])
    rates = [options.size / table.GIB / seconds for seconds in rate.subject]
    return [
        table.times_as_fast("remote read, against rclone cat | md5sum", options.size, rate, 1.2),
        table.at_least("remote read, verified", "", statistics.median(rates), "GiB/s", 0.9, rates),
        table.times_the_cost("remote read, CPU against md5sum", options.size, cost, 1.5),
    ]


def splice(options: table.Options) -> list[table.Row]:
    """Against the shortest program that splices to a file, hashes and PUTs; the server hashes nothing."""
    with cloud.site(options, "-verify=false") as site:
        sample = _Sample(site, options.size)
        directory = site.rig.path / "reference"
        directory.mkdir()
        program = [sys.executable, str(rigs.HERE / "reference_put.py"), str(site.server.port)]

        def reference() -> float:
            target = site.server.renew("reference")
            seconds = rigs.pipeline(site.source(options.size), [*program, target, str(directory)]).seconds
            site.server.renew("reference")
            return seconds

        pair = rigs.in_turns(options.repeat, reference, lambda: sample.write_and_purge().seconds)
    return [table.times_as_fast("remote write, against splice, hash, PUT", options.size, pair, 0.8)]


def failures(options: table.Options) -> list[table.Row]:
    """Writes and reads through 50 ms of latency with 2 % of requests refused, against none refused."""
    slow, size = ("-latency", "50ms"), options.size // 2
    writes, reads = rigs.Pair([], []), rigs.Pair([], [])
    with cloud.site(options, *slow) as good, cloud.site(options, *slow, "-fail", "0.02") as bad:
        for _ in range(options.repeat):
            for site, written, took in (
                (good, writes.reference, reads.reference),
                (bad, writes.subject, reads.subject),
            ):
                sample = _Sample(site, size)
                buffer, ran = sample.write()
                written.append(ran.seconds)
                took.append(sample.read(buffer).seconds)
                site.rig.purge(buffer)
    return [
        table.times_as_fast("remote write, 50 ms and 2 % refused", size, writes, 0.8),
        table.times_as_fast("remote read, 50 ms and 2 % refused", size, reads, 0.8),
    ]


def memory(options: table.Options) -> list[table.Row]:
    """The daemon's peak in a write and a read of each size, over what its requests under way may hold."""
    rows = []
    for size in options.memory_sizes:
        with cloud.site(options) as site:
            sample = _Sample(site, size)
            buffer, _ = sample.write()
            written = site.rig.peak_memory() / table.MIB
            sample.read(buffer)
            peak = site.rig.peak_memory() / table.MIB
            parallel = site.server.statistics().parallel
        name = f"remote peak memory, {units.format_size(size)}"
        subject = f"{written:.0f} MiB after the write; {parallel} requests at once"
        limit = 150 + parallel * BLOCK_SIZE / table.MIB
        rows.append(table.at_most(name, subject, peak, "MiB", limit, [written, peak]))
    return rows


FIGURES: dict[str, Callable[[table.Options], list[table.Row]]] = {
    "remote-write": write,
    "remote-write-unverified": write_unverified,
    "remote-read": read,
    "remote-splice": splice,
    "remote-failures": failures,
    "remote-memory": memory,
}
