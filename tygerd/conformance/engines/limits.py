"""Limits of memory and processor time, for engines that enforce them."""

from __future__ import annotations

from tyger import model
from tygerd.conformance.engines import bench as suite


def _limits(**amounts: str) -> model.Resources:
    return model.Resources(limits=model.Overcommittable(**amounts))


@suite.check
async def memory_is_limited_and_its_lack_is_named(bench: suite.Bench) -> None:
    """A job that takes more is killed, and the reason is not just a number."""
    if not bench.engine.traits.limits:
        return
    script = 'echo half > "$OUT_PIPE"; exec dd if=/dev/zero of=/dev/null bs=200M count=1'
    _, end = await suite.run(bench, script, outputs=("out",), resources=_limits(memory="48Mi"))
    suite.expect((end.status, end.incomplete), ("Failed", ("out",)))
    suite.expect_in("out of memory", end.reason)


@suite.check
async def a_job_within_its_limits(bench: suite.Bench) -> None:
    """Is not disturbed."""
    if not bench.engine.traits.limits:
        return
    ran, end = await suite.run(bench, "seq 1000 | tail -n 1", resources=_limits(memory="64Mi", cpu="1"))
    suite.expect((end.status, end.reason, ran.lines()), ("Succeeded", None, ["1000"]))


@suite.check
async def processor_time_is_limited(bench: suite.Bench) -> None:
    """A fifth of a processor needs a while for a third of a second's work."""
    if not bench.engine.traits.limits:
        return
    # Clock ticks (1/100 s) of this process, user and system; then moments of the boot clock.
    script = """
        read -r before _ < /proc/uptime
        while read -r _ _ _ _ _ _ _ _ _ _ _ _ _ user system _ < /proc/self/stat
              [ $((user + system)) -lt 30 ]; do i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); done; done
        read -r after _ < /proc/uptime
        echo $before $after
    """
    ran, end = await suite.run(bench, script, resources=_limits(cpu="200m"))
    suite.expect(end.status, "Succeeded")
    before, after = map(float, ran.lines()[0].split())
    if after - before < 0.9:
        raise AssertionError(f"0.3 s of work took {after - before:.2f} s, with a fifth of a processor")
