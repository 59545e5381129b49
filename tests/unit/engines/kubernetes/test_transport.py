"""Requests through the client library, and what its failures mean."""

import gc
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading

import pytest

from tests.house import sources
from tests.support import apiserver, certificates, freeport
from tygerd.engines.kubernetes import credentials, kubeconfig, refusals, transport

NOBODY = credentials.Credential()
PATIENT = transport.Timeout(60, 60)


@pytest.fixture
def certificate(tmp_path):
    return certificates.make(tmp_path)


@pytest.fixture
def server(certificate):
    with apiserver.ApiServer(certificate, clients=certificate) as server:
        yield server


@pytest.fixture
def connect(server, certificate):
    made = []

    def connect(credential=NOBODY, environ=None, *, connections=4, **target):
        said = {"authority": pathlib.Path(certificate).read_bytes(), "server": server.url, **target}
        aim = kubeconfig.Target(namespace="n", origin="o", **said)
        made.append(transport.Transport(aim, credential, environ or {}, connections=connections))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def ask(connection, path="/version", *, method="GET", credential=NOBODY, timeout=PATIENT, **more):
    body = more.get("body")
    headers = transport.headers(credential, None if body is None else "application/json")
    return connection.request(method, path, headers=headers, timeout=timeout, **more)


def trouble(*arguments, **options):
    with pytest.raises(refusals.Trouble) as caught:
        ask(*arguments, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def test_one_connection_serves_many_requests(server, connect):
    server.answers["GET /version"] = {"gitVersion": "v1"}
    connection = connect()
    for _ in range(3):
        assert ask(connection).body() == {"gitVersion": "v1"}
    assert server.connections == 1


def test_certificates_are_read_once(server, connect, certificate):
    pem = pathlib.Path(certificate).read_bytes()
    server.answers["GET /version"] = {}
    connection = connect(credentials.Credential((), pem, pem))
    for path in (connection.configuration.ssl_ca_cert, connection.configuration.cert_file):
        os.truncate(path, 0)
    for _ in range(2):
        ask(connection).close()
    assert server.connections == 2
    assert {seen.peer for seen in server.seen} == {"localhost"}


def test_the_client_library_is_loaded_late():
    """A daemon without a cluster does without its 35 MB."""
    script = "import sys, tygerd.app; sys.exit('kubernetes' in sys.modules or 'urllib3' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=sources.ROOT, check=True, timeout=60)


def test_what_goes_with_a_request(server, connect):
    server.answers["POST /x"] = {}
    who = credentials.Credential((("Authorization", "Bearer t"), ("Impersonate-Group", "a")))
    who = who._replace(headers=(*who.headers, ("Impersonate-Group", "b")))
    ask(connect(), "/x?a=b", method="POST", credential=who, body={"kind": "Pod"}).read()
    (seen,) = server.seen
    assert (seen.path, seen.body) == ("/x?a=b", b'{"kind": "Pod"}')
    assert seen.headers["Authorization"] == "Bearer t"
    assert seen.headers.get_all("Impersonate-Group") == ["a", "b"]
    assert seen.headers["Content-Type"] == "application/json"


def test_a_client_certificate_is_in_no_file(server, connect, certificate):
    pem = pathlib.Path(certificate).read_bytes()
    server.answers["GET /version"] = {}
    connection = connect(credentials.Credential((), pem, pem))
    ask(connection).read()
    assert server.seen[0].peer == "localhost"
    paths = {connection.configuration.cert_file, connection.configuration.ssl_ca_cert}
    assert all(os.readlink(path).startswith("/memfd:") for path in paths)


def test_whoever_has_the_client_has_its_certificates(server, connect, certificate):
    pem = pathlib.Path(certificate).read_bytes()
    aim = kubeconfig.Target(server=server.url, namespace="n", origin="o", authority=pem)
    made = transport.Transport(aim, NOBODY, {}, connections=1)
    client = made.client
    path = client.configuration.ssl_ca_cert
    del made
    gc.collect()
    assert pathlib.Path(path).read_bytes() == pem
    client.rest_client.close()
    del client
    gc.collect()
    assert not os.path.exists(path) or not os.readlink(path).startswith("/memfd:")


def test_failures_are_answers(server, connect):
    server.answers["GET /version"] = apiserver.status(503, "not yet", headers=[("Retry-After", "3")])
    answer = ask(connect())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "3")
    assert answer.body()["message"] == "not yet"


