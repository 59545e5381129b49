"""The server whose answers the tests of patience arrange."""

import pytest

from tests.support import blobserver


@pytest.fixture
def server():
    with blobserver.BlobServer() as made:
        made.put("00/000", b"data")
        yield made
