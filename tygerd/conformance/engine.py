"""What every engine must do: checks that run jobs for real, given a place to run them (`Bench`).

A check raises AssertionError with what it found. Checks share nothing, and may run in any order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from tyger import errors, model, units
from tygerd import clock
from tygerd.engines import base

PATIENCE = 30.0
"""Seconds until a check gives up on a job that does next to nothing."""


class Bench(Protocol):
    """An engine that runs, and the buffers of its jobs."""

    engine: base.Engine
    image: str
    """An image that the engine can run and that has a POSIX shell, `cat` and `sleep`."""
    unknown_image: str
    """One that it can't."""

    def next_run(self) -> int:
        """A run id that was never used."""
        ...

    async def filled(self, content: bytes) -> str:
        """The id of a complete buffer with this content."""
        ...

    async def empty(self) -> str:
        """The id of a buffer that nobody has written yet."""
        ...

    async def outcome(self, buffer: str) -> tuple[str, bytes]:
        """`complete` or `failed`, and what was written; of a buffer that a job had as an output."""
        ...


Check = Callable[[Bench], Awaitable[None]]

CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Put a check on the list, under its own name."""
    CHECKS[function.__name__] = function
    return function


class Ran:
    """A job that a check runs, and everything that was observed of it."""

    def __init__(self, bench: Bench, run: int, buffers: dict[str, str]) -> None:
        self.bench = bench
        self.run = run
        self.buffers = buffers
        self.observed: list[base.Observation] = []
        self._news = trio.Event()

    async def end(self) -> base.Observation:
        """The last observation."""
        with trio.fail_after(PATIENCE):
            last = await self.bench.engine.follow(self.run, self._report)
        self._tell(last)
        return last

    async def logged(self, text: str) -> None:
        """Until the job has logged this line; while `end` runs in another task."""
        with trio.fail_after(PATIENCE):
            while text not in self.lines():
                await self._news.wait()

    async def _report(self, observation: base.Observation) -> None:
        self._tell(observation)

    def _tell(self, observation: base.Observation) -> None:
        self.observed.append(observation)
        news, self._news = self._news, trio.Event()
        news.set()

    def lines(self) -> list[str]:
        """What the job has logged, without timestamps and streams."""
        try:
            with open(self.bench.engine.log_path(self.run), encoding="utf-8") as file:
                return [line.rstrip("\n").split(" ", 2)[2] for line in file]
        except FileNotFoundError:
            return []

    async def written(self, name: str) -> tuple[str, bytes]:
        """What became of an output."""
        return await self.bench.outcome(self.buffers[name])


async def start(
    bench: Bench,
    script: str,
    *,
    inputs: dict[str, bytes] | None = None,
    outputs: tuple[str, ...] = (),
    timeout_seconds: int = 600,
    **more: object,
) -> Ran:
    """Start a shell text as a job."""
    buffers = {name: await bench.filled(content) for name, content in (inputs or {}).items()}
    buffers |= {name: await bench.empty() for name in outputs}
    codespec = model.JobCodespec(
        image=bench.image,
        command=["sh", "-c", script],
        buffers=model.BufferParameters(inputs=list(inputs or {}), outputs=list(outputs)),
        **more,  # type: ignore[arg-type] # msgspec's constructor, checked when it is called
    )
    run = bench.next_run()
    await bench.engine.check(codespec)
    job = base.Job(
        run=run,
        codespec=codespec,
        buffers=buffers,
        created_at=units.to_micros(clock.now()),
        timeout_seconds=timeout_seconds,
    )
    await bench.engine.start(job)
    return Ran(bench, run, buffers)


async def run(bench: Bench, script: str, **more: object) -> tuple[Ran, base.Observation]:
    """Run a shell text to its end."""
    ran = await start(bench, script, **more)  # type: ignore[arg-type] # as above
    return ran, await ran.end()


def expect(found: object, wanted: object) -> None:
    """Fail with both where they differ."""
    if found != wanted:
        raise AssertionError(f"found {found!r}, wanted {wanted!r}")


# --- the checks ------------------------------------------------------------------------------------------


@check
async def bytes_go_through_the_pipes(bench: Bench) -> None:
    """A job sees its buffers as named pipes."""
    content = bytes(range(256)) * 10_000
    script = 'cat "$FIRST_PIPE" "$SECOND_PIPE" > "$OUT_PIPE"'
    ran, end = await run(bench, script, inputs={"first": content, "second": b"end"}, outputs=("out",))
    expect((end.status, end.reason, end.incomplete), ("Succeeded", None, ()))
    expect(await ran.written("out"), ("complete", content + b"end"))
    if not end.started_at or not end.finished_at or end.started_at > end.finished_at:
        raise AssertionError(f"its moments are {end.started_at} and {end.finished_at}")


@check
async def pipes_may_stay_unopened(bench: Bench) -> None:
    """An output that is never opened is an empty buffer; an input is not missed."""
    ran, end = await run(bench, "exit 0", inputs={"in": b"x"}, outputs=("out",))
    expect((end.status, await ran.written("out")), ("Succeeded", ("complete", b"")))


@check
async def an_input_may_be_left_unread(bench: Bench) -> None:
    """A main that exits with 0 succeeds, whatever it has read."""
    _, end = await run(bench, 'read -r line < "$IN_PIPE"', inputs={"in": b"a\n" + bytes(5_000_000)})
    expect(end.status, "Succeeded")


@check
async def a_failing_main_fails_its_outputs(bench: Bench) -> None:
    """The exit code is in the reason, and no output of the job passes for whole."""
    ran, end = await run(bench, 'echo half > "$OUT_PIPE"; exit 7', outputs=("out",))
    expect((end.status, end.reason, end.incomplete), ("Failed", "Main exited with code 7", ("out",)))
    expect((await ran.written("out"))[0], "failed")


@check
async def a_program_that_is_not_there(bench: Bench) -> None:
    """A job that can't be started ends as failed."""
    _, end = await run(bench, "exec /no/such/program")
    expect(end.status, "Failed")


