"""Which daemon a command speaks to: the order of what names one, and what each login means."""

import os

import pytest

from tests.support import daemon
from tyger import addresses, autostart, errors, paths, target


@pytest.fixture
def home():
    """A home of its own: `login` writes its login file, `environ` is what commands see."""
    with daemon.directory() as path:
        yield Home(path)


class Home:
    def __init__(self, path):
        self.path = path
        self.environ = daemon.environment(path)
        self.own = str(path / "run/tyger/tyger.sock")

    def login(self, url):
        file = self.path / ".cache/tyger/.tyger"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"serverUrl: '{url}'\n")


def test_without_a_login_it_is_this_machines_own(home):
    assert target.locate(home.environ) == paths.locate(home.environ)
    found = target.find(home.environ)
    assert (found.address, found.login) == (addresses.of_socket(paths.locate(home.environ).socket), None)


def test_the_order(home):
    environ = home.environ | {"TYGER_SOCKET_PATH": "/path"}
    assert target.locate(environ).socket == "/path"
    home.login("http+unix:///login:")
    assert target.locate(environ).socket == "/login"
    assert target.find(environ).login["serverUrl"] == "http+unix:///login:"
    environ |= {"TYGER_SOCKET": "/socket"}
    assert target.locate(environ).socket == "/socket"
    assert target.find(environ) == (addresses.of_socket("/socket"), None)
    assert target.locate(environ, socket="/flag").socket == "/flag"
    assert target.find(environ, socket="/flag").address.socket == "/flag"


def test_a_login_elsewhere_starts_no_daemon(home):
    for url in ("http+unix:///opt/tyger/api.sock:", "unix:///opt/tyger/api.sock"):
        home.login(url)
        where = target.locate(home.environ)
        assert (where.socket, where.foreign) == ("/opt/tyger/api.sock", True)
        with pytest.raises(errors.Problem, match="which the login or TYGER_SOCKET_PATH names") as caught:
            autostart.ensure(where)
        assert caught.value.kind is errors.UNAVAILABLE


def test_a_login_at_the_users_own_daemon_starts_it(home):
    home.login(f"http+unix://{home.own}:")
    assert target.locate(home.environ) == paths.locate(home.environ, system=False)


def test_where_the_users_own_daemon_was_last_is_theirs_too(home):
    home.login("http+unix:///other/tyger.sock:")
    state = home.path / "xdg-state/tyger"
    state.mkdir(parents=True)
    (state / "socket").write_text("/other/tyger.sock")
    where = target.locate(home.environ)
    assert (where.socket, where.foreign) == ("/other/tyger.sock", False)


def test_a_login_at_the_systems_daemon(home):
    home.login(f"http+unix://{paths.SYSTEM_SOCKET}:")
    assert target.locate(home.environ) == paths.locate(home.environ, system=True)


def test_a_login_helps_where_the_own_daemon_has_no_place(home):
    (home.path / f"tyger-{os.geteuid()}").write_text("not a directory")
    environ = home.environ | {"XDG_RUNTIME_DIR": "", "TMPDIR": str(home.path)}
    with pytest.raises(errors.Problem):
        target.locate(environ)
    home.login("unix:///login")
    assert target.locate(environ).socket == "/login"


@pytest.mark.parametrize(
    "url", ["https://host", "http://host:6888", "ssh://host", "docker://box", "https+unix:///x"]
)
def test_a_login_at_what_is_out_of_reach(home, url):
    home.login(url)
    assert target.find(home.environ).address.scheme == url.partition(":")[0]
    with pytest.raises(errors.Problem, match="this version of tyger cannot reach") as caught:
        target.locate(home.environ)
    assert caught.value.kind is errors.UNAVAILABLE
    assert url in caught.value.message


def test_logged_out_is_obeyed(home):
    home.login("")
    for look in (target.find, target.locate):
        with pytest.raises(errors.Problem, match="run 'tyger login' to connect to a Tyger server") as caught:
            look(home.environ)
        assert caught.value.kind is errors.UNAVAILABLE
    assert target.locate(home.environ | {"TYGER_SOCKET": "/s"}).socket == "/s"
    assert target.own(home.environ) == paths.locate(home.environ)


@pytest.mark.parametrize("url", ["nonsense", "unix://", "http+unix:///" + "x" * 200])
def test_a_login_that_makes_no_sense(home, url):
    home.login(url)
    with pytest.raises(errors.Problem) as caught:
        target.locate(home.environ)
    assert caught.value.kind is errors.CONFIG


def test_socket_path_names_somebody_elses(home):
    where = target.own(home.environ | {"TYGER_SOCKET_PATH": "/opt/x"})
    assert (where.socket, where.foreign) == ("/opt/x", True)
    assert not target.own(home.environ | {"TYGER_SOCKET_PATH": ""}).foreign
