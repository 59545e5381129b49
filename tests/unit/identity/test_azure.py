"""Credentials: what is read from files, what Entra ID answers, and how long a token is used."""

import base64
import pathlib
import subprocess

import pytest

from tests.support import certificates, entra
from tyger import errors
from tygerd.identity import azure, kinds
from tygerd.stores import azuretransport, network

SCOPE = "https://storage.azure.com/.default"
KEY = base64.b64encode(b"k" * 64).decode()


def forbidden(url):
    raise AssertionError(f"{url} was asked for nothing")


def load(credential, environ=None, transport=forbidden):
    return azure.load(credential, "account", transport, environ or {})


def refusal(function, *arguments):
    with pytest.raises(errors.Problem) as caught:
        function(*arguments)
    assert "\n" not in caught.value.message
    return caught.value.kind.code, caught.value.message


# --- files -----------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "secret"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def test_an_account_key(file):
    found = load(kinds.Key(key_file=file(f" {KEY}\n")))
    assert (found.account, found.key, found.endpoint) == ("account", KEY, None)
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no base64!", "does not hold an account key, which is base64"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        (b"\xff\xfe", "does not hold one line of text"),
        (f"{KEY}\n{KEY}", "does not hold one line of text"),
        ("x" * (2 << 20), "is too large"),
    ],
)
def test_a_file_that_holds_no_key(file, content, words):
    path = file(content)
    code, message = refusal(load, kinds.Key(key_file=path))
    assert code == "Config"
    assert path in message
    assert words in message
    assert KEY not in message


def test_a_file_that_is_not_there(tmp_path):
    for credential in (
        kinds.Key(key_file=str(tmp_path / "no")),
        kinds.ConnectionString(connection_string_file=str(tmp_path / "no")),
        kinds.ClientSecret(tenant_id="t", client_id="c", client_secret_file=str(tmp_path / "no")),
        kinds.ClientCertificate(tenant_id="t", client_id="c", certificate_file=str(tmp_path / "no")),
    ):
        code, message = refusal(load, credential)
        assert code == "Config"
        assert message == f"cannot read the credential file {tmp_path}/no: No such file or directory"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (f"AccountName=account;AccountKey={KEY}", None),
        (f"accountname=account;ACCOUNTKEY={KEY};BlobEndpoint=http://h:1/account/;", "http://h:1/account"),
        (
            f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={KEY};EndpointSuffix=core.x.y",
            "https://account.blob.core.x.y",
        ),
    ],
)
def test_a_connection_string(file, text, endpoint):
    found = load(kinds.ConnectionString(connection_string_file=file(text)))
    assert (found.account, found.key, found.endpoint) == ("account", KEY, endpoint)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"AccountName=other;AccountKey={KEY}", "is of the account other, not of account"),
        ("AccountName=account;SharedAccessSignature=sv=1", "with AccountName and AccountKey"),
        ("nonsense", "with AccountName and AccountKey"),
        ("AccountName=account;AccountKey=x", "does not hold an account key"),
    ],
)
def test_what_is_no_connection_string(file, text, words):
    code, message = refusal(load, kinds.ConnectionString(connection_string_file=file(text)))
    assert code == "Config"
    assert words in message


def test_workload_identity_says_which_variable_is_missing(tmp_path):
    code, message = refusal(load, kinds.WorkloadIdentity(tenant_id="t"))
    assert (code, message) == (
        "Config",
        "workload-identity needs the key client_id, or AZURE_CLIENT_ID in the daemon's environment",
    )
    environ = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_FEDERATED_TOKEN_FILE": "/no/token"}
    tokens = load(kinds.WorkloadIdentity(), environ, lambda _: None)
    code, message = refusal(tokens.get_token, SCOPE)
    assert code == "Config"
    assert "/no/token" in message


# --- Entra ID --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("entra"))


@pytest.fixture
def server(certificate):
    with entra.Entra(certificate) as running:
        yield running


@pytest.fixture
def transport(certificate):
    return lambda url: azuretransport.transport(network.Network(ca_file=certificate), url)


@pytest.fixture
def principal(server, file):
    def make(**changes):
        values = {
            "tenant_id": entra.TENANT,
            "client_id": entra.CLIENT,
            "client_secret_file": file(entra.SECRET),
            "authority": server.authority,
        }
        return kinds.ClientSecret(**(values | changes))

    return make


def test_a_client_secret(principal, server, transport):
    tokens = load(principal(), transport=transport)
    assert server.asked == 0
    first = tokens.get_token(SCOPE)
    assert first.token.count(".") == 2
    assert tokens.get_token(SCOPE) == first
    assert server.asked == 1
    tokens.forget()
    tokens.get_token(SCOPE)
    assert server.asked == 2


def test_a_certificate(principal, server, transport, certificate):
    credential = kinds.ClientCertificate(
        tenant_id=entra.TENANT,
        client_id=entra.CLIENT,
        certificate_file=certificate,
        authority=server.authority,
    )
    with pytest.raises(errors.Problem, match="of kind client-certificate cannot be used") as caught:
        load(credential, transport=transport).get_token(SCOPE)  # the key is not RSA, which Entra ID asks for
    assert caught.value.kind is errors.CONFIG


