"""Certificates of the data plane: made, kept, renewed, given; and what cannot be used, in words."""

import os
import socket
import ssl
import stat
import threading

import pytest

from tests.support import certificates as made
from tyger import errors
from tygerd.identity import certificates


def own(path, host="10.77.0.1"):
    files = certificates.load_or_create(str(path), host)
    return files, certificates.read(files, host)


def given(directory, *names, ca=True, **options):
    certificate, key, authority = made.signed(directory, *names, **options)
    return certificates.Files(certificate, key, authority if ca else None)


@pytest.mark.parametrize("host", ["10.77.0.1", "fd00::1", "tyger.example", "müsli.example"])
def test_our_own_is_good_for_its_host(tmp_path, host):
    files, found = own(tmp_path, host)
    assert "BEGIN CERTIFICATE" in found.trusted
    assert "KEY" not in found.trusted
    assert stat.S_IMODE(os.stat(files.key).st_mode) == 0o600


def test_our_own_stays_as_it_is(tmp_path):
    assert own(tmp_path)[1].trusted == own(tmp_path)[1].trusted


def test_our_own_is_made_anew_for_another_host(tmp_path):
    assert own(tmp_path)[1].trusted != own(tmp_path, "10.77.0.2")[1].trusted


def test_our_own_is_made_anew_near_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "LIFE", certificates.RENEW_AHEAD)
    first = own(tmp_path)[1].trusted
    monkeypatch.undo()
    second = own(tmp_path)[1].trusted
    assert first != second
    assert own(tmp_path)[1].trusted == second


@pytest.mark.parametrize("name", [certificates.CERTIFICATE, certificates.KEY])
def test_our_own_is_made_anew_when_half_of_it_is_gone(tmp_path, name):
    first = own(tmp_path)[1].trusted
    os.unlink(tmp_path / name)
    assert own(tmp_path)[1].trusted != first


def test_a_directory_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.Problem, match=r"cannot make a certificate in .*: Not a directory") as caught:
        certificates.load_or_create(str(tmp_path / "file" / "keys"), "h")
    assert caught.value.kind is errors.IO_ERROR


@pytest.mark.parametrize("ca", [True, False])
def test_one_that_an_authority_has_signed(tmp_path, ca):
    """Judged by its authority, or trusted for itself."""
    files = given(tmp_path, "tyger.example", ca=ca)
    found = certificates.read(files, "tyger.example")
    with open(files.ca or files.certificate, encoding="ascii") as file:
        assert found.trusted == file.read()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda files: os.unlink(files.certificate), "host.pem: No such file or directory$"),
        (lambda files: os.unlink(files.key), "host.key.pem: No such file or directory$"),
        (lambda files: os.unlink(files.ca), "authority.pem: No such file or directory$"),
        (lambda files: write(files.certificate, b"\xff"), "host.pem: it is not in PEM form$"),
        (lambda files: write(files.certificate, b""), "host.pem: it, or its key .* is not in PEM form$"),
        (lambda files: write(files.ca, b""), "authority.pem: it holds no certificate in PEM form$"),
        (lambda files: write(files.key, key_of_another()), "it does not belong to the key .*host.key.pem$"),
        (lambda files: write(files.key, key_with_password()), "its key .* has a password"),
    ],
)
def test_what_cannot_be_used(tmp_path, spoil, words):
    files = given(tmp_path, "tyger.example")
    spoil(files)
    with pytest.raises(errors.Problem, match=words) as caught:
        certificates.read(files, "tyger.example")
    assert caught.value.kind is errors.CONFIG
    assert "\n" not in str(caught.value)


def test_one_for_another_host(tmp_path):
    with pytest.raises(errors.Problem, match=r"clients would refuse it: Hostname mismatch, .*'other'"):
        certificates.read(given(tmp_path, "tyger.example"), "other")


def test_one_that_has_expired(tmp_path):
    with pytest.raises(errors.Problem, match="clients would refuse it: certificate has expired"):
        certificates.read(given(tmp_path, "tyger.example", days=-1), "tyger.example")


def test_one_of_another_authority(tmp_path):
    files = given(tmp_path, "tyger.example")
    (tmp_path / "other").mkdir()
    other = given(tmp_path / "other", "tyger.example")
    with pytest.raises(errors.Problem, match="clients would refuse it: "):
        certificates.read(files._replace(ca=other.ca), "tyger.example")


def test_old_versions_of_tls_are_refused(tmp_path):
    _, found = own(tmp_path, "localhost")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        refusing = threading.Thread(target=refuse, args=(found.context, ours))
        refusing.start()
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(cadata=found.trusted)
        for limit, version in (("minimum", ssl.TLSVersion.TLSv1), ("maximum", ssl.TLSVersion.TLSv1_1)):
            with pytest.warns(DeprecationWarning, match=version.name):
                setattr(client, f"{limit}_version", version)
        client.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
            client.wrap_socket(theirs, server_hostname="localhost")
        refusing.join()


def refuse(context, sock):
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        context.wrap_socket(sock, server_side=True)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def key_of_another():
    return private(made.serialization.NoEncryption())


def key_with_password():
    return private(made.serialization.BestAvailableEncryption(b"secret"))


def private(encryption):
    return made.ec.generate_private_key(made.ec.SECP256R1()).private_bytes(
        made.serialization.Encoding.PEM, made.serialization.PrivateFormat.PKCS8, encryption
    )
