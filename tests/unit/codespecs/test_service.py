from datetime import UTC, datetime

import pytest
import trio

from tyger import errors, model
from tygerd import clock
from tygerd.catalog import db
from tygerd.codespecs import service

UID = 1000


@pytest.fixture
def codespecs(tmp_path):
    catalog = db.Catalog.open(str(tmp_path / "catalog.sqlite3"))
    yield service.Codespecs(catalog)
    catalog.close()


def job(image="i", **fields):
    return model.JobCodespec(image=image, **fields)


async def refused(call, *args, **kwargs):
    with pytest.raises(errors.Problem) as caught:
        await call(*args, **kwargs)
    return caught.value.kind, caught.value.message


NOT_FOUND = (errors.NOT_FOUND, "The resource was not found")


async def test_versions(codespecs):
    first = await codespecs.put("n", job(name="n", version=7, created_at="then"), UID)
    assert (first.name, first.version, first.image) == ("n", 1, "i")
    assert first.created_at.endswith("+00:00")
    assert await codespecs.put("n", job(), UID) == first
    second = await codespecs.put("n", job("j"), UID)
    assert second.version == 2
    third = await codespecs.put("n", job(), UID)
    assert third.version == 3
    assert await codespecs.latest("n") == third
    assert await codespecs.get("n", 1) == first
    assert await codespecs.get("n", 2) == second


async def test_the_newest_version_is_the_one_with_the_highest_number(codespecs, monkeypatch):
    for version, hour in ((1, 12), (2, 11), (3, 13), (4, 10)):
        monkeypatch.setattr(clock, "now", lambda hour=hour: datetime(2024, 1, 25, hour, tzinfo=UTC))
        assert (await codespecs.put("n", job(f"i{version}"), UID)).version == version
    assert (await codespecs.latest("n")).image == "i4"
    assert await listed(codespecs) == [("n", 4)]


async def test_quantities_are_stored_canonical(codespecs):
    made = await codespecs.put("n", job(resources=model.Resources(gpu=1, shm="1024Ki")), UID)
    assert (made.resources.gpu, made.resources.shm) == ("1", "1Mi")
    assert await codespecs.latest("n") == made
    same = await codespecs.put("n", job(resources=model.Resources(gpu="1000m", shm="1Mi")), UID)
    assert same.version == 1


async def test_put_refuses(codespecs):
    kind, message = await refused(codespecs.put, "N", job(), UID)
    assert kind is errors.INVALID_INPUT
    assert message.startswith("Codespec names must contain only")
    assert await refused(codespecs.put, "n", job(name="m"), UID) == (
        errors.INVALID_INPUT,
        "If provided, the codespec name in the body must match the name in the URL.",
    )
    assert (await refused(codespecs.put, "n", job(""), UID))[0] is errors.INVALID_INPUT
    assert await refused(codespecs.latest, "n") == NOT_FOUND


async def test_what_is_not_there(codespecs):
    await codespecs.put("n", job(), UID)
    assert await refused(codespecs.latest, "m") == NOT_FOUND
    for version in (0, 2, -1, 2**31, 2**80):
        assert await refused(codespecs.get, "n", version) == NOT_FOUND


async def test_concurrent_writers_make_each_version_once(codespecs):
    versions = []

    async def put(number):
        versions.append((await codespecs.put("n", job(f"i{number}"), UID)).version)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(put, number)
    assert sorted(versions) == list(range(1, 11))


async def listed(codespecs, limit=100, prefix=None):
    names, after = [], None
    while True:
        page = await codespecs.page(limit=limit, prefix=prefix, after=after)
        names += [(item.name, item.version) for item in page.items]
        if page.last is None:
            return names
        after = page.last


async def test_pages(codespecs):
    for name in ("b", "a", "a-c", "a.c", "b"):
        await codespecs.put(name, job(sockets=[model.Socket(port=1, input_buffer="x")], buffers=X), UID)
    expected = [("a", 1), ("a-c", 1), ("a.c", 1), ("b", 2)]
    for limit in (1, 2, 3, 4, 5):
        assert await listed(codespecs, limit) == expected
    assert await codespecs.page(limit=0, prefix=None, after=None) == ([], None)


X = model.BufferParameters(inputs=["x"])


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("", ["3d_a", "3dxa", "z"]),
        ("3d_", ["3d_a", "3dxa"]),
        ("3d\\_", ["3d_a"]),
        ("3d_\\", []),
        ("%a", ["3d_a", "3dxa"]),
        ("Z", []),
        ("q", []),
    ],
)
async def test_prefixes_are_patterns(codespecs, prefix, names):
    for name in ("3d_a", "3dxa", "z"):
        await codespecs.put(name, job(), UID)
    assert [name for name, _ in await listed(codespecs, prefix=prefix)] == names


async def test_a_prefix_that_is_too_long_for_the_database(codespecs):
    assert await listed(codespecs, prefix="q" * 49_999) == []
    kind, message = await refused(codespecs.page, limit=1, prefix="q" * 50_000, after=None)
    assert (kind, message) == (errors.INVALID_INPUT, "The prefix is longer than 49999 characters.")


async def test_what_is_wrong_with_the_body_is_told_first(codespecs):
    _, message = await refused(codespecs.put, "N", job(""), UID)
    assert message == "The image field is required."


async def test_references(codespecs):
    first = await codespecs.put("n.a-b_1", job(), UID)
    second = await codespecs.put("n.a-b_1", job("j"), UID)
    assert await codespecs.resolve("n.a-b_1") == second
    assert await codespecs.resolve("n.a-b_1/versions/1") == first


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("m", "The codespec 'm' was not found"),
        ("n/versions/2", "The version '2' of codespec 'n' was not found. The latest version is '1'."),
    ],
)
async def test_bad_references(codespecs, reference, message):
    await codespecs.put("n", job(), UID)
    assert await refused(codespecs.resolve, reference) == (errors.INVALID_INPUT, message)


@pytest.mark.parametrize(
    "reference",
    ["", "N", "n/1", "n/versions/", "n/versions/x", "n/versions/-1", "/n", "a b", "n/versions/1/"],
)
async def test_what_is_no_reference(codespecs, reference):
    kind, message = await refused(codespecs.resolve, reference)
    assert kind is errors.INVALID_INPUT
    assert message == (
        f"Error deserializing input: The codespec reference '{reference}' is invalid. It should be in the"
        " form '<codespec_name>' or '<codespec_name>/versions/<version_number>'. Path: $.job.codespec"
    )


async def test_a_version_that_is_out_of_range(codespecs):
    kind, message = await refused(codespecs.resolve, "n/versions/2147483648")
    assert kind is errors.INVALID_INPUT
    assert message == (
        "Error deserializing input: The codespec reference 'n/versions/2147483648' is invalid."
        " The version number '2147483648' is not a valid integer. Path: $.job.codespec"
    )


async def test_inline_codespecs(codespecs):
    given = job(name="x", version=3, created_at="then", resources=model.Resources(gpu=2))
    assert await codespecs.resolve(given) == job(resources=model.Resources(gpu="2"))
    assert (await refused(codespecs.resolve, job("")))[0] is errors.INVALID_INPUT
    _, message = await refused(codespecs.resolve, job(resources=model.Resources(gpu="x")))
    assert message.endswith("Path: $.job.codespec.resources.gpu")
