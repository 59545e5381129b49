"""An engine to ask: a real Podman, with its facts."""

import pytest

from tygerd.engines.container import find


@pytest.fixture
async def engine(podman):
    """The API of the session's Podman, and what it says of itself."""
    connected = await find.reach(podman.socket, {})
    yield connected, await find.ask(connected)
    await connected.close()
