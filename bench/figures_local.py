"""The figures of one machine: the embedded store, the process engine, the commands.

Each is measured against something that everybody has. A figure is a function of the options that returns
rows, every one with the number we promise as its limit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import rig as rigs
import table

from tyger import units


def with_daemon(
    measure: Callable[[rigs.Rig, table.Options], list[table.Row]],
) -> Callable[[table.Options], list[table.Row]]:
    """A figure that gets a daemon of its own."""

    def measured(options: table.Options) -> list[table.Row]:
        with rigs.Rig(options.directory) as rig:
            return measure(rig, options)

    return measured


def write(rig: rigs.Rig, options: table.Options) -> list[table.Row]:
    """Into the embedded store, against a shell that writes the same bytes and takes their MD5."""
    generate = f"{rigs.TYGER} buffer gen {options.size}"
    file = rig.path / "reference"

    def reference() -> float:
        os.sync()
        seconds = rigs.timed(
            lambda: rig.shell(f"{generate} | {{ tee >(md5sum >/dev/null) >{file}; wait $!; }}")
        )
        file.unlink()
        return seconds

    def subject() -> float:
        buffer = rig.tyger("buffer", "create")
        os.sync()
        command = f"{rigs.TYGER} buffer write {buffer} --block-size 4MiB"
        seconds = rigs.timed(lambda: rig.shell(f"{generate} | {command} 2>/dev/null"))
        rig.purge(buffer)
        return seconds

    pair = rigs.in_turns(options.repeat, reference, subject)
    return [table.times_as_fast("write", options.size, pair, 1.5)]


def read(rig: rigs.Rig, options: table.Options) -> list[table.Row]:
    """Out of the embedded store into a pipe, against a shell that reads a file and takes its MD5."""
    generate = f"{rigs.TYGER} buffer gen {options.size}"
    file = rig.path / "reference"
    buffer = rig.tyger("buffer", "create")
    rig.shell(f"{generate} >{file}")
    rig.shell(f"{rigs.TYGER} buffer write {buffer} --block-size 4MiB <{file} 2>/dev/null")
    os.sync()
    pair = rigs.in_turns(
        options.repeat,
        lambda: rigs.timed(
            lambda: rig.shell(f"cat {file} | {{ tee >(md5sum >/dev/null) >/dev/null; wait $!; }}")
        ),
        lambda: rigs.timed(
            lambda: rig.shell(f"{rigs.TYGER} buffer read {buffer} 2>/dev/null | cat >/dev/null")
        ),
    )
    file.unlink()
    rig.purge(buffer)
    return [table.times_as_fast("read", options.size, pair, 1.5)]


def memory(rig: rigs.Rig, options: table.Options) -> list[table.Row]:
    """The daemon's peak in a write and a read of each size; it must not grow with the size."""
    rows = []
    for size in options.memory_sizes:
        rig.stop()
        rig.start()
        buffer = rig.tyger("buffer", "create")
        rig.shell(f"{rigs.TYGER} buffer gen {size} | {rigs.TYGER} buffer write {buffer} 2>/dev/null")
        written = rig.peak_memory()
        rig.shell(f"{rigs.TYGER} buffer read {buffer} 2>/dev/null | cat >/dev/null")
        peak = rig.peak_memory()
        rig.purge(buffer)
        rows.append(
            table.Row(
                f"peak memory, {units.format_size(size)}",
                "",
                f"{written / table.MIB:.0f} MiB after the write",
                peak / table.MIB,
                "MiB",
                150,
                more_is_better=False,
                samples={"after_write": [written / table.MIB], "after_read": [peak / table.MIB]},
            )
        )
    return rows


def latency(rig: rigs.Rig, options: table.Options) -> list[table.Row]:
    """A 100-byte message every 20 ms, through the run's two pipes and back."""
    return messages("message latency", rig, options, run_text(echo()))


