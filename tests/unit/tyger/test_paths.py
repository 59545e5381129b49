"""Where things are, in system mode and in user mode."""

import os

import pytest

from tests.support import daemon
from tyger import errors, paths

HOME = {"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/7"}


def test_user_mode():
    assert paths.locate(HOME, system=False) == paths.Paths(
        system=False,
        socket="/run/user/7/tyger/tyger.sock",
        state="/home/u/.local/state/tyger",
        config="/home/u/.config/tyger/tygerd.toml",
    )


def test_user_mode_with_its_own_directories():
    environ = HOME | {"XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c"}
    found = paths.locate(environ, system=False)
    assert (found.state, found.config) == ("/s/tyger", "/c/tyger/tygerd.toml")


def test_relative_base_directories_are_ignored():
    found = paths.locate(HOME | {"XDG_STATE_HOME": "s"}, system=False)
    assert found.state == "/home/u/.local/state/tyger"


def test_without_home_the_user_database_is_asked():
    found = paths.locate({"XDG_RUNTIME_DIR": "/r"}, system=False)
    assert found.state == os.path.expanduser("~/.local/state/tyger")


def test_system_mode():
    assert paths.locate(HOME, system=True) == paths.Paths(
        system=True, socket="/run/tyger/tyger.sock", state="/var/lib/tyger", config="/etc/tyger/tygerd.toml"
    )


def test_the_system_is_used_where_its_socket_is():
    found = paths.locate(HOME)
    assert found.system == os.path.exists(paths.SYSTEM_SOCKET)


def test_a_named_socket_wins():
    environ = HOME | {"TYGER_SOCKET": "/env/s"}
    assert paths.locate(environ).socket == "/env/s"
    assert not paths.locate(environ).system
    assert paths.locate(environ, socket="/arg/s").socket == "/arg/s"
    assert paths.locate(environ, system=True).socket == "/env/s"


def test_paths_are_absolute():
    found = paths.locate(HOME, socket="s", state="t", config="c")
    assert found[1:4] == tuple(os.path.join(os.getcwd(), name) for name in "stc")


@pytest.mark.parametrize(("length", "fits"), [(107, True), (108, False)])
def test_the_kernels_limit(length, fits):
    path = "/" + "ä" * ((length - 1) // 2) + "x" * ((length - 1) % 2)
    assert len(path.encode()) == length
    if fits:
        paths.check_socket_path(path)
        return
    with pytest.raises(errors.Problem, match="has 108 bytes, and 107 is the most") as caught:
        paths.locate(HOME, socket=path)
    assert caught.value.kind is errors.CONFIG


def test_without_a_runtime_directory_a_private_one_is_used():
    with daemon.directory() as place:
        environ = {"HOME": "/home/u", "TMPDIR": str(place)}
        mine = place / f"tyger-{os.geteuid()}"
        assert paths.locate(environ, system=False).socket == f"{mine}/tyger.sock"
        mine.mkdir(mode=0o700)
        paths.locate(environ, system=False)
        mine.chmod(0o755)
        with pytest.raises(errors.Problem, match="not a private directory of yours") as caught:
            paths.locate(environ, system=False)
        assert caught.value.kind is errors.FORBIDDEN
        mine.rmdir()
        mine.symlink_to("/tmp")
        with pytest.raises(errors.Problem):
            paths.locate(environ, system=False)