@check
async def variables_are_expanded(bench: Bench) -> None:
    """Environment, `$(VAR)`, pipes and the run's id, by Kubernetes' rules."""
    # A shell drops variables that it can't name, like MY-IN_PIPE: its own environment still has them.
    script = """
        echo "$A|$B|$TYGER_RUN_ID|$0"
        echo "$1 $2"
        tr '\\0' '\\n' < /proc/$$$$/environ | grep -c "^MY-IN_PIPE=$3"
    """
    codespec = {
        "env": {"A": "one", "B": "$(A)-$$(A)-$(C)"},
        "args": ["$(B)", "$(x y)", "$$", "$(MY-IN_PIPE)"],
    }
    ran, end = await run(bench, script, inputs={"my-in": b""}, **codespec)
    expect(end.status, "Succeeded")
    expect(ran.lines(), [f"one|one-$(A)-$(C)|{ran.run}|one-$(A)-$(C)", "$(x y) $", "1"])


@check
async def the_working_directory(bench: Bench) -> None:
    """`workingDir` is where main starts."""
    ran, _ = await run(bench, "pwd", working_dir="/usr")
    expect(ran.lines(), ["/usr"])


@check
async def home_and_temporary_files_are_its_own(bench: Bench) -> None:
    """Every job can write to its home and its temporary directory, and finds them empty."""
    script = 'cd && ls -A | wc -l && : > "$HOME/mine" && : > "${TMPDIR:-/tmp}/mine" && pwd'
    first, _ = await run(bench, script)
    second, end = await run(bench, script)
    expect((end.status, second.lines()[0], first.lines()[0]), ("Succeeded", "0", "0"))


@check
async def both_streams_are_logged(bench: Bench) -> None:
    """Lines of any length, and a last one without a newline."""
    script = "echo out; echo trouble >&2; head -c 2000000 /dev/zero | tr '\\\\0' x; echo; printf end"
    ran, end = await run(bench, script)
    expect(sorted(len(line) for line in ran.lines()), [3, 3, 7, 2_000_000])
    expect(end.log_size > 2_000_000, True)


