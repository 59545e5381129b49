"""What the daemon says about itself to a client that knows nothing yet, contract rest-api.md 3.1 to 3.3."""

import os

import pytest

from tests.support import daemon, exchanges
from tests.support.answers import answer, ask

CONFIG = """
[[store.azure]]
name = "nobodys"
location = "eastus"

[store.azure.credential]
kind = "azure-cli"
"""
TEXT = "< 200 OK\n< Content-Type: text/plain\n<\n< Healthy\n"


@pytest.fixture(scope="module")
def local():
    """A daemon without any configuration."""
    with daemon.daemon() as it:
        yield it


def test_metadata(local):
    """No role, no authority: nobody seeks a token. One endpoint, as `LocalBuffers` promises to tyger-proxy."""
    body = f'{{"capabilities":["EphemeralBuffers","LocalBuffers"],"apiVersions":["1.0"],"storageEndpoints":["http+unix://{local.socket}:/"]}}'
    with exchanges.talk(local.socket) as talk:
        # As the original's client logs in: no query, no Content-Type. And as `login status` asks.
        talk.hold(ask("GET", "/metadata", None, "!Content-Type") + answer("200 OK", body))
        for target in (
            "/metadata?api-version=1.0",
            "/metadata?api-version=",
            "/v1/metadata",
            "/v1/metadata?api-version=0.1",
        ):
            talk.hold(ask("GET", target) + answer("200 OK", body))


def test_metadata_with_a_storage_account(talk, host):
    """What is kept elsewhere is not kept here, and there are two endpoints."""
    endpoints = f'"http+unix://{host.socket}:/","https://nobodys.blob.core.windows.net/"'
    talk.hold(
        ask("GET", "/metadata")
        + answer(
            "200 OK",
            f'{{"capabilities":["EphemeralBuffers"],"apiVersions":["1.0"],"storageEndpoints":[{endpoints}]}}',
        )
    )
    # An account that cannot be reached makes no daemon ill: that is what it is for.
    talk.hold(ask("GET", "/healthcheck") + TEXT)


def test_health():
    """Of a daemon that has just begun: after ten seconds, and then again, it leaves if it finds no directory."""
    with daemon.daemon() as local, exchanges.talk(local.socket) as talk:
        talk.hold(ask("GET", "/healthcheck", None, "!Content-Type") + TEXT)
        talk.hold(ask("GET", "/v1/healthcheck?api-version=odd") + TEXT)
        os.rename(local.state, f"{local.state}.away")
        talk.hold(
            ask("GET", "/healthcheck")
            + "< 503 Service Unavailable\n< Content-Type: text/plain\n<\n< Unhealthy\n"
        )
        os.rename(f"{local.state}.away", local.state)
        talk.hold(ask("GET", "/healthcheck") + TEXT)


def test_the_version_of_the_database(local):
    with exchanges.talk(local.socket) as talk:
        talk.hold(
            ask("GET", "/database-version-in-use", None, "!Content-Type")
            + answer("200 OK", '{"id":[[:number]]}')
        )
