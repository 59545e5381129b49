"""The socket at its path: made, refused, lost and made again."""

import os
import socket
import stat

import pytest

from tests.support import daemon
from tyger import errors
from tygerd.http import listener


@pytest.fixture
def place():
    with daemon.directory() as path:
        yield path


async def bind(path, **kwargs):
    return listener.Listener.bind(str(path), **{"mode": 0o600, "group": None, **kwargs})


def connect(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))


async def test_it_listens_with_its_mode_and_goes_without_a_trace(place):
    listening = await bind(place / "dir/s", mode=0o600)
    connect(place / "dir/s")
    found = os.stat(place / "dir/s")
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert stat.S_IMODE(os.stat(place / "dir").st_mode) == 0o700
    assert os.listdir(place / "dir") == ["s"]
    listening.close()
    assert os.listdir(place / "dir") == []


async def test_a_socket_for_others_is_in_a_directory_for_others(place):
    listening = await bind(place / "dir/s", mode=0o660)
    assert stat.S_IMODE(os.stat(place / "dir").st_mode) == 0o755
    listening.close()


async def test_a_dead_socket_is_replaced(place):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(place / "s"))
    dead.close()
    listening = await bind(place / "s")
    connect(place / "s")
    listening.close()


async def test_a_living_one_is_not(place):
    first = await bind(place / "s")
    with pytest.raises(errors.Problem, match="another daemon answers on") as caught:
        await bind(place / "s")
    assert caught.value.kind is errors.CONFIG
    connect(place / "s")
    first.close()


async def test_what_is_no_socket_stays(place):
    (place / "s").write_text("precious")
    with pytest.raises(errors.Problem, match="exists and is not a socket"):
        await bind(place / "s")
    assert (place / "s").read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("x" * 107, {}, "bytes, and 107 is the most"),
        ("file/s", {}, "cannot listen on"),
        ("s", {"group": "no-such-group"}, "there is no group no-such-group"),
    ],
)
async def test_what_cannot_be_bound(place, name, kwargs, message):
    (place / "file").touch()
    with pytest.raises(errors.Problem, match=message) as caught:
        await bind(place / name, **kwargs)
    assert caught.value.kind is errors.CONFIG
    assert os.listdir(place) == ["file"]


async def test_a_directory_of_somebody_else_in_a_public_place_is_refused(place):
    os.chmod(place, 0o1777)
    (place / "theirs").mkdir(mode=0o755)
    os.chmod(place / "theirs", 0o755)
    with pytest.raises(errors.Problem, match="not a private directory of yours"):
        await bind(place / "theirs/s")


async def test_a_lost_path_is_noticed_and_bound_again(place):
    first = await bind(place / "s")
    assert not first.lost()
    os.unlink(place / "s")
    assert first.lost()
    second = first.again()
    assert first.lost()
    assert not second.lost()
    # Closing the old one must not take the new one's path away.
    first.close()
    connect(place / "s")
    second.close()


async def test_a_path_whose_directory_went_is_lost(place):
    listening = await bind(place / "dir/s")
    os.rename(place / "dir", place / "elsewhere")
    assert listening.lost()
    listening.close()


async def test_a_passed_socket_is_not_ours_to_remove(place):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(place / "s"))
        made.listen()
        listening = listener.Listener.passed(made.dup())
        assert listening.path == str(place / "s")
        assert listening.again is None
        assert not listening.lost()
        listening.close()
        assert os.listdir(place) == ["s"]
        os.unlink(place / "s")
        again = listener.Listener.passed(made.dup())
        assert not again.lost()
        again.close()
