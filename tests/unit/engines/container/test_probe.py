"""Whether pipes work in containers: tried on a real Podman, and where they do not."""

import os

import pytest
import trio

from tests.support import podman as podman_support
from tests.unit.engines.container import conftest
from tyger import errors
from tygerd import enginesettings
from tygerd.engines.container import api, body, probe
from tygerd.supervisor import dockerapi

INSTALLATION = "fedcba98" * 4


def place_of(engine, **settings):
    return body.Place(INSTALLATION, engine[1], enginesettings.Container(**settings), init=True)


def left(podman, directory):
    """What a probe has left: containers, images, files."""
    filters = f"--filter=label={probe.PROBE}={INSTALLATION}"
    return [
        podman.cli("ps", "--all", "--quiet", filters),
        podman.cli("images", "--all", "--quiet", filters),
        *os.listdir(directory),
    ]


NOTHING = ["", ""]


@pytest.mark.parametrize("settings", [{}, {"user": "1234:5678", "root": "read-only"}])
async def test_pipes_work_and_nothing_is_left(engine, podman, tmp_path, settings):
    answer = await probe.pipes(engine[0], place_of(engine, **settings), str(tmp_path))
    assert answer.reason is None
    assert answer.init == os.path.exists("/usr/libexec/podman/catatonit")
    assert left(podman, tmp_path) == NOTHING


class Elsewhere(api.Api):
    """An engine that mounts another directory than ours, as one in a virtual machine does."""

    def __init__(self, real, directory):
        self._real = real
        self._other = str(directory)

    async def call(self, method, path, **request):
        if path == "/containers/create":
            host = request["body"]["HostConfig"]
            host["Binds"] = [f"{self._other}:/pipes"]
        return await self._real.call(method, path, **request)


async def test_pipes_that_lead_nowhere(engine, podman, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 0.5)
    (tmp_path / "other").mkdir()
    for name in ("in", "out"):
        os.mkfifo(tmp_path / "other" / name)
    (tmp_path / "ours").mkdir()
    elsewhere = Elsewhere(engine[0], tmp_path / "other")
    answer = await probe.pipes(elsewhere, place_of(engine), str(tmp_path / "ours"))
    assert "does not arrive on this host (nothing came)" in answer.reason
    assert answer.kind is errors.CONFIG
    assert left(podman, tmp_path / "ours") == NOTHING


async def test_a_container_that_ends_at_once_is_not_waited_for(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 3600.0)
    (tmp_path / "other").mkdir()  # without pipes in it
    (tmp_path / "ours").mkdir()
    elsewhere = Elsewhere(engine[0], tmp_path / "other")
    with trio.fail_after(600):
        answer = await probe.pipes(elsewhere, place_of(engine), str(tmp_path / "ours"))
    assert "(exit code 0)" in answer.reason


class Refusing(api.Api):
    """An engine that refuses some requests."""

    def __init__(self, real, test, message):
        self._real = real
        self._test = test
        self._message = message

    async def call(self, method, path, **request):
        if self._test(path, request.get("body")):
            raise api.Refused(500, self._message)
        return await self._real.call(method, path, **request)


async def test_an_engine_without_an_init(engine, podman, tmp_path):
    def asks_for_one(path, body):
        return path == "/containers/create" and body["HostConfig"]["Init"]

    without = Refusing(engine[0], asks_for_one, "container-init binary not found on the host")
    answer = await probe.pipes(without, place_of(engine), str(tmp_path))
    assert answer == probe.Answer(init=False, reason=None, kind=errors.CONFIG)
    assert left(podman, tmp_path) == NOTHING


async def test_an_engine_that_cannot_run_containers(engine, podman, tmp_path):
    broken = Refusing(engine[0], lambda path, _: path.endswith("/start"), "cgroups: too old")
    answer = await probe.pipes(broken, place_of(engine), str(tmp_path))
    assert answer.reason == "the engine refuses to run a container: cgroups: too old"
    assert answer.kind is errors.UNAVAILABLE
    assert left(podman, tmp_path) == NOTHING