def test_an_answer_that_is_no_table(server, connect):
    server.answers["GET /version"] = [
        apiserver.Reply(502, b"<html>\xff"),
        apiserver.Reply(200, b"[1]"),
    ]
    connection = connect()
    assert ask(connection).body() == "<html>�"
    assert ask(connection).body() == "[1]"


# --- nobody answers ----------------------------------------------------------------------------------------


@pytest.fixture
def nobody():
    """A port on which nobody listens."""
    with freeport.freeport() as port:
        yield port


def test_nobody_listens(connect, nobody):
    found = trouble(connect(server=f"https://127.0.0.1:{nobody}"))
    assert isinstance(found, refusals.Transient)
    assert found.status is None
    assert found.message == f"the API server https://127.0.0.1:{nobody} does not answer: Connection refused"


def test_a_host_that_has_no_address(connect):
    found = trouble(connect(server="https://no-such-host.invalid:6443"))
    assert isinstance(found, refusals.Transient)
    assert "https://no-such-host.invalid:6443 does not answer: " in found.message
    assert "HTTPSConnection" not in found.message


def test_a_server_that_is_silent(server, connect):
    done = threading.Event()
    server.answers["GET /version"] = lambda _request: done.wait(120) and None
    found = trouble(connect(), timeout=transport.Timeout(60, 0.2))
    done.set()
    assert isinstance(found, refusals.Transient)
    assert found.message.endswith("does not answer: it kept silent for too long")


def test_a_server_that_does_not_even_greet(connect):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = connect(server=f"https://127.0.0.1:{listening.getsockname()[1]}")
        found = trouble(connection, timeout=transport.Timeout(0.1, None))
    assert isinstance(found, refusals.Transient)
    assert found.message.endswith("does not answer: it kept silent for too long")


def test_a_server_that_hangs_up(server, connect):
    server.answers["GET /version"] = None
    found = trouble(connect())
    assert isinstance(found, refusals.Transient)
    assert found.message.endswith("does not answer: the connection was closed before all had come")


def test_an_answer_that_is_cut_short(server, connect):
    server.answers["GET /version"] = apiserver.Reply(200, [b'{"git'], cut=True)
    with pytest.raises(refusals.Transient, match="answer: the connection was closed before all had come"):
        ask(connect()).read()


