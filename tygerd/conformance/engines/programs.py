"""A job's program: arguments, environment, `$(VAR)`, directories, exit codes and signals, logs."""

from __future__ import annotations

import re

import trio

from tyger import errors, model, units
from tygerd.conformance.engines import bench as suite


@suite.check
async def arguments_arrive_as_they_are(bench: suite.Bench) -> None:
    """Spaces, quotes, newlines, nothing at all, and other alphabets."""
    arguments = ["a b", "", "'\"\\", "two\nlines", "*", "naïve λ"]
    script = 'for one in "$@"; do printf "<%s>" "$one"; done; echo; echo $#'
    ran, end = await suite.run(bench, "", command=["sh", "-c", script, "zero"], args=arguments)
    suite.expect((end.status, ran.lines()), ("Succeeded", ["<a b><><'\"\\><two", "lines><*><naïve λ>", "6"]))


@suite.check
async def variables_are_expanded(bench: suite.Bench) -> None:
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
    ran, end = await suite.run(bench, script, inputs={"my-in": b""}, **codespec)
    suite.expect(end.status, "Succeeded")
    suite.expect(ran.lines(), [f"one|one-$(A)-$(C)|{ran.run}|one-$(A)-$(C)", "$(x y) $", "1"])


@suite.check
async def the_working_directory(bench: suite.Bench) -> None:
    """`workingDir` is where main starts."""
    ran, _ = await suite.run(bench, "pwd", working_dir="/etc")
    suite.expect(ran.lines(), ["/etc"])


@suite.check
async def home_and_temporary_files_are_its_own(bench: suite.Bench) -> None:
    """Every job can write to its home and its temporary directory, and finds them empty."""
    script = 'cd && ls -A | wc -l && : > "$HOME/mine" && : > "${TMPDIR:-/tmp}/mine" && pwd'
    first, _ = await suite.run(bench, script)
    second, end = await suite.run(bench, script)
    suite.expect((end.status, second.lines()[0], first.lines()[0]), ("Succeeded", "0", "0"))


@suite.check
async def shared_memory(bench: suite.Bench) -> None:
    """`resources.shm` is what `/dev/shm` takes; 64 MiB are there anyway."""
    script = (
        "dd if=/dev/zero of=/dev/shm/tyger-$TYGER_RUN_ID bs=1M count=80 && rm /dev/shm/tyger-$TYGER_RUN_ID"
    )
    _, end = await suite.run(bench, script, resources=model.Resources(shm="100Mi"))
    suite.expect((end.status, end.reason), ("Succeeded", None))


# --- ends ------------------------------------------------------------------------------------------------


@suite.check
async def a_program_that_is_not_there(bench: suite.Bench) -> None:
    """A job that can't be started ends as failed."""
    _, end = await suite.run(bench, "exec /no/such/program")
    suite.expect(end.status, "Failed")


@suite.check
async def a_command_that_cannot_be_started(bench: suite.Bench) -> None:
    """The reason names it."""
    ran, end = await suite.run(bench, "", command=["/no/such/program"], outputs=("out",))
    suite.expect((end.status, end.incomplete), ("Failed", ("out",)))
    suite.expect_in("/no/such/program", (end.reason or "") + "\n".join(ran.lines()))


@suite.check
async def signals_are_told_from_codes(bench: suite.Bench) -> None:
    """Of a main that was killed, the signal is named; a code is a code."""
    _, killed = await suite.run(bench, "kill -KILL $$$$")
    suite.expect((killed.status, killed.reason), ("Failed", "Main exited with code 137 (SIGKILL)"))
    _, left = await suite.run(bench, "exit 42")
    suite.expect((left.status, left.reason), ("Failed", "Main exited with code 42"))


@suite.check
async def an_unknown_image_is_refused_before_there_is_a_run(bench: suite.Bench) -> None:
    """In words that say what to do."""
    try:
        await bench.engine.check(model.JobCodespec(image=bench.unknown_image, command=["true"]))
    except errors.Problem as problem:
        found = (problem.kind, bench.unknown_image in problem.message)
        suite.expect(found, (errors.INVALID_INPUT, True))
        return
    raise AssertionError("it was accepted")


# --- logs ------------------------------------------------------------------------------------------------


@suite.check
async def both_streams_are_logged(bench: suite.Bench) -> None:
    """And told apart, where that can be."""
    ran, end = await suite.run(bench, "echo out; echo trouble >&2; echo more; echo again >&2")
    streams = {record[2]: record[1].upper() for record in ran.records()}
    suite.expect(sorted(streams), ["again", "more", "out", "trouble"])
    wanted = {"out": "O", "more": "O", "trouble": "E", "again": "E"}
    suite.expect(streams, wanted if bench.tells_streams else dict.fromkeys(streams, "O"))
    suite.expect(end.log_size > len("again more out trouble"), True)


@suite.check
async def lines_of_any_length(bench: suite.Bench) -> None:
    """And a last one without a newline.

    On one stream: where an engine is given a long line in parts, one of the other stream may come between.
    """
    script = "echo out; head -c 2000000 /dev/zero | tr '\\\\0' x; echo; printf end"
    ran, end = await suite.run(bench, script)
    suite.expect([len(line) for line in ran.lines()], [3, 2_000_000, 3])
    suite.expect(end.log_size > 2_000_000, True)


@suite.check
async def every_line_has_its_time(bench: suite.Bench) -> None:
    """None is earlier than the one before, and none is when the job did not run."""
    ran, end = await suite.run(bench, "echo 1; sleep 2; echo 2; echo 3")
    suite.expect(ran.lines(), ["1", "2", "3"])
    times = [record[0] for record in ran.records()]
    suite.expect([time for time in times if not re.fullmatch(r"\d{4}-.*T.*\.\d+Z", time)], [])
    moments = [units.to_micros(units.parse_timestamp(time)) for time in times]
    suite.expect(moments, sorted(moments))
    if moments[1] - moments[0] < 10_000 or not end.finished_at or moments[-1] > end.finished_at + 1_000_000:
        raise AssertionError(f"{times}, of a job that ended at {end.finished_at}")


@suite.check
async def many_lines_lose_none(bench: suite.Bench) -> None:
    """As fast as a job can write them, in the order in which it did."""
    ran, end = await suite.run(bench, "seq 50000")
    suite.expect((end.status, len(lines := ran.lines())), ("Succeeded", 50_000))
    suite.expect([line for number, line in enumerate(lines, 1) if line != str(number)], [])


@suite.check
async def bytes_that_are_no_text_are_logged(bench: suite.Bench) -> None:
    """A log is text, whatever a job prints."""
    ran, end = await suite.run(bench, "printf 'a\\377b\\n\\nc\\n'")
    suite.expect((end.status, len(lines := ran.lines())), ("Succeeded", 3))
    suite.expect((lines[0][0], lines[0][-1], lines[1:]), ("a", "b", ["", "c"]))


@suite.check
async def logs_and_states_are_reported_while_it_runs(bench: suite.Bench) -> None:
    """Nobody has to poll."""
    ran = await suite.start(bench, 'echo up; read -r line < "$IN_PIPE"; sleep 600', inputs={"in": b"go\n"})
    with trio.fail_after(suite.PATIENCE):
        await ran.end_cancelled_when("up")
    suite.expect("Running" in [observation.status for observation in ran.observed], True)