@check
async def logs_and_states_are_reported_while_it_runs(bench: Bench) -> None:
    """Nobody has to poll."""
    ran = await start(bench, 'echo up; read -r line < "$IN_PIPE"; sleep 600', inputs={"in": b"go\n"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_up, ran)
        await ran.end()
    expect("Running" in [observation.status for observation in ran.observed], True)


async def _cancel_when_up(ran: Ran) -> None:
    await ran.logged("up")
    await ran.bench.engine.cancel(ran.run, "Canceled by user")


@check
async def cancelling_gives_a_grace(bench: Bench) -> None:
    """TERM reaches the whole tree, and main may still say goodbye."""
    ran = await start(bench, "trap 'echo bye; exit 0' TERM; echo up; sleep 600 & wait", outputs=("out",))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_up, ran)
        end = await ran.end()
    expect((end.status, end.reason, end.incomplete), ("Canceled", "Canceled by user", ("out",)))
    expect(ran.lines(), ["up", "bye"])


@check
async def cancelling_kills_after_the_grace(bench: Bench) -> None:
    """TERM may be ignored, KILL not; nothing of the tree is left."""
    script = "trap '' TERM; (setsid sh -c 'echo up; sleep 600' &) ; while :; do sleep 600; done"
    ran = await start(bench, script)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_up, ran)
        end = await ran.end()
    expect(end.status, "Canceled")


@check
async def the_timeout_fails_the_run(bench: Bench) -> None:
    """`timeoutSeconds` counts from main's start."""
    _, end = await run(bench, "sleep 600", timeout_seconds=1)
    reason = "DeadlineExceeded: the run was active longer than its timeout of 1 seconds"
    expect((end.status, end.reason), ("Failed", reason))


@check
async def children_do_not_outlive_main(bench: Bench) -> None:
    """A run ends when main ends; what holds a pipe open is killed."""
    script = '(setsid sh -c "exec 3> $OUT_PIPE; echo a >&3; echo held; sleep 600" &); while :; do :; done'
    script = f'{script.replace("while :; do :; done", "")} read -r line < "$IN_PIPE"'
    ran, end = await run(bench, script, inputs={"in": b"go\n"}, outputs=("out",))
    expect((end.status, (await ran.written("out"))[0]), ("Succeeded", "complete"))


@check
async def following_again_tells_the_same(bench: Bench) -> None:
    """The end of a run is remembered until it is removed."""
    ran, end = await run(bench, "exit 3")
    expect(await ran.end(), end)


@check
async def another_daemon_follows_on(bench: Bench) -> None:
    """Following can be given up at any moment, and taken up again."""
    ran = await start(bench, "echo up; sleep 600")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ran.end)
        await ran.logged("up")
        nursery.cancel_scope.cancel()
    await bench.engine.cancel(ran.run, "Canceled by user")
    expect((await ran.end()).status, "Canceled")


@check
async def a_run_that_was_never_started(bench: Bench) -> None:
    """Is told from one that ended."""
    try:
        await Ran(bench, bench.next_run(), {}).end()
    except base.NeverStarted:
        return
    raise AssertionError("it was followed")


@check
async def removing_forgets(bench: Bench) -> None:
    """And may be repeated; cancelling what is gone does nothing."""
    ran, _ = await run(bench, 'mkdir -p "$HOME/a/b" && chmod 0 "$HOME/a"')
    await bench.engine.remove(ran.run)
    await bench.engine.remove(ran.run)
    await bench.engine.cancel(ran.run, "Canceled by user")
    expect(ran.lines(), [])


@check
async def an_unknown_image_is_refused_before_there_is_a_run(bench: Bench) -> None:
    """In words that say what to do."""
    try:
        await bench.engine.check(model.JobCodespec(image=bench.unknown_image, command=["true"]))
    except errors.Problem as problem:
        expect((problem.kind, bench.unknown_image in problem.message), (errors.INVALID_INPUT, True))
        return
    raise AssertionError("it was accepted")
