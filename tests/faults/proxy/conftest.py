"""A server, the fault proxy before it, and a plain client of the proxy."""

import pytest

from tests.support import blobserver, faultproxy, plainclient


@pytest.fixture(params=["tcp", "unix"])
def server(request):
    with blobserver.BlobServer(tcp=request.param == "tcp") as it:
        it.put("00/000", plainclient.DATA)
        yield it


@pytest.fixture
def proxy(server):
    listen = "" if isinstance(plainclient.target(server), str) else ("127.0.0.1", 0)
    with faultproxy.Proxy(plainclient.target(server), listen=listen) as it:
        yield it


@pytest.fixture
def client(proxy):
    it = plainclient.Client(proxy)
    yield it
    it.close()
