"""The engine that a daemon has: found once, known again, and found again."""

import json
import os
import signal

import pytest
import trio

from tests.support import podman as podman_support
from tests.unit.engines.container import conftest
from tyger import errors
from tygerd import enginesettings
from tygerd.engines.container import api, find, link, probe


def make(tmp_path, socket):
    (tmp_path / "runs").mkdir(exist_ok=True)
    return link.Link(
        str(tmp_path),
        str(tmp_path / "runs"),
        enginesettings.Container(socket=str(socket)),
        installation=conftest.INSTALLATION,
        environ={},
    )


@pytest.fixture
def asked(monkeypatch):
    """How often an engine was examined; it is taken to be able to do all."""
    calls = []
    facts = find.Facts("Podman", "1", "amd64", rootless=False, limits=True, gpu=False, cpus=1)

    async def ask(engine):
        calls.append(engine.socket)
        return facts

    async def pipes(engine, place, directory):
        return probe.Answer(init=True, reason=None)

    monkeypatch.setattr(find, "ask", ask)
    monkeypatch.setattr(probe, "pipes", pipes)
    return calls


async def test_what_was_found_out_is_known_to_the_next_daemon(podman, tmp_path, asked):
    first = make(tmp_path, podman.socket)
    assert not first.used_before
    engine, place = await first.get()
    assert await engine.get("/_ping") is None
    assert (await first.get()) == (engine, place)
    assert first.used_before
    await first.close()
    second = make(tmp_path, podman.socket)
    assert second.used_before
    assert (await second.get())[1] == place
    await second.close()
    assert len(asked) == 1


async def test_for_real(podman, tmp_path):
    made = make(tmp_path, podman.socket)
    engine, place = await made.get()
    assert (place.facts.name, engine.socket) == ("Podman", podman.socket)
    await made.close()
    record = json.loads((tmp_path / "container-engine.json").read_text())
    assert record["init"] == place.init
    assert os.listdir(tmp_path / "runs") == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"of": [], "facts": {"name": "x"}, "init": true}'])
async def test_a_record_that_makes_no_sense_is_made_anew(podman, tmp_path, asked, text):
    (tmp_path / "container-engine.json").write_text(text)
    made = make(tmp_path, podman.socket)
    await made.get()
    await made.close()
    assert len(asked) == 1


async def test_another_engine_on_the_socket_is_examined(podman, tmp_path, asked):
    made = make(tmp_path, podman.socket)
    await made.get()
    await made.close()
    path = tmp_path / "container-engine.json"
    record = json.loads(path.read_text())
    record["of"][1] = "Docker/1.0"
    path.write_text(json.dumps(record))
    again = make(tmp_path, podman.socket)
    await again.get()
    await again.close()
    assert len(asked) == 2


async def test_there_is_none(tmp_path):
    made = make(tmp_path, tmp_path / "s")
    for _ in range(2):
        with pytest.raises(errors.Problem, match="no container engine answers") as caught:
            await made.get()
        assert caught.value.kind is errors.UNAVAILABLE
    assert not made.used_before


async def test_it_comes_and_goes(tmp_path, asked):
    with podman_support.service() as podman:
        made = make(tmp_path, podman.socket)
        podman.kill()
        with pytest.raises(errors.Problem):
            await made.get()
        podman.start()
        engine, _ = await made.get()  # nobody who has just started it is told otherwise
        podman.kill()
        podman.start()
        assert await engine.get("/_ping") is None  # by a new connection
        podman.kill()
        made.doubt()
        with pytest.raises(errors.Problem, match="no container engine answers"):
            await made.get()
        podman.start()
        made.doubt()
        await made.get()
        await made.close()
    assert len(asked) == 1


async def test_one_that_hangs_is_there_when_it_goes_on(tmp_path, asked, monkeypatch):
    """However long it is taken to be away; and who was in the middle of a request is told the reason."""
    monkeypatch.setattr(link, "AWAY_FACTOR", 1_000_000)
    said = []

    async def request(engine):
        with pytest.raises(errors.Problem) as caught:
            await engine.get("/_ping")
        said.append(caught.value.message)

    with podman_support.service() as podman:
        made = make(tmp_path, podman.socket)
        engine, _ = await made.get()
        podman.hang()
        try:
            made.doubt()
            with monkeypatch.context() as patch:
                patch.setattr(api, "CONNECT_SECONDS", 0.2)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(request, engine)
                    for _ in range(2):
                        with pytest.raises(errors.Problem, match="it does not answer"):
                            await made.get()
        finally:
            os.kill(podman.pid, signal.SIGCONT)
        await made.get()
        await made.close()
    assert said == [f"cannot reach the container engine on {podman.socket}: it does not answer"]


async def test_one_in_which_pipes_do_not_work(podman, tmp_path, asked, monkeypatch):
    async def pipes(engine, place, directory):
        asked.append("pipes")
        return probe.Answer(init=True, reason="nothing arrives", kind=errors.CONFIG)

    monkeypatch.setattr(probe, "pipes", pipes)
    made = make(tmp_path, podman.socket)
    for _ in range(3):
        with pytest.raises(errors.Problem, match="Podman cannot execute runs: nothing arrives"):
            await made.get()
    await made.close()
    assert asked.count("pipes") == 1
    assert not (tmp_path / "container-engine.json").exists()


async def test_after_its_end_nobody_is_asked(podman, tmp_path, asked):
    made = make(tmp_path, podman.socket)
    await made.get()
    await made.close()
    with pytest.raises(errors.Problem, match="not used any more"):
        await made.get()


async def test_looking_may_be_cancelled(podman, tmp_path, asked, monkeypatch):
    made = make(tmp_path, podman.socket)
    with monkeypatch.context() as patch, trio.CancelScope() as scope:

        async def ask(engine):
            scope.cancel()
            await trio.sleep_forever()

        patch.setattr(find, "ask", ask)
        await made.get()
    assert scope.cancelled_caught
    await made.get()
    await made.close()


async def test_many_who_need_it_at_once_find_it_once(podman, tmp_path, asked):
    made = make(tmp_path, podman.socket)
    found = []

    async def get():
        found.append(await made.get())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(get)
    await made.close()
    assert len(asked) == 1
    assert all(isinstance(engine, api.Api) for engine, _ in found)


async def test_a_disk_that_is_full_only_forgets(podman, tmp_path, asked, caplog):
    (tmp_path / "container-engine.json.new").mkdir()
    made = make(tmp_path, podman.socket)
    await made.get()
    await made.close()
    assert "cannot keep what is known of the container engine" in caplog.text
