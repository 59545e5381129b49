"""How main ended, as an API server says it: at once, late, not at all."""

import pathlib

import pytest

from tests.support import podapi
from tyger import errors
from tygerd.streams import podfate


@pytest.fixture
def api(tmp_path):
    with podapi.PodApi(tmp_path) as made:
        yield made


@pytest.fixture
def own(api):
    return podfate.Own(api.environ, api.directory)


@pytest.mark.parametrize("code", [0, 7, 137])
async def test_mains_code(api, own, code):
    api.main = code
    assert await own.fate() == podfate.Fate(code)


async def test_it_is_known_a_moment_later(api, own, monkeypatch):
    def look():
        api.main = 3 if api.asked == 2 else None
        return podfate.Own._look(own)

    monkeypatch.setattr(own, "_look", look)
    assert await own.fate() == podfate.Fate(3)
    assert api.asked == 3


async def test_a_deleted_pod_is_cancelled_whatever_main_made_of_it(api, own):
    api.main, api.deleted = 0, True
    assert await own.fate() == podfate.Fate(None, "the pod was deleted")


async def test_a_pod_that_failed_as_a_whole(api, own):
    api.more = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
    assert (await own.fate()).gone == "the pod failed: The node was low on memory."


async def test_what_passes_is_waited_for(api, own, caplog):
    api.main, api.refusals = 0, [500, 429, 403, 401]
    assert await own.fate() == podfate.Fate(0)
    assert "cannot ask how main ended: it said 500; trying again" in caplog.text


async def test_a_pod_that_is_not_there(api, own):
    api.refusals = [404]
    assert (await own.fate()).gone == "the pod is gone"


async def test_a_token_is_read_each_time(api, own, monkeypatch):
    """The kubelet replaces it."""
    api.main, api.token = 0, "fresh"
    place = pathlib.Path(api.directory, "token")

    def look():
        if api.asked:
            place.write_text("fresh")
        return podfate.Own._look(own)

    monkeypatch.setattr(own, "_look", look)
    assert await own.fate() == podfate.Fate(0)
    assert api.asked == 2


async def test_an_api_server_that_will_not_tell(api, own, autojump_clock, monkeypatch):
    monkeypatch.setattr(podfate, "REFUSALS", 2)
    monkeypatch.setattr(podfate, "LONGEST_PAUSE", 0.01)
    api.refusals = [403] * 9
    with pytest.raises(errors.Problem, match="cannot ask how main ended: it said 403") as caught:
        await own.fate()
    assert caught.value.kind is errors.FORBIDDEN
    assert api.asked == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _, environ: environ.pop("POD_NAME"), "POD_NAME is not set"),
        (lambda api, _: pathlib.Path(api.directory, "token").unlink(), "No such file"),
        (lambda api, _: pathlib.Path(api.directory, "ca.crt").write_text(""), "with what is in"),
    ],
)
async def test_a_pod_that_was_made_wrongly(api, monkeypatch, change, words):
    monkeypatch.setattr(podfate, "REFUSALS", 0)
    environ = dict(api.environ)
    change(api, environ)
    with pytest.raises(errors.Problem, match=words):
        await podfate.Own(environ, api.directory).fate()


async def test_another_servers_certificate(api, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    with podapi.PodApi(tmp_path / "other"):
        pathlib.Path(api.directory, "ca.crt").write_bytes((tmp_path / "other/ca.crt").read_bytes())
    monkeypatch.setattr(podfate, "REFUSALS", 0)
    with pytest.raises(errors.Problem, match="is not trusted"):
        await podfate.Own(api.environ, api.directory).fate()
