"""The words for bubblewrap, and, where it works, what a job really sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

import pytest

from tygerd import config
from tygerd.engines.process import bwrap

PROGRAM = bwrap.find()
needs_bwrap = pytest.mark.skipif(
    PROGRAM is None or bwrap.probe(PROGRAM) is not None, reason="bubblewrap does not work here"
)


@pytest.fixture
def place():
    """A directory outside /tmp, /run and homes, where a daemon's state could stand."""
    path = tempfile.mkdtemp(prefix="tyger-", dir="/var/tmp")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def sandbox(place):
    for name in ("state", "socket", "home", "home/secret", "home/programs", "home/programs/bin"):
        os.mkdir(os.path.join(place, name), 0o700)
    return bwrap.Sandbox(
        PROGRAM or "/usr/bin/bwrap",
        homes=(f"{place}/home",),
        state=f"{place}/state",
        socket=f"{place}/socket/tyger.sock",
    )


def words(sandbox, image, **more):
    arguments = {"pipes": "/srv/pipes", "pipes_inside": "/run/secrets/1/pipes", "cwd": None} | more
    return bwrap.argv(sandbox, image, ["a", "b"], **arguments)


def pairs(argv, option, count=1):
    return [argv[i + 1 : i + 1 + count] for i, word in enumerate(argv) if word == option]


def test_the_host_without_what_is_private(sandbox, place):
    argv = words(sandbox, config.Image(image="x"))
    assert argv[0] == sandbox.program
    assert {"--die-with-parent", "--unshare-pid", "--cap-drop"} <= set(argv)
    assert ["/usr", "/usr"] in pairs(argv, "--ro-bind", 2)
    assert pairs(argv, "--remount-ro") == [["/"]]
    hidden = [path for (path,) in pairs(argv, "--tmpfs")]
    assert hidden == ["/tmp", "/run", f"{place}/home", f"{place}/state", f"{place}/socket"]
    assert pairs(argv, "--ro-bind", 2)[-1] == ["/srv/pipes", "/run/secrets/1/pipes"]
    assert argv[-6:] == ["--dir", bwrap.HOME, "--chdir", bwrap.HOME, "--", "a", "b"][-6:]


def test_mounts_in_what_is_hidden_are_not_gone_through(sandbox):
    """One that comes and goes there, as those of containers do, would let bubblewrap fail by chance."""
    bound = {source for source, _ in pairs(words(sandbox, config.Image(image="x")), "--ro-bind", 2)}
    assert not bound & {"/", "/tmp", "/run", "/dev", "/proc"}


def test_a_working_directory(sandbox):
    assert pairs(words(sandbox, config.Image(image="x"), cwd="/usr"), "--chdir") == [["/usr"]]


def test_a_socket_among_other_files_is_masked_alone(sandbox, place):
    os.chmod(f"{place}/socket", 0o755)
    with open(sandbox.socket, "w"):
        pass
    argv = words(sandbox, config.Image(image="x"))
    assert [f"{place}/socket"] not in pairs(argv, "--tmpfs")
    assert ["/dev/null", sandbox.socket] in pairs(argv, "--ro-bind", 2)


def test_programs_in_a_home_stay_visible(sandbox, place):
    image = config.Image(image="x", env={"PATH": f"{place}/home/programs/bin:/usr/bin"})
    argv = words(sandbox, image)
    assert [f"{place}/home/programs"] * 2 in pairs(argv, "--ro-bind", 2)
    assert bwrap.prefixes(image, sandbox.homes) == [f"{place}/home/programs", "/usr"]


def test_a_home_itself_is_never_made_visible(sandbox, place):
    os.mkdir(f"{place}/home/bin")
    image = config.Image(image="x", entrypoint=[f"{place}/home/bin/tool"])
    assert bwrap.prefixes(image, sandbox.homes) == [f"{place}/home/bin"]


def test_a_virtual_environment_brings_its_base(sandbox, place):
    os.makedirs(f"{place}/home/python/bin")
    with open(f"{place}/home/programs/pyvenv.cfg", "w") as file:
        file.write(f"home = {place}/home/python/bin\nversion = 3.11\n")
    image = config.Image(image="x", entrypoint=[f"{place}/home/programs/bin/python"])
    assert bwrap.prefixes(image, sandbox.homes) == [f"{place}/home/programs", f"{place}/home/python"]


def test_the_state_is_hidden_even_from_an_image_that_names_it(sandbox, place):
    os.mkdir(f"{place}/state/bin")
    image = config.Image(image="x", entrypoint=[f"{place}/state/bin/tool"])
    assert [f"{place}/state"] * 2 not in pairs(words(sandbox, image), "--ro-bind", 2)


def test_a_root_directory_entry_by_entry(sandbox, place):
    root = f"{place}/root"
    os.makedirs(f"{root}/usr/bin")
    os.makedirs(f"{root}/tmp")
    os.symlink("usr/bin", f"{root}/bin")
    argv = words(sandbox, config.Image(image="x", root=root))
    assert [f"{root}/usr", "/usr"] in pairs(argv, "--ro-bind", 2)
    assert pairs(argv, "--symlink", 2) == [["usr/bin", "/bin"]]
    assert ["/", "/"] not in pairs(argv, "--ro-bind", 2)
    assert pairs(argv, "--remount-ro") == [["/"]]


def run(sandbox, image, script, pipes):
    argv = bwrap.argv(
        sandbox, image, ["/bin/sh", "-c", script], pipes=pipes, pipes_inside="/run/secrets/1/pipes", cwd=None
    )
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"HOME": bwrap.HOME, "PATH": os.environ["PATH"]},
    )


@needs_bwrap
def test_what_a_job_sees(sandbox, place):
    os.mkfifo(f"{place}/state/in.pipe")
    with open(f"{place}/home/secret/key", "w"):
        pass
    script = f"""
        find {place}/home {place}/state {place}/socket -mindepth 1
        for file in /usr/x {place}/x /run/secrets/1/pipes/x; do touch $file 2> /dev/null && echo $file; done
        touch /tmp/mine $HOME/mine && ls /run/secrets/1/pipes
        test $$ -lt 10 && echo alone
    """
    done = run(sandbox, config.Image(image="x"), script, f"{place}/state")
    assert done.stdout.split() == ["in.pipe", "alone"], done


@needs_bwrap
def test_a_job_in_a_root_directory(sandbox, place):
    """It may lack every directory that we mount on."""
    root = f"{place}/root"
    os.mkdir(root)
    for name in ("bin", "lib", "lib64", "usr"):
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
        else:
            os.mkdir(f"{root}/{name}")
    image = config.Image(image="x", root=root)
    argv = bwrap.argv(
        sandbox,
        image,
        ["/bin/sh", "-c", "ls -d /* && touch /tmp/x $HOME/x && ! touch /x"],
        pipes=f"{place}/state",
        pipes_inside="/run/secrets/1/pipes",
        cwd=None,
    )
    here = argv.index("--dev")
    argv[here:here] = ["--ro-bind", "/usr", "/usr"]  # stands for what the image would hold
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"HOME": bwrap.HOME})
    assert done.returncode == 0, done
    assert {"/dev", "/proc", "/run", "/tmp", "/usr"} <= set(done.stdout.split())


@needs_bwrap
def test_the_probe_says_why_not():
    assert bwrap.probe("/no/such/bwrap") == "[Errno 2] No such file or directory: '/no/such/bwrap'"
    assert bwrap.probe("/bin/false") == "it failed"
