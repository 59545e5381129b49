"""What the process engine refuses and needs; what it does is in tests/conformance/test_engines.py."""

from __future__ import annotations

import os
import socket

import pytest
import trio

from tyger import errors, model, paths
from tygerd import config
from tygerd.engines.process import bwrap, engine

IMAGES = """
[[engine.process.images]]
image = "host"
entrypoint = ["true"]
[[engine.process.images]]
image = "bare"
[[engine.process.images]]
image = "directory"
root = "/srv/image"
"""


def make(tmp_path, mode="off", *, system=False):
    text = f'[engine.process]\nbubblewrap = "{mode}"\n{IMAGES}'
    places = paths.Paths(
        system=system, socket=str(tmp_path / "s"), state=str(tmp_path), config="/etc/tyger/tygerd.toml"
    )
    return engine.ProcessEngine(places, config.parse(text))


async def refusal(made, **codespec):
    with pytest.raises(errors.Problem) as caught:
        await made.check(model.JobCodespec(**codespec))
    assert caught.value.kind is errors.INVALID_INPUT
    return caught.value.message


async def test_refusals(tmp_path):
    made = make(tmp_path)
    await made.check(model.JobCodespec(image="host"))
    assert "add these lines to /etc/tyger/tygerd.toml" in await refusal(made, image="unknown")
    assert "no entrypoint" in await refusal(made, image="bare")
    assert "needs bubblewrap" in await refusal(made, image="directory", command=["x"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"command": ["a\0b"]}, "command: it has a null byte"),
        ({"args": ["a", "\0"]}, "args: it has a null byte"),
        ({"env": {"A": "\0"}}, "env: it has a null byte"),
        ({"env": {"A\0": ""}}, "env: it has a null byte"),
        ({"env": {"A=B": ""}}, "env: 'A=B' cannot be the name"),
        ({"env": {"": ""}}, "env: '' cannot be the name"),
        ({"working_dir": "/a\0"}, "workingDir: it has a null byte"),
    ],
)
async def test_words_that_no_program_can_be_given(tmp_path, fields, said):
    assert said in await refusal(make(tmp_path), image="host", **fields)


async def test_a_port_that_is_taken(tmp_path):
    """The engine's jobs share those of this host."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        wanted = [model.Socket(port=taken.getsockname()[1], input_buffer="in")]
        await make(tmp_path).check(model.JobCodespec(image="host", sockets=wanted))
        taken.listen()
        said = await refusal(make(tmp_path), image="host", sockets=wanted)
    assert said.startswith(f"sockets: another program listens on port {wanted[0].port} of this host")


async def test_the_system_runs_nothing_without_a_sandbox(tmp_path):
    assert "only under bubblewrap" in await refusal(make(tmp_path, system=True), image="host")


async def test_with_a_sandbox_directories_are_images(tmp_path):
    if (program := bwrap.find()) is None or bwrap.probe(program) is not None:
        pytest.skip("bubblewrap does not work here")
    for system in (False, True):
        made = make(tmp_path, "require", system=system)
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run)
            await made.check(model.JobCodespec(image="directory", command=["x"]))
            nursery.cancel_scope.cancel()


async def test_a_required_sandbox_that_is_missing(tmp_path):
    made = make(tmp_path, "require")
    before, os.environ["PATH"] = os.environ["PATH"], "/nowhere"
    try:
        with pytest.raises(
            errors.Problem, match="cannot use bubblewrap, which is required: it is not installed"
        ):
            await made.run()
    finally:
        os.environ["PATH"] = before
