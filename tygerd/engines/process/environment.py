"""What a job's program is given: its environment and its command line. Pure.

Later wins: a minimal base, the image's entry, TYGER_RUN_ID, the codespec's `env`, the pipes. `$(VAR)` sees
the last three, as in a container, whose image's own variables are not expanded either. Other than in
Kubernetes, a value of `env` may name a pipe (docs/compatibility.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tyger import errors, model
from tygerd import config
from tygerd.engines import expansion

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are found when an image's entry doesn't say: what container images commonly have."""


class Program(NamedTuple):
    """A command and its whole environment."""

    command: list[str]
    env: dict[str, str]


def pipe_variable(name: str) -> str:
    """The variable that holds a pipe's path: the name in upper case, nothing else changed."""
    return f"{name.upper()}_PIPE"


def check(codespec: model.JobCodespec, image: config.Image) -> None:
    """Refuse a codespec that leaves nothing to start, or has words that no program can be given.

    Raises:
        Problem: INVALID_INPUT, naming the field.
    """
    if not codespec.command and not image.entrypoint and not codespec.args:
        raise errors.Problem(
            errors.INVALID_INPUT,
            f"the codespec has no command, and what stands for the image '{codespec.image}' has no"
            " entrypoint: add one of them",
        )
    check_words(codespec)


def check_words(codespec: model.CodespecBase) -> None:
    """Refuse a codespec that has words which no program can be given. Raises as `check`."""
    env = codespec.env or {}
    for name in env:
        if not name or "=" in name:
            raise errors.Problem(
                errors.INVALID_INPUT, f"env: '{name}' cannot be the name of an environment variable"
            )
    words = {
        "command": codespec.command or [],
        "args": codespec.args or [],
        "env": [*env, *env.values()],
        "workingDir": [codespec.working_dir or ""],
    }
    for field, values in words.items():
        if any("\0" in value for value in values):
            raise errors.Problem(
                errors.INVALID_INPUT, f"{field}: it has a null byte, which no program can get"
            )


def program(
    codespec: model.JobCodespec,
    image: config.Image,
    *,
    run: int,
    pipes: Mapping[str, str],
    home: str,
    temporary: str,
) -> Program:
    """What to start. `pipes` are the paths of the job's pipes by buffer name, as the job sees them."""
    base = {"PATH": PATH, "HOME": home, "LANG": "C.UTF-8", "TMPDIR": temporary}
    named = {pipe_variable(name): path for name, path in pipes.items()}
    known = {"TYGER_RUN_ID": str(run), **named}
    own = expansion.expand_environment(codespec.env or {}, known)
    variables = {**known, **own, **named}
    words = [*(codespec.command or image.entrypoint), *(codespec.args or [])]
    return Program(
        [expansion.expand(word, variables) for word in words],
        {**base, **image.env, **variables},
    )
