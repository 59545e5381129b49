"""An engine to ask: a real Podman, with its facts."""

import pytest

from tygerd.engines.container import find


@pytest.fixture
async def engine(podman):
    """The API of the session's Podman, and what it says of itself."""
    connected, facts = await find.connect(podman.socket, {})
    yield connected, facts
    await connected.close()
