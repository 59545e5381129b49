"""Requests of Azure's libraries go where the network's settings say."""

import pytest
import requests
from azure.core import exceptions
from azure.core.pipeline.transport import HttpRequest

from tests.support import certificates, entra, scripted, webproxy
from tygerd.stores import azuretransport, network


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("tls"), "login.example")


def ask(settings, url):
    with azuretransport.transport(settings, url) as transport:
        return transport.send(HttpRequest("GET", url)).status_code


def test_no_environment(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    with scripted.Peer(scripted.replying(scripted.answer(200)), tcp=True) as peer:
        assert ask(network.Network(), f"http://127.0.0.1:{peer.port}/") == 200
    request = peer.requests[0].head
    assert b"Proxy" not in request


def closing_late(connection):
    """A script: answer, take the next request for one that comes too late."""
    connection.read_request().say(scripted.answer(200))
    connection.read_request()


def test_a_connection_that_was_closed_while_it_was_idle_is_replaced():
    with scripted.Peer(closing_late, scripted.replying(scripted.answer(201)), tcp=True) as peer:
        url = f"http://127.0.0.1:{peer.port}/"
        with azuretransport.transport(network.Network(), url) as transport:
            assert transport.send(HttpRequest("GET", url)).status_code == 200
            assert transport.send(HttpRequest("PUT", url)).status_code == 201


def test_our_authorities_only(certificate):
    with entra.Entra(certificate) as server:
        url = f"{server.authority}/{entra.TENANT}/"
        assert ask(network.Network(ca_file=certificate), url) == 200
        with pytest.raises(exceptions.ServiceRequestError, match="self-signed"):
            ask(network.Network(), url)


def test_a_ca_file_is_in_place_of_the_list_that_comes_with_requests(certificate):
    with azuretransport.transport(network.Network(ca_file=certificate), "https://h/") as transport:
        transport.open()
        adapter = transport.session.get_adapter("https://h/")
        assert isinstance(adapter, requests.adapters.HTTPAdapter)
        pool = adapter.get_connection_with_tls_context(
            requests.Request("GET", "https://h/").prepare(), verify=True
        )
        assert pool.ca_certs is None
        assert len(pool.conn_kw["ssl_context"].get_ca_certs()) == 1


def test_through_a_proxy_with_a_password(certificate):
    with (
        entra.Entra(certificate) as server,
        webproxy.WebProxy(int(server.authority.rpartition(":")[2]), password="me:secret") as proxy,
    ):
        settings = network.settings({}, proxy=f"http://me:secret@127.0.0.1:{proxy.port}", ca_file=certificate)
        assert ask(settings, f"https://login.example/{entra.TENANT}/") == 200
        wrong = network.settings({}, proxy=f"http://127.0.0.1:{proxy.port}", ca_file=certificate)
        with pytest.raises(exceptions.ServiceRequestError, match="407"):
            ask(wrong, f"https://login.example/{entra.TENANT}/")