def test_a_server_without_tls(connect):
    with apiserver.ApiServer() as plain:
        plain.answers["GET /version"] = {}
        assert isinstance(trouble(connect(server=plain.url.replace("http", "https"))), refusals.Transient)
        assert ask(connect(server=plain.url)).body() == {}


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_a_server_that_is_not_to_be_trusted(server, connect, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    authority = pathlib.Path(certificates.make(other)).read_bytes()
    found = trouble(connect(authority=authority))
    assert isinstance(found, refusals.NoAccess)
    assert "is not to be trusted: certificate verify failed: self" in found.message
    server.answers["GET /version"] = {}
    assert ask(connect(authority=authority, insecure=True)).body() == {}


def test_a_server_of_another_name(server, connect):
    found = trouble(connect(tls_server_name="elsewhere"))
    assert isinstance(found, refusals.NoAccess)
    assert "elsewhere" in found.message
    server.answers["GET /version"] = {}
    assert ask(connect(tls_server_name="localhost")).body() == {}


@pytest.mark.parametrize("junk", [b"junk", b""])
def test_certificates_that_are_none(connect, junk):
    for said in ({"authority": junk}, {"credential": credentials.Credential((), junk, junk)}):
        with pytest.raises(refusals.NoAccess, match=r"the certificates for .* cannot be used: "):
            connect(**said)


def test_a_client_certificate_that_the_server_wants_and_does_not_like(server, connect, tmp_path):
    """With TLS 1.2 it says so before a request is sent; a server of 1.3 may hang up on the request."""
    server.context.verify_mode = ssl.CERT_REQUIRED
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2
    certificate, key, _authority = certificates.signed(tmp_path, days=-1)
    read = [pathlib.Path(path).read_bytes() for path in (certificate, key)]
    found = trouble(connect(credentials.Credential((), *read)))
    assert isinstance(found, refusals.NoAccess)
    assert "cannot be used: " in found.message
    assert "alert" in found.message


def test_a_proxy_of_the_environment(server, connect, nobody):
    gone = {"HTTPS_PROXY": f"http://127.0.0.1:{nobody}"}
    found = trouble(connect(environ=gone))
    assert found.message.endswith("does not answer: its proxy does not let us through: Connection refused")
    server.answers["GET /version"] = {}
    assert ask(connect(environ={**gone, "NO_PROXY": "127.0.0.0/8"})).body() == {}
    with pytest.raises(refusals.Transient):
        ask(connect(environ={"no_proxy": "*"}, proxy=f"http://127.0.0.1:{nobody}"))


# --- streams -----------------------------------------------------------------------------------------------


def test_pieces_come_as_they_are_sent(server, connect):
    turn = threading.Event()

    def pieces():
        yield b"one"
        assert turn.wait(60)
        yield b"two"

    server.answers["GET /log"] = lambda _request: apiserver.Reply(200, pieces())
    answer = ask(connect(), "/log", cut=transport.Cut())
    found = answer.pieces()
    assert next(found) == b"one"
    turn.set()
    assert list(found) == [b"two"]


def test_a_stream_that_breaks_off_is_not_at_its_end(server, connect):
    server.answers["GET /log"] = apiserver.Reply(200, [b"one"], cut=True)
    found = ask(connect(), "/log").pieces()
    assert next(found) == b"one"
    with pytest.raises(refusals.Transient, match="answer: the connection was closed before all had come"):
        next(found)


def test_cutting_wakes_who_waits_for_a_piece(server, connect):
    done = threading.Event()

    def pieces():
        yield b"one"
        done.wait(120)

    server.answers["GET /log"] = lambda _request: apiserver.Reply(200, pieces())
    cut = transport.Cut()
    found = ask(connect(), "/log", timeout=transport.Timeout(60, None), cut=cut).pieces()
    assert next(found) == b"one"
    rest = []
    reader = threading.Thread(target=lambda: rest.extend(found))
    reader.start()
    cut.cut()
    reader.join(60)
    done.set()
    assert not reader.is_alive()
    assert rest == []


def test_cutting_wakes_who_waits_for_the_head(server, connect):
    asked, done = threading.Event(), threading.Event()

    def answer(_request):
        asked.set()
        done.wait(120)

    server.answers["GET /log"] = answer
    cut = transport.Cut()
    failures = []

    def reader():
        try:
            ask(connect(), "/log", timeout=transport.Timeout(60, None), cut=cut)
        except refusals.Trouble as trouble:
            failures.append(trouble)

    thread = threading.Thread(target=reader)
    thread.start()
    assert asked.wait(60)
    cut.cut()
    thread.join(60)
    done.set()
    assert not thread.is_alive()
    assert [type(failure) for failure in failures] == [refusals.Transient]


def test_what_is_cut_before_it_begins_does_not_wait(server, connect):
    server.answers["GET /log"] = lambda _request: apiserver.Reply(200, [b"one"])
    cut = transport.Cut()
    cut.cut()
    assert isinstance(trouble(connect(), "/log", cut=cut), refusals.Transient)