async def test_an_interrupted_probe_is_cleaned_up_after(engine, podman, tmp_path):
    label = f"{probe.PROBE}={INSTALLATION}"
    podman.cli("create", "--label", label, podman_support.BUSYBOX, "true")
    podman.image("localhost/left:1", f"LABEL {label}")
    (tmp_path / "probe-x").mkdir()
    os.mkfifo(tmp_path / "probe-x/in")
    assert left(podman, tmp_path) != NOTHING
    await probe.pipes(engine[0], place_of(engine), str(tmp_path))
    assert left(podman, tmp_path) == NOTHING


async def test_a_probe_that_is_cancelled_leaves_nothing(engine, podman, tmp_path):
    async with trio.open_nursery() as nursery:

        def starts(path, _):
            if path.endswith("/start"):
                nursery.cancel_scope.cancel()
            return False

        await probe.pipes(Refusing(engine[0], starts, ""), place_of(engine), str(tmp_path))
    assert nursery.cancel_scope.cancelled_caught
    assert left(podman, tmp_path) == NOTHING


UNANSWERED = errors.Problem(errors.UNAVAILABLE, "cannot reach the engine")


@pytest.mark.parametrize(
    ("error", "path", "times"),
    [(conftest.BUSY, "/", 4), (conftest.BUSY, "/images", 2), (UNANSWERED, "/containers", 1)],
)
async def test_an_engine_that_does_not_let_go_is_asked_again(
    engine, podman, tmp_path, monkeypatch, error, path, times
):
    monkeypatch.setattr(dockerapi, "REMOVABLE", 0.0)
    reluctant = conftest.Reluctant(engine[0], times, error, path)
    answer = await probe.pipes(reluctant, place_of(engine), str(tmp_path))
    assert answer.reason is None
    assert reluctant.times == 0
    assert left(podman, tmp_path) == NOTHING


@pytest.mark.parametrize(
    ("error", "seconds", "words"),
    [(conftest.BUSY, 0.5, "device busy"), (UNANSWERED, 3600.0, "cannot reach the engine")],
)
async def test_an_engine_that_never_lets_go_is_not_waited_for(
    engine, podman, tmp_path, monkeypatch, caplog, error, seconds, words
):
    monkeypatch.setattr(dockerapi, "REMOVABLE", 0.0)
    monkeypatch.setattr(probe, "CLEANING_SECONDS", seconds)
    reluctant = conftest.Reluctant(engine[0], 1000, error)
    with trio.fail_after(600):
        answer = await probe.pipes(reluctant, place_of(engine), str(tmp_path))
    assert answer.reason is None
    assert f"is left there: {words}" in caplog.text
    assert left(podman, tmp_path) != NOTHING
    await probe.clean(engine[0], INSTALLATION)
    assert left(podman, tmp_path) == NOTHING


async def test_a_container_that_stays_keeps_nothing_else(engine, podman, tmp_path, monkeypatch):
    monkeypatch.setattr(dockerapi, "REMOVABLE", 0.0)
    label = f"--label={probe.PROBE}={INSTALLATION}"
    stuck, other = (podman.cli("create", label, podman_support.BUSYBOX, "true") for _ in range(2))
    podman.image("localhost/left:2", f"LABEL {probe.PROBE}={INSTALLATION}")
    reluctant = Refusing(engine[0], lambda path, _: path == f"/containers/{stuck}", "device busy")
    with pytest.raises(api.Refused, match="device busy"):
        await probe.clean(reluctant, INSTALLATION)
    assert left(podman, tmp_path) == [stuck[:12], ""]
    assert other != stuck
    await probe.clean(engine[0], INSTALLATION)


async def test_an_architecture_that_we_have_no_program_for(engine, tmp_path):
    place = place_of(engine)
    unknown = place._replace(facts=place.facts._replace(architecture="s390x"))
    assert await probe.pipes(engine[0], unknown, str(tmp_path)) == probe.Answer(init=False, reason=None)


async def test_a_directory_that_cannot_be_written(engine, tmp_path):
    with pytest.raises(errors.Problem, match="cannot make pipes in") as caught:
        await probe.pipes(engine[0], place_of(engine), str(tmp_path / "missing"))
    assert caught.value.kind is errors.IO_ERROR
