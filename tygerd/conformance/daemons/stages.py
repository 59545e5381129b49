"""A daemon that is killed at every stage of a run, and a run that is cancelled at every stage."""

from __future__ import annotations

from typing import Any

from tyger import errors
from tygerd.conformance.daemons import site as suite

MIB = 1 << 20

# --- the daemon is killed --------------------------------------------------------------------------------


@suite.check
def killed_when_a_run_was_just_created(site: suite.Site) -> None:
    """The answer was given: so the run happens, once."""
    run = suite.Run.start(
        site, 'echo once; cat "$IN_PIPE" > "$OUT_PIPE"', inputs={"in": b"abc"}, outputs=["out"]
    )
    site.restart()
    suite.expect(run.ended()["status"], "Succeeded")
    suite.expect((run.output("out"), run.log()), (b"abc", ["once"]))


@suite.check
def killed_while_a_job_waits_for_its_input(site: suite.Site) -> None:
    """The writer comes back by itself, and so does the job's end of the pipe."""
    source = suite.buffer(site)
    run = suite.Run.start(
        site, 'echo up; cat "$IN_PIPE" > "$OUT_PIPE"', inputs={"in": source}, outputs=["out"]
    )
    run.logged("up")
    with suite.Writer(site, source) as writer:
        site.restart()
        writer.send(b"after")
    suite.expect(run.ended()["status"], "Succeeded")
    suite.expect(run.output("out"), b"after")


@suite.check
def killed_while_bytes_flow(site: suite.Site) -> None:
    """Every byte arrives once, in both directions."""
    source = suite.buffer(site)
    run = suite.Run.start(site, 'cat "$IN_PIPE" > "$OUT_PIPE"', inputs={"in": source}, outputs=["out"])
    piece = b"".join(suite.numbered(MIB))
    with (
        suite.Writer(site, source) as writer,
        suite.Reader(site, run.made["job"]["buffers"]["out"]) as reader,
    ):
        received = b""
        for _ in range(3):
            writer.send(piece)
            received += reader.exactly(len(piece) // 2)
            site.restart()
            writer.send(piece)
            received += reader.exactly(len(piece))
        writer.close()
        received += reader.rest()
    suite.expect(run.ended()["status"], "Succeeded")
    if received != piece * 6:
        raise AssertionError(f"{len(received)} bytes came back of {6 * len(piece)}, or others")


@suite.check
def killed_while_the_job_ends(site: suite.Site) -> None:
    """Its code and its log are not lost."""
    gate = suite.buffer(site)
    run = suite.Run.start(site, 'echo up; read -r x < "$IN_PIPE"; echo down; exit 11', inputs={"in": gate})
    run.logged("up")
    with suite.Writer(site, gate) as writer:
        writer.send(b"go\n")
        site.restart()
    last = run.ended()
    suite.expect((last["status"], last["statusReason"]), ("Failed", "Main exited with code 11"))
    suite.expect(run.log(), ["up", "down"])


@suite.check
def killed_after_the_end(site: suite.Site) -> None:
    """What was told stays."""
    run = suite.Run.start(site, "echo done", outputs=["out"])
    last = run.ended()
    site.restart()
    suite.expect(run.shown() | {"eTag": ""}, last | {"eTag": ""})
    suite.expect((run.log(), run.output("out")), (["done"], b""))


@suite.check
def killed_during_the_grace(site: suite.Site) -> None:
    """A run that was cancelled ends as cancelled."""
    script = "trap 'echo bye; sleep 0.2; exit 0' TERM; echo up; sleep 600 & wait"
    run = suite.Run.start(site, script, outputs=["out"])
    run.logged("up")
    run.cancel()
    site.restart()
    last = run.ended()
    suite.expect((last["status"], last["statusReason"]), ("Canceled", "Canceled by user"))
    suite.expect(suite.refused(lambda: run.output("out")).kind, errors.BUFFER_FAILED)


# --- the run is cancelled --------------------------------------------------------------------------------


@suite.check
def cancelled_at_once(site: suite.Site) -> None:
    """Its outputs are failed, whether it had begun or not."""
    run = suite.Run.start(site, "exec sleep 600", inputs={"in": b"x"}, outputs=["out"])
    run.cancel()
    last = run.ended()
    suite.expect((last["status"], last["statusReason"]), ("Canceled", "Canceled by user"))
    suite.expect(suite.refused(lambda: run.output("out")).kind, errors.BUFFER_FAILED)


@suite.check
def cancelled_while_bytes_flow(site: suite.Site) -> None:
    """The reader of what it makes is told."""
    run = suite.Run.start(site, 'exec cat /dev/zero > "$OUT_PIPE"', outputs=["out"])
    with suite.Reader(site, run.made["job"]["buffers"]["out"]) as reader:
        reader.exactly(MIB)
        run.cancel()
        suite.expect(suite.refused(reader.rest).kind, errors.BUFFER_FAILED)
    suite.expect(run.ended()["status"], "Canceled")


@suite.check
def cancelled_after_the_end(site: suite.Site) -> None:
    """It stays what it was."""
    run = suite.Run.start(site, "exit 0", outputs=["out"])
    last = run.ended()
    run.cancel()
    suite.expect((run.shown()["status"], run.output("out")), (last["status"], b""))


# --- time runs out ---------------------------------------------------------------------------------------


@suite.check
def timed_out(site: suite.Site) -> None:
    """Also where a daemon looks that did not start it."""
    last: dict[str, Any] = {}
    for seconds in suite.longer(site.starts_within):
        run = suite.Run.start(site, "exec sleep 600", outputs=["out"], timeoutSeconds=seconds)
        site.restart()
        last = run.ended()
        if "startedAt" in last:
            break
    suite.expect(last["status"], "Failed")
    suite.expect(last["statusReason"].partition(":")[0], "DeadlineExceeded")
    suite.expect(suite.refused(lambda: run.output("out")).kind, errors.BUFFER_FAILED)
