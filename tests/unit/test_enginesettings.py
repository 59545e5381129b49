"""The tables about engines, as they are read from tygerd.toml."""

import pytest

from tyger import errors
from tygerd import config, enginesettings


def refusal(text):
    with pytest.raises(errors.Problem) as caught:
        config.parse(text)
    return caught.value.message


def test_the_container_engine_asks_for_nothing():
    read = config.parse("[engine.container]\n").engine.container
    assert read == enginesettings.Container()
    assert (read.socket, read.pull, read.network, read.capabilities) == (None, "never", "needed", [])


def test_a_full_table():
    read = config.parse(
        """
        [engine.container]
        socket = "unix:///run/podman/podman.sock"
        pull = "missing"
        auth_file = "/etc/tyger/registries.json"
        network = "bridge"
        user = "1000:1000"
        capabilities = ["SYS_PTRACE", "CAP_NET_RAW"]
        root = "read-only"
        cancel_grace = "2s"
        """
    ).engine.container
    assert read.pull == "missing"
    assert read.user == "1000:1000"
    assert read.cancel_grace == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('socket = "tcp://host:2375"', "engine.container: socket must be the absolute path of a Unix socket"),
        ('capabilities = ["sys ptrace"]', "capabilities are named like SYS_PTRACE, not 'sys ptrace'"),
        ('pull = "often"', "engine.container.pull"),
        ('images = ["x"]', "images"),
    ],
)
def test_what_is_wrong_is_named(line, words):
    assert words in refusal(f"[engine.container]\n{line}\n")


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("", "auto"),
        ("[engine]\nuse = 'container'", "container"),
        ("engine = 'process'", "process"),
        ("[engine.process]\ncancel_grace = '1s'", "auto"),
    ],
)
def test_which_engine(text, use):
    assert config.parse(text).engine.use == use


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("engine = 'docker'", "engine.use: invalid enum value 'docker'"),
        ("[engine]\nuse = 'both'", "tygerd.toml, line 2: engine.use: invalid enum value 'both'"),
        ("engine = 1", "tygerd.toml, line 1: engine: expected"),
    ],
)
def test_what_is_no_engine(text, said):
    assert said in refusal(text)
