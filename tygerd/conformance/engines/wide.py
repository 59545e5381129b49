"""Replicas, workers and sockets, for engines that have them."""

from __future__ import annotations

from tyger import model
from tygerd.conformance.engines import bench as suite
from tygerd.engines import base

ECHO = "busybox nc -l -p {port} -e cat"
"""A server for one connection, which sends back what it gets and ends when its peer has said all."""


# --- replicas --------------------------------------------------------------------------------------------


@suite.check
async def replicas_all_read_the_same(bench: suite.Bench) -> None:
    """Each has pipes of its own; the run has ended when all of them have."""
    if not bench.engine.traits.replicas:
        return
    script = 'cat "$IN_PIPE" | wc -c'
    ran, end = await suite.run(bench, script, inputs={"in": bytes(300_000)}, replicas=3)
    suite.expect((end.status, end.reason), ("Succeeded", None))
    suite.expect(sorted(ran.lines()), [f"[job-{number}][main] 300000" for number in range(3)])


@suite.check
async def the_first_replica_that_fails_fails_the_run(bench: suite.Bench) -> None:
    """Whichever that is."""
    if not bench.engine.traits.replicas:
        return
    # Replicas do not know which one they are; chance decides who fails, and one of them surely does.
    script = "case $(head -c 1 /dev/urandom | od -An -tu1) in *[02468]) exit 6;; esac; sleep 0.2; exit 6"
    _, end = await suite.run(bench, script, replicas=2)
    suite.expect((end.status, end.reason), ("Failed", "Main exited with code 6"))


@suite.check
async def replicas_are_cancelled_together(bench: suite.Bench) -> None:
    """All of them."""
    if not bench.engine.traits.replicas:
        return
    ran = await suite.start(bench, "trap 'echo bye; exit 0' TERM; echo up; sleep 600 & wait", replicas=2)
    end = await ran.end_cancelled_when("[job-1] up")
    suite.expect(end.status, "Canceled")


# --- workers ---------------------------------------------------------------------------------------------


def _worker(bench: suite.Bench, script: str, replicas: int = 1, **endpoints: int) -> base.Worker:
    codespec = model.WorkerCodespec(image=bench.image, command=["sh", "-c", script], endpoints=endpoints)
    return base.Worker(codespec=codespec, replicas=replicas)


@suite.check
async def a_job_reaches_all_its_workers(bench: suite.Bench) -> None:
    """They run before it does, and are stopped when it has ended; their addresses are in its environment."""
    if not bench.engine.traits.workers:
        return
    script = """
        echo "$TYGER_WORKER_NODES" | tr -cd , | wc -c
        for address in $(echo "$TYGER_ECHO_WORKER_ENDPOINT_ADDRESSES" | tr -d '[]\\042' | tr , ' '); do
            until answer=$(echo hello | busybox nc -w 5 ${address%:*} ${address##*:}); do sleep 0.02; done
            echo "$answer"
        done
    """
    worker = _worker(bench, "busybox nc -ll -p 8000 -e cat", replicas=2, echo=8000)
    ran, end = await suite.run(bench, script, worker=worker)
    suite.expect((end.status, end.reason), ("Succeeded", None))
    said = [line for line in ran.lines() if line.startswith("[job]")]
    suite.expect(said, ["[job] 1", "[job] hello", "[job] hello"])


@suite.check
async def a_worker_that_fails_is_named(bench: suite.Bench) -> None:
    """Its run fails, while the job would wait for ever."""
    if not bench.engine.traits.workers:
        return
    worker = _worker(bench, "sleep 0.3; exit 4")
    _, end = await suite.run(bench, "sleep 600", worker=worker, outputs=("out",))
    suite.expect((end.status, end.incomplete), ("Failed", ("out",)))
    suite.expect_in("orker", end.reason)
    suite.expect_in("4", end.reason)


@suite.check
async def a_worker_that_cannot_be_started(bench: suite.Bench) -> None:
    """Its program is named, and nobody waits for it."""
    if not bench.engine.traits.workers:
        return
    codespec = model.WorkerCodespec(image=bench.image, command=["/no/such/program"])
    _, end = await suite.run(bench, "exec sleep 600", worker=base.Worker(codespec=codespec))
    suite.expect(end.status, "Failed")
    suite.expect_in("/no/such/program", end.reason)


