"""What a job's program is given."""

from __future__ import annotations

import pytest

from tyger import errors, model
from tygerd import config
from tygerd.engines.process import environment


def program(codespec: model.JobCodespec, image: config.Image, **pipes: str) -> environment.Program:
    return environment.program(codespec, image, run=7, pipes=pipes, home="/h", temporary="/t")


def codespec(**fields: object) -> model.JobCodespec:
    return model.JobCodespec(image="x", **fields)


def test_a_minimal_environment():
    made = program(codespec(command=["a"]), config.Image(image="x"))
    assert made == (
        ["a"],
        {"PATH": environment.PATH, "HOME": "/h", "LANG": "C.UTF-8", "TMPDIR": "/t", "TYGER_RUN_ID": "7"},
    )


def test_later_wins():
    image = config.Image(image="x", env={"PATH": "/image", "A": "image", "TYGER_RUN_ID": "0"})
    spec = codespec(command=["a"], env={"A": "codespec", "IN_PIPE": "mine", "HOME": "/mine"})
    env = program(spec, image, **{"in": "/p"}).env
    assert (env["PATH"], env["A"], env["IN_PIPE"], env["HOME"], env["TYGER_RUN_ID"]) == (
        "/image",
        "codespec",
        "/p",
        "/mine",
        "7",
    )


def test_references_see_pipes_and_run_but_not_the_image():
    image = config.Image(image="x", env={"IMAGE": "i"})
    spec = codespec(
        command=["$(A)"], args=["$(MY-IN_PIPE)", "$(IMAGE)"], env={"A": "$(MY-IN_PIPE):$(TYGER_RUN_ID)"}
    )
    made = program(spec, image, **{"my-in": "/p"})
    assert made.command == ["/p:7", "/p", "$(IMAGE)"]
    assert made.env["MY-IN_PIPE"] == "/p"


def test_command_replaces_the_entrypoint_and_args_follow_either():
    image = config.Image(image="x", entrypoint=["ffmpeg", "-nostdin"])
    assert program(codespec(args=["-i"]), image).command == ["ffmpeg", "-nostdin", "-i"]
    assert program(codespec(command=["sh"], args=["-c"]), image).command == ["sh", "-c"]


def test_something_must_be_started():
    with pytest.raises(errors.Problem, match="entrypoint"):
        environment.check(codespec(), config.Image(image="x"))
    environment.check(codespec(args=["a"]), config.Image(image="x"))
    environment.check(codespec(), config.Image(image="x", entrypoint=["a"]))
