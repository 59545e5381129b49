"""Containers that nobody owns are removed; others stay."""

import secrets

import pytest

from tests.support import podman as podman_support
from tests.unit.engines.container import conftest
from tygerd.engines.container import sweep
from tygerd.supervisor import dockerapi


@pytest.fixture
def installation():
    return secrets.token_hex(16)


@pytest.fixture
def started(podman, installation):
    """Starts containers of runs, as supervisors do; they go with the test."""
    names = []

    def start(run, **labels):
        words = {"tyger-run": run, "tyger-installation": installation} | labels
        options = [f"--label={name}={value}" for name, value in words.items()]
        name = f"t-{secrets.token_hex(4)}"
        podman.cli("run", "--detach", f"--name={name}", *options, podman_support.BUSYBOX, "sleep", "100")
        names.append(name)
        return name

    yield start
    podman.cli("rm", "--force", "--ignore", "--time=0", *names)


def there(podman):
    return set(podman.cli("ps", "--all", "--format={{.Names}}").split())


async def test_orphans_are_killed_and_removed(engine, podman, installation, started, caplog):
    caplog.set_level("INFO")
    owned, orphan = started(1), started(2)
    other = started(3, **{"tyger-installation": "another"})
    strange = started("x")
    assert await sweep.sweep(engine[0], installation, lambda run: run == 1) == 1
    assert there(podman) & {owned, orphan, other, strange} == {owned, other}
    assert f"removed container {orphan}, whose supervisor is dead" in caplog.text
    assert await sweep.sweep(engine[0], installation, lambda _: False) == 0
    assert there(podman) & {owned, other} == {other}


async def test_of_one_run(engine, podman, installation, started):
    one, other = started(1), started(2)
    assert await sweep.sweep(engine[0], installation, lambda _: False, run=1) == 0
    assert there(podman) & {one, other} == {other}


async def test_one_that_cannot_be_removed_is_left_for_the_next_time(
    engine, installation, started, caplog, monkeypatch
):
    monkeypatch.setattr(dockerapi, "REMOVABLE", 0.0)
    started(1)
    assert await sweep.sweep(conftest.Reluctant(engine[0], 1000), installation, lambda _: False) == 1
    assert "device busy" in caplog.text


async def test_one_that_cannot_be_removed_at_first_is_removed_then(engine, podman, installation, started):
    """Podman refuses while it notices that a container has just ended."""
    name = started(1)
    assert await sweep.sweep(conftest.Reluctant(engine[0], 2), installation, lambda _: False) == 0
    assert name not in there(podman)