@suite.check
async def a_job_is_not_held_up_by_its_workers_end(bench: suite.Bench) -> None:
    """One that has done its part may leave with 0."""
    if not bench.engine.traits.workers:
        return
    script = "sleep 0.3; echo done"
    ran, end = await suite.run(bench, script, worker=_worker(bench, "exit 0"))
    suite.expect((end.status, ran.lines()), ("Succeeded", ["[job] done"]))


@suite.check
async def workers_are_cancelled_with_their_job(bench: suite.Bench) -> None:
    """Whatever they do about it."""
    if not bench.engine.traits.workers:
        return
    worker = _worker(bench, "trap '' TERM; while :; do sleep 600; done")
    ran = await suite.start(bench, "echo up; exec sleep 600", worker=worker)
    suite.expect((await ran.end_cancelled_when("[job] up")).status, "Canceled")


# --- sockets ---------------------------------------------------------------------------------------------


def _socket(port: int, **buffers: str) -> dict[str, object]:
    return {"sockets": [model.Socket(port=port, **buffers)]}


@suite.check
async def a_socket_joins_a_port_with_buffers(bench: suite.Bench) -> None:
    """Both ways at once, and the input's end is the peer's."""
    if not bench.engine.traits.sockets:
        return
    content = bytes(range(256)) * 4_000
    port = bench.next_port()
    ran, end = await suite.run(
        bench,
        "echo in=${IN_PIPE-none} out=${OUT_PIPE-none}; " + ECHO.format(port=port),
        inputs={"in": content},
        outputs=("out",),
        **_socket(port, input_buffer="in", output_buffer="out"),
    )
    suite.expect((end.status, end.reason), ("Succeeded", None))
    suite.expect(await ran.written("out"), ("complete", content))
    suite.expect([line.rpartition("] ")[2] for line in ran.lines()], ["in=none out=none"])


@suite.check
async def a_server_that_goes_on_is_stopped(bench: suite.Bench) -> None:
    """A run with sockets has succeeded when its streams have ended, whether main has or not."""
    if not bench.engine.traits.sockets:
        return
    port = bench.next_port()
    ran, end = await suite.run(
        bench,
        f"{ECHO.format(port=port)}; exec sleep 600",
        inputs={"in": b"abc"},
        outputs=("out",),
        **_socket(port, input_buffer="in", output_buffer="out"),
    )
    suite.expect((end.status, end.reason), ("Succeeded", None))
    suite.expect(await ran.written("out"), ("complete", b"abc"))


@suite.check
async def a_server_that_listens_late_is_waited_for(bench: suite.Bench) -> None:
    """Main needs no moment at which it must be ready."""
    if not bench.engine.traits.sockets:
        return
    port = bench.next_port()
    ran, end = await suite.run(
        bench,
        f"sleep 0.3; {ECHO.format(port=port)}",
        inputs={"in": b"late"},
        outputs=("out",),
        **_socket(port, input_buffer="in", output_buffer="out"),
    )
    wanted = ("Succeeded", None, ("complete", b"late"))
    suite.expect((end.status, end.reason, await ran.written("out")), wanted)


@suite.check
async def a_main_that_never_listens_fails_its_run(bench: suite.Bench) -> None:
    """Nobody waits for a port of a program that has ended."""
    if not bench.engine.traits.sockets:
        return
    port = bench.next_port()
    ran, end = await suite.run(
        bench,
        "exit 0",
        inputs={"in": b"x"},
        outputs=("out",),
        **_socket(port, input_buffer="in", output_buffer="out"),
    )
    suite.expect((end.status, (await ran.written("out"))[0]), ("Failed", "failed"))
    suite.expect_in(str(port), end.reason)


@suite.check
async def a_socket_with_one_buffer(bench: suite.Bench) -> None:
    """With only an output nothing is sent; with only an input what comes back is nobody's."""
    if not bench.engine.traits.sockets:
        return
    port = bench.next_port()
    ran, end = await suite.run(
        bench,
        f"busybox nc -l -p {port} -e echo -n made",
        outputs=("out",),
        **_socket(port, output_buffer="out"),
    )
    suite.expect((end.status, await ran.written("out")), ("Succeeded", ("complete", b"made")))
    port = bench.next_port()
    ran, end = await suite.run(
        bench, ECHO.format(port=port), inputs={"in": b"x"}, **_socket(port, input_buffer="in")
    )
    suite.expect(end.status, "Succeeded")