def messages(figure: str, rig: rigs.Rig, options: table.Options, text: str) -> list[table.Row]:
    """The same through a run of `echo`."""
    run_file = rig.path / "echo.yml"
    run_file.write_text(text)
    took: list[float] = []
    arrived = threading.Event()
    os.sync()  # what the figures before this one wrote is not this one's affair
    with subprocess.Popen(
        [rigs.TYGER, "run", "exec", "-f", str(run_file)],
        env=rig.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    ) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        output = run.stdout

        def receive() -> None:
            held = b""
            while chunk := output.read(65536):
                now = time.monotonic_ns()
                held += chunk
                while len(held) >= 100:
                    took.append((now - int(held[:20])) / 1e9)
                    held = held[100:]
                arrived.set()

        receiver = threading.Thread(target=receive)
        receiver.start()
        for number in range(options.messages + 1):
            due = time.monotonic() + 0.020
            run.stdin.write(b"%020d" % time.monotonic_ns() + b"." * 80)
            if number == 0:
                arrived.wait(30)  # the start of the run is another figure
            time.sleep(max(0.0, due - time.monotonic()))
        run.stdin.close()
        receiver.join()
    took = sorted(took[1:])
    if run.returncode or len(took) != options.messages:
        sys.exit(f"bench: {len(took)} of {options.messages} messages came back, exit code {run.returncode}")
    return [
        table.Row(
            f"{figure}, {name}",
            "",
            f"{options.messages} messages",
            took[min(len(took) - 1, int(len(took) * share))] * 1000,
            "ms",
            limit,
            more_is_better=False,
            samples={"latency": took},
        )
        for name, share, limit in (("p50", 0.5, 8), ("p99", 0.99, 40))
    ]


def show(rig: rigs.Rig, options: table.Options) -> list[table.Row]:
    """A whole command, against an interpreter that imports what it cannot do without."""
    buffer = rig.tyger("buffer", "create")
    bare = [sys.executable, "-c", "import click, socket"]
    pair = rigs.in_turns(
        options.repeat,
        lambda: repeated(bare, rig.environ),
        lambda: repeated([rigs.TYGER, "buffer", "show", buffer], rig.environ),
    )
    reference, subject = pair.medians()
    return [
        table.Row(
            "tyger buffer show",
            table.milliseconds(reference),
            table.milliseconds(subject),
            subject / reference,
            "x",
            1.5,
            more_is_better=False,
            samples={"reference": pair.reference, "subject": pair.subject},
        )
    ]


def execute(rig: rigs.Rig, options: table.Options) -> list[table.Row]:
    """`tyger run exec` of `true`, whole process, over `true`."""
    run_file = rig.path / "true.yml"
    run_file.write_text(run_text(codespec(["true"])))
    command = [rigs.TYGER, "run", "exec", "-f", str(run_file)]
    pair = rigs.in_turns(
        options.repeat,
        lambda: repeated(["true"], rig.environ),
        lambda: repeated(command, rig.environ, times=3),
    )
    return [table.over("tyger run exec of true", pair, 200)]


def repeated(command: list[str], environ: dict[str, str], *, times: int = 10) -> float:
    """Mean seconds of a short command."""

    def all_of_them() -> None:
        nothing = subprocess.DEVNULL
        for _ in range(times):
            subprocess.run(command, env=environ, stdin=nothing, stdout=nothing, stderr=nothing, check=True)

    return rigs.timed(all_of_them) / times


def codespec(command: list[str], *, inputs: bool = False, outputs: bool = False) -> dict[str, object]:
    """An inline codespec for the rig's image."""
    buffers = {"inputs": ["input"] if inputs else [], "outputs": ["output"] if outputs else []}
    return {"kind": "job", "image": "bench", "command": command, "buffers": buffers}


def echo() -> dict[str, object]:
    """A job that gives back what it gets."""
    return codespec(["sh", "-c", "cat <$INPUT_PIPE >$OUTPUT_PIPE"], inputs=True, outputs=True)


def run_text(inline: dict[str, object], **buffers: str) -> str:
    """A run file. JSON is YAML."""
    return json.dumps({"job": {"codespec": inline, "buffers": buffers}})


FIGURES: dict[str, Callable[[table.Options], list[table.Row]]] = {
    "write": with_daemon(write),
    "read": with_daemon(read),
    "memory": with_daemon(memory),
    "latency": with_daemon(latency),
    "show": with_daemon(show),
    "exec": with_daemon(execute),
}
