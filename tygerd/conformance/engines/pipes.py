"""A job's buffers are named pipes: what goes through them, and what if the job leaves early."""

from __future__ import annotations

from tygerd.conformance.engines import bench as suite


@suite.check
async def bytes_go_through_the_pipes(bench: suite.Bench) -> None:
    """A job sees its buffers as named pipes."""
    content = bytes(range(256)) * 10_000
    script = 'test -p "$FIRST_PIPE" && cat "$FIRST_PIPE" "$SECOND_PIPE" > "$OUT_PIPE"'
    ran, end = await suite.run(bench, script, inputs={"first": content, "second": b"end"}, outputs=("out",))
    suite.expect((end.status, end.reason, end.incomplete), ("Succeeded", None, ()))
    suite.expect(await ran.written("out"), ("complete", content + b"end"))
    if not end.started_at or not end.finished_at or end.started_at > end.finished_at:
        raise AssertionError(f"its moments are {end.started_at} and {end.finished_at}")


@suite.check
async def all_pipes_flow_at_once(bench: suite.Bench) -> None:
    """No pipe waits for another one."""
    content = bytes(range(256)) * 5_000
    script = 'cat "$B_PIPE" > "$D_PIPE" & cat "$A_PIPE" > "$C_PIPE"; wait'
    ran, end = await suite.run(bench, script, inputs={"a": content, "b": content[::-1]}, outputs=("c", "d"))
    suite.expect(end.status, "Succeeded")
    suite.expect(await ran.written("c"), ("complete", content))
    suite.expect(await ran.written("d"), ("complete", content[::-1]))


@suite.check
async def pipes_may_stay_unopened(bench: suite.Bench) -> None:
    """An output that is never opened is an empty buffer; an input is not missed."""
    ran, end = await suite.run(bench, "exit 0", inputs={"in": b"x"}, outputs=("out",))
    suite.expect((end.status, await ran.written("out")), ("Succeeded", ("complete", b"")))


@suite.check
async def an_input_may_be_left_unread(bench: suite.Bench) -> None:
    """A main that exits with 0 succeeds, whatever it has read."""
    _, end = await suite.run(bench, 'read -r line < "$IN_PIPE"', inputs={"in": b"a\n" + bytes(5_000_000)})
    suite.expect(end.status, "Succeeded")


@suite.check
async def a_job_may_close_its_pipes_and_go_on(bench: suite.Bench) -> None:
    """What it wrote until then is the buffer."""
    script = 'head -c 3 < "$IN_PIPE" > "$OUT_PIPE"; sleep 0.1; echo after'
    ran, end = await suite.run(bench, script, inputs={"in": b"abc" + bytes(1_000_000)}, outputs=("out",))
    suite.expect((end.status, await ran.written("out")), ("Succeeded", ("complete", b"abc")))
    suite.expect(ran.lines(), ["after"])


@suite.check
async def a_failing_main_fails_its_outputs(bench: suite.Bench) -> None:
    """The exit code is in the reason, and no output of the job passes for whole."""
    ran, end = await suite.run(bench, 'echo half > "$OUT_PIPE"; exit 7', outputs=("out",))
    suite.expect((end.status, end.reason, end.incomplete), ("Failed", "Main exited with code 7", ("out",)))
    suite.expect((await ran.written("out"))[0], "failed")


@suite.check
async def children_do_not_outlive_main(bench: suite.Bench) -> None:
    """A run ends when main ends; what holds a pipe open is killed."""
    script = (
        '(setsid sh -c "exec 3> $OUT_PIPE; echo a >&3; echo held; sleep 600" &); read -r line < "$IN_PIPE"'
    )
    ran, end = await suite.run(bench, script, inputs={"in": b"go\n"}, outputs=("out",))
    suite.expect((end.status, (await ran.written("out"))[0]), ("Succeeded", "complete"))
