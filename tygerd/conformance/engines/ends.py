"""Timeouts, cancelling at every stage, and engines that come back while a job is at work."""

from __future__ import annotations

import trio

from tygerd.conformance.engines import bench as suite
from tygerd.engines import base

# --- timeouts --------------------------------------------------------------------------------------------


@suite.check
async def the_timeout_counts_from_the_runs_creation(bench: suite.Bench) -> None:
    """Time that a run has waited is no more there for its job."""
    script = "trap '' TERM; sleep 600 & wait; wait"
    for seconds in suite.longer(bench.starts_within):
        timeout = 600 + seconds
        ran, end = await suite.run(bench, script, timeout_seconds=timeout, age=600, outputs=("out",))
        if end.started_at is not None:
            break
    reason = f"DeadlineExceeded: the run was active longer than its timeout of {timeout} seconds"
    suite.expect((end.status, end.reason, end.incomplete), ("Failed", reason, ("out",)))
    suite.expect((await ran.written("out"))[0], "failed")


@suite.check
async def a_run_may_time_out_while_it_is_pending(bench: suite.Bench) -> None:
    """Then it was canceled, and its job never ran."""
    ran, end = await suite.run(bench, "echo ran", timeout_seconds=60, age=61, outputs=("out",))
    suite.expect((end.status, end.reason), ("Canceled", "Run exceeded its timeout while pending"))
    suite.expect((end.incomplete, end.started_at, ran.lines()), (("out",), None, []))


# --- cancelling ------------------------------------------------------------------------------------------


@suite.check
async def cancelling_gives_a_grace(bench: suite.Bench) -> None:
    """TERM reaches main, which may still say goodbye."""
    ran = await suite.start(
        bench, "trap 'echo bye; exit 0' TERM; echo up; sleep 600 & wait", outputs=("out",)
    )
    end = await ran.end_cancelled_when("up")
    suite.expect((end.status, end.reason, end.incomplete), ("Canceled", "Canceled by user", ("out",)))
    suite.expect(ran.lines(), ["up", "bye"])


@suite.check
async def cancelling_kills_after_the_grace(bench: suite.Bench) -> None:
    """TERM may be ignored, KILL not; nothing of the tree is left."""
    script = "trap '' TERM; (setsid sh -c 'echo up; sleep 600' &) ; while :; do sleep 600; done"
    ran = await suite.start(bench, script)
    end = await ran.end_cancelled_when("up")
    suite.expect(end.status, "Canceled")


@suite.check
async def cancelling_at_once(bench: suite.Bench) -> None:
    """Before its job has said a word."""
    ran = await suite.start(bench, "sleep 600", inputs={"in": b"x"}, outputs=("out",))
    await ran.cancel()
    end = await ran.end()
    suite.expect((end.status, end.reason, end.incomplete), ("Canceled", "Canceled by user", ("out",)))


@suite.check
async def cancelling_twice_and_after_the_end(bench: suite.Bench) -> None:
    """The first one counts, and what has ended stays as it is."""
    ran = await suite.start(bench, "echo up; exec sleep 600")
    await ran.logs("up")
    await ran.cancel()
    await bench.engine.cancel(ran.run, "again")
    suite.expect((await ran.end()).reason, "Canceled by user")
    done, end = await suite.run(bench, "exit 5")
    await done.cancel()
    suite.expect(await done.end(), end)


@suite.check
async def cancelling_while_bytes_flow(bench: suite.Bench) -> None:
    """An output is failed, however much of it is there."""
    script = 'echo up; cat "$IN_PIPE" /dev/zero > "$OUT_PIPE"'
    ran = await suite.start(bench, script, inputs={"in": bytes(1_000_000)}, outputs=("out",))
    end = await ran.end_cancelled_when("up")
    suite.expect((end.status, end.incomplete), ("Canceled", ("out",)))
    suite.expect((await ran.written("out"))[0], "failed")


# --- engines that come back ------------------------------------------------------------------------------


@suite.check
async def following_again_tells_the_same(bench: suite.Bench) -> None:
    """The end of a run is remembered until it is removed."""
    ran, end = await suite.run(bench, "exit 3")
    suite.expect(await ran.end(), end)
    await bench.restart()
    suite.expect(await ran.end(), end)


@suite.check
async def another_task_follows_on(bench: suite.Bench) -> None:
    """Following can be given up at any moment, and taken up again."""
    ran = await suite.start(bench, "echo up; sleep 600")
    await ran.logs("up")
    await ran.cancel()
    suite.expect((await ran.end()).status, "Canceled")


@suite.check
async def another_engine_adopts_what_was_just_started(bench: suite.Bench) -> None:
    """Nothing is started twice, nothing is lost."""
    content = bytes(range(256)) * 1_000
    script = 'echo once; cat "$IN_PIPE" > "$OUT_PIPE"'
    ran = await suite.start(bench, script, inputs={"in": content}, outputs=("out",))
    await bench.restart()
    suite.expect((await bench.engine.knows(ran.run), bench.engine.has(ran.run)), (True, True))
    end = await ran.end()
    suite.expect((end.status, ran.lines()), ("Succeeded", ["once"]))
    suite.expect(await ran.written("out"), ("complete", content))


@suite.check
async def another_engine_adopts_what_runs(bench: suite.Bench) -> None:
    """Its log goes on, and it can be cancelled."""
    ran = await suite.start(bench, "trap 'echo bye; exit 0' TERM; echo up; sleep 600 & wait")
    await ran.logs("up")
    await bench.restart()
    await ran.cancel()
    await bench.restart()
    end = await ran.end()
    suite.expect((end.status, end.reason), ("Canceled", "Canceled by user"))
    suite.expect(ran.lines(), ["up", "bye"])


@suite.check
async def another_engine_learns_of_an_end_that_nobody_saw(bench: suite.Bench) -> None:
    """With its code, its log and its moments."""
    ran = await suite.start(
        bench, 'echo up; read -r line < "$IN_PIPE"; echo $line; exit 9', inputs={"in": b"x\n"}
    )
    await bench.restart()
    with trio.fail_after(suite.PATIENCE):
        while (end := await ran.end()).status == "Running":
            pass
    suite.expect((end.status, end.reason), ("Failed", "Main exited with code 9"))
    suite.expect(ran.lines(), ["up", "x"])


@suite.check
async def a_run_that_was_never_started(bench: suite.Bench) -> None:
    """Is told from one that ended; to cancel it does nothing."""
    ran = suite.Ran(bench, bench.next_run(), {})
    await ran.cancel()
    suite.expect((await bench.engine.knows(ran.run), bench.engine.has(ran.run)), (False, False))
    try:
        await ran.end()
    except base.NeverStarted:
        return
    raise AssertionError("it was followed")


@suite.check
async def removing_forgets(bench: suite.Bench) -> None:
    """And may be repeated; cancelling what is gone does nothing."""
    ran, _ = await suite.run(bench, 'mkdir -p "$HOME/a/b" && chmod 0 "$HOME/a"')
    await bench.engine.remove(ran.run)
    await bench.engine.remove(ran.run)
    await ran.cancel()
    suite.expect((ran.lines(), bench.engine.has(ran.run)), ([], False))