def test_a_certificate_of_rsa(server, transport, tmp_path):
    path = str(tmp_path / "rsa.pem")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "2"]
    subprocess.run([*make, "-keyout", path, "-out", path + ".crt"], check=True, capture_output=True)
    both = pathlib.Path(path).read_bytes() + pathlib.Path(path + ".crt").read_bytes()
    pathlib.Path(path).write_bytes(both)
    credential = kinds.ClientCertificate(
        tenant_id=entra.TENANT, client_id=entra.CLIENT, certificate_file=path, authority=server.authority
    )
    assert load(credential, transport=transport).get_token(SCOPE).token
    assert len(server.assertions) == 1


def test_a_workload_identity(server, transport, file):
    credential = kinds.WorkloadIdentity(
        tenant_id=entra.TENANT, client_id=entra.CLIENT, token_file=file("a.b.c"), authority=server.authority
    )
    assert load(credential, transport=transport).get_token(SCOPE).token
    assert server.assertions == ["a.b.c"]


def test_what_entra_says_reaches_the_operator(principal, server, transport, file):
    tokens = load(principal(), transport=transport)
    server.refusal = entra.EXPIRED_SECRET
    code, message = refusal(tokens.get_token, SCOPE)
    assert code == "Config"
    assert message == (
        "Microsoft Entra ID gives no token:"
        " AADSTS7000222: The provided client secret keys for app are expired.;"
        f" check tenant_id, client_id and the secret in {file(entra.SECRET)}, then restart tygerd"
    )
    server.refusal, server.status = "Busy.", 503
    assert refusal(tokens.get_token, SCOPE) == (
        "Unavailable",
        "Microsoft Entra ID gives no token: HTTP Error: 503; try again later",
    )
    server.refusal = None
    assert tokens.get_token(SCOPE).token


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tenant_id": "other.example"}, "AADSTS90002: Tenant 'other.example' not found."),
        ({"client_id": "other"}, "AADSTS700016: Application with identifier 'other' was not found"),
    ],
)
def test_a_wrong_tenant_and_a_wrong_application(principal, transport, changes, words):
    code, message = refusal(load(principal(**changes), transport=transport).get_token, SCOPE)
    assert code == "Config"
    assert f"Microsoft Entra ID gives no token: {words}" in message
    assert "Trace ID" not in message


def test_a_wrong_secret_is_not_repeated(principal, transport, file):
    credential = principal()
    file("another-secret")
    code, message = refusal(load(credential, transport=transport).get_token, SCOPE)
    assert code == "Config"
    assert "AADSTS7000215: Invalid client secret provided." in message
    assert "another-secret" not in message


def test_entra_that_is_away_or_not_trusted(principal, server, transport):
    away = principal(authority="https://127.0.0.1:1")
    code, message = refusal(load(away, transport=transport).get_token, SCOPE)
    assert (code, message) == (
        "Unavailable",
        "cannot reach https://127.0.0.1:1 for a token: Connection refused",
    )
    stranger = load(principal(), transport=lambda url: azuretransport.transport(network.Network(), url))
    code, message = refusal(stranger.get_token, SCOPE)
    assert code == "Config"
    assert "its certificate is not trusted: self-signed certificate" in message


# --- how long a token is used ----------------------------------------------------------------------------


class Source:
    """Gives numbered tokens that live for an hour by the wall clock `now`."""

    def __init__(self, now):
        self.now = now
        self.given = 0

    def __call__(self):
        return self

    def get_token(self, *_, **__):
        self.given += 1
        return azure.Token(f"token{self.given}", int(self.now + 3600))


def test_a_token_lives_by_the_clock_that_is_never_set(monkeypatch):
    elapsed = [1000.0]
    real = azure.clock.now().timestamp()
    source = Source(real)
    tokens = azure.Tokens(source, boottime=lambda: elapsed[0])
    assert tokens.get_token(SCOPE) == ("token1", 0)
    elapsed[0] += 3600 - azure.MARGIN - 60
    assert tokens.get_token(SCOPE).token == "token1"
    elapsed[0] += 120
    assert tokens.get_token(SCOPE).token == "token2"


def test_a_challenge_gets_a_fresh_token():
    source = Source(azure.clock.now().timestamp())
    tokens = azure.Tokens(source)
    tokens.get_token(SCOPE)
    assert tokens.get_token(SCOPE, claims="{}").token == "token2"


@pytest.mark.parametrize(
    ("credential", "words"),
    [
        (kinds.Key(key_file="/f"), "copy the account's key to /f again"),
        (kinds.ConnectionString(connection_string_file="/f"), "copy the connection string to /f again"),
        (
            kinds.ClientCertificate(tenant_id="t", client_id="c", certificate_file="/f"),
            "the certificate in /f",
        ),
        (kinds.WorkloadIdentity(), "trusts the pod's service account"),
        (kinds.ManagedIdentity(), "that this machine has the identity"),
        (kinds.AzureCli(), "run: az login"),
    ],
)
def test_each_kind_has_its_advice(credential, words):
    assert words in azure.advice(credential)


def test_az_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, message = refusal(load(kinds.AzureCli()).get_token, SCOPE)
    assert code == "Config"
    assert "Azure CLI not found" in message
    assert message.endswith("run: az login")
