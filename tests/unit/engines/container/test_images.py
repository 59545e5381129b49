"""Images of a real Podman, pulled from a real registry, and refused in all the ways that registries have."""

import base64
import json

import pytest

from tests.support import podman as podman_support
from tests.support import registry as registry_support
from tyger import errors
from tygerd.engines.container import auth, images


@pytest.fixture(scope="module")
def registry(podman, tmp_path_factory):
    """A registry with an image in it, which Podman does not have: NAME/fresh:1."""
    with registry_support.serve(tmp_path_factory.mktemp("registry")) as place:
        own = podman.image("localhost/pushed:1", "ENV PUSHED=1")
        podman.cli("push", "--quiet", own, f"{place}/fresh:1")
        podman.cli("rmi", own)
        yield place


async def pulled(engine, reference, credentials=None):
    """What a pull reports."""
    lines = []

    async def take(line):
        lines.append(line)

    api, facts = engine
    await images.pull(api, facts, reference, take, credentials)
    return lines


async def refusal(engine, reference, credentials=None):
    with pytest.raises(errors.Problem) as caught:
        await pulled(engine, reference, credentials)
    return caught.value


async def test_an_image_that_is_there(engine):
    image = await images.inspect(engine[0], podman_support.BUSYBOX)
    assert image.id.startswith("sha256:")
    assert image.digest.startswith("sha256:")
    assert image.digest != image.id
    assert await images.inspect(engine[0], image.id) == image


async def test_what_an_image_starts(engine, podman):
    name = podman.image("localhost/starts:1", 'ENTRYPOINT ["/bin/echo", "a"]', 'CMD ["b"]')
    image = await images.inspect(engine[0], name)
    assert (image.entrypoint, image.command) == (["/bin/echo", "a"], ["b"])


async def test_an_image_that_is_missing(engine):
    assert await images.inspect(engine[0], "localhost/missing:1") is None
    problem = images.missing("localhost/missing:1", engine[1])
    assert problem.kind is errors.INVALID_INPUT
    assert "Run `podman pull localhost/missing:1` and try again" in problem.message


@pytest.mark.parametrize(
    "reference", ["", "a b", "../containers/json?x=", "a//b", "a/../b", "-a", "a:b?x", "UPPER/x:1", "a" * 300]
)
async def test_what_can_be_no_name(engine, reference):
    with pytest.raises(errors.Problem, match="is not the name of an image") as caught:
        await images.inspect(engine[0], reference)
    assert caught.value.kind is errors.INVALID_INPUT


async def test_pulling(engine, registry):
    name = f"{registry}/fresh:1"
    assert await images.inspect(engine[0], name) is None
    assert (await pulled(engine, name))[0] == f"pulling {name}"
    image = await images.inspect(engine[0], name)
    pinned = f"{registry}/fresh@{image.digest}"
    await pulled(engine, pinned)
    assert (await images.inspect(engine[0], pinned)).digest == image.digest


@pytest.mark.parametrize("name", ["fresh:2", "other:1", f"fresh@sha256:{'0' * 64}"])
async def test_an_image_that_the_registry_does_not_have(engine, registry, name):
    problem = await refusal(engine, f"{registry}/{name}")
    assert problem.kind is errors.INVALID_INPUT
    assert "has no such image" in problem.message


async def test_a_name_that_is_none_in_the_engines_eyes(engine):
    problem = await refusal(engine, "UPPER/x:1")
    assert problem.kind is errors.INVALID_INPUT
    assert "in lower case" in problem.message


async def test_a_registry_that_asks_for_a_password(engine, podman, tmp_path):
    with registry_support.serve(tmp_path, password=True) as place:
        account = f"{registry_support.USER}:{registry_support.PASSWORD}"
        name = f"{place}/busybox:1"
        podman.cli("push", "--quiet", f"--creds={account}", podman_support.BUSYBOX, name)
        problem = await refusal(engine, name)
        assert problem.kind is errors.FORBIDDEN
        assert f"sign in with podman login {place}" in problem.message
        assert await pulled(engine, name, credentials(tmp_path, place, account))
        problem = await refusal(engine, name, credentials(tmp_path, place, "tyger:wrong"))
        assert problem.kind is errors.FORBIDDEN
        assert f"the credentials of {tmp_path}/auth.json were refused" in problem.message
        assert "wrong" not in problem.message


def credentials(directory, place, account):
    path = directory / "auth.json"
    path.write_text(json.dumps({"auths": {place: {"auth": base64.b64encode(account.encode()).decode()}}}))
    return auth.find(f"{place}/busybox:1", str(path), {})


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (429, "TOOMANYREQUESTS", errors.TRY_AGAIN, "asked too often"),
        (403, "DENIED", errors.FORBIDDEN, "does not allow it"),
        (404, "NAME_UNKNOWN", errors.INVALID_INPUT, "has no such image"),
        (503, "UNAVAILABLE", errors.UNAVAILABLE, "cannot be reached"),
    ],
)
async def test_a_registry_that_refuses(engine, status, code, kind, words):
    with registry_support.refuse(status, code) as place:
        problem = await refusal(engine, f"{place}/busybox:1")
    assert problem.kind is kind, problem.message
    assert words in problem.message


async def test_a_registry_whose_name_nobody_knows(engine):
    problem = await refusal(engine, "no-such-host.invalid/busybox:1")
    assert problem.kind is errors.UNAVAILABLE
    assert "the registry no-such-host.invalid cannot be reached" in problem.message
