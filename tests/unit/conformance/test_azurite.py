"""The tests' Azurite is no worse than Azure where `tests/support/azurite.js` has mended it."""

import datetime as dt
import http.client
import socket

from azure.storage import blob

from tests.support import azurite


def writer(server, container):
    """What follows a blob's path: an access URL that creates and reads."""
    return blob.generate_container_sas(
        server.accounts[0],
        container,
        account_key=azurite.KEY,
        permission="cr",
        expiry=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
    )


def test_a_writer_whose_body_comes_late_does_not_overwrite():
    with azurite.azurite() as server:
        with blob.BlobServiceClient.from_connection_string(server.connection_string()) as service:
            service.create_container("once")
        target = f"/{server.accounts[0]}/once/00?{writer(server, 'once')}"
        head = (
            f"PUT {target} HTTP/1.1\r\nHost: h\r\nx-ms-version: 2021-08-06\r\nx-ms-blob-type: BlockBlob\r\n"
            "Content-Length: 4\r\nConnection: close\r\n"
        )
        with socket.create_connection((server.host, server.port)) as late:
            late.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert late.recv(1000).startswith(b"HTTP/1.1 100 ")  # it is being answered
            with socket.create_connection((server.host, server.port)) as first:
                first.sendall(f"{head}\r\nmine".encode())
                assert first.recv(1000).startswith(b"HTTP/1.1 201 ")
            late.sendall(b"late")
            answer = late.recv(1000)
        assert answer.startswith(b"HTTP/1.1 409 ")
        assert b"BlobAlreadyExists" in answer
        reading = http.client.HTTPConnection(server.host, server.port)
        reading.request("GET", target)
        assert reading.getresponse().read() == b"mine"
        reading.close()
