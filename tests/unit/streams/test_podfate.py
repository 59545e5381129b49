"""How main ended, as an API server says it: at once, late, not at all."""

import datetime as dt
import pathlib

import pytest

from tests.support import podapi
from tyger import errors
from tygerd.streams import podfate


@pytest.fixture
def api(tmp_path):
    with podapi.PodApi(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """An API server on a busy machine is not lost."""
    monkeypatch.setattr(podfate, "FIRST_TIMEOUT", 60.0)


@pytest.fixture
def own(api):
    return podfate.Own(api.environ, api.directory)


@pytest.mark.parametrize("code", [0, 7, 137])
async def test_mains_code(api, own, code):
    api.main = code
    assert await own.fate() == podfate.Fate(code)


async def test_it_is_known_a_moment_later(api, own, monkeypatch):
    def look(timeout):
        api.main = 3 if api.asked == 2 else None
        return podfate.Own._look(own, timeout)

    monkeypatch.setattr(own, "_look", look)
    assert await own.fate() == podfate.Fate(3)
    assert api.asked == 3


async def test_a_deleted_pod_is_cancelled_whatever_main_made_of_it(api, own):
    api.main, api.deleted = 0, True
    assert await own.fate() == podfate.Fate(None, "the pod was deleted")


async def test_a_pod_that_failed_as_a_whole(api, own):
    api.more = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
    assert (await own.fate()).gone == "the pod failed: The node was low on memory."


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {"conditions": [{"type": "DisruptionTarget", "status": "True", "message": "low on memory"}]},
            "the pod was disrupted: low on memory",
        ),
        ({"startTime": "2026-01-01T00:00:00Z"}, "the pod was active longer than 600 seconds"),
    ],
)
async def test_a_kubelet_that_ends_the_whole_pod_says_nothing_of_main(api, own, status, words):
    """Not before it has ended the pump, too: why it does so is enough."""
    api.more = status
    assert (await own.fate()).gone == words


def test_nobody_is_judged_before_it_is_time():
    pod = podfate.Pod(
        spec=podfate.Spec(active_deadline_seconds=60),
        status=podfate.Status(
            start_time="2026-01-01T00:00:00Z",
            conditions=[podfate.Condition("DisruptionTarget", "False"), podfate.Condition("Ready", "True")],
        ),
    )
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert podfate.judge(pod, start + dt.timedelta(seconds=59)) is None
    assert podfate.judge(pod, start + dt.timedelta(seconds=60)) is not None


async def test_what_passes_is_waited_for(api, own, caplog):
    api.main, api.refusals = 0, [500, 429, 403, 401]
    assert await own.fate() == podfate.Fate(0)
    assert "cannot ask how main ended: it said 500; trying again" in caplog.text


async def test_a_connection_that_was_lost_is_given_up_soon(api, own, monkeypatch):
    """Another one may answer at once, and has twice the time."""
    monkeypatch.setattr(podfate, "FIRST_TIMEOUT", 0.2)
    api.main, api.silent = 0, 1
    timeouts = []

    def look(timeout):
        timeouts.append(timeout)
        return podfate.Own._look(own, 60.0 if len(timeouts) > 1 else timeout)

    monkeypatch.setattr(own, "_look", look)
    assert await own.fate() == podfate.Fate(0)
    assert timeouts == [0.2, 0.4]


async def test_a_pod_that_is_not_there(api, own):
    api.refusals = [404]
    assert (await own.fate()).gone == "the pod is gone"


async def test_a_token_is_read_each_time(api, own, monkeypatch):
    """The kubelet replaces it."""
    api.main, api.token = 0, "fresh"
    place = pathlib.Path(api.directory, "token")

    def look(timeout):
        if api.asked:
            place.write_text("fresh")
        return podfate.Own._look(own, timeout)

    monkeypatch.setattr(own, "_look", look)
    assert await own.fate() == podfate.Fate(0)
    assert api.asked == 2


async def test_an_api_server_that_will_not_tell(api, own, autojump_clock, monkeypatch):
    monkeypatch.setattr(podfate, "REFUSALS", 2)
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
