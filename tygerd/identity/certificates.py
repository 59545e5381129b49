"""The TLS certificate of the data plane: one that was given, or one that the daemon makes for itself.

    <state>/keys/tls.key.pem   the private key, PKCS#8, readable by the daemon only
    <state>/keys/tls.pem       its certificate, which signs itself; made anew for another
                               host, or near its end

Who is to trust it is given `trusted`: the certificate itself, which is then pinned, or the authorities that
the configuration names. Blocking.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import secrets
import ssl
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from tyger import errors
from tygerd import clock

KEY = "tls.key.pem"
CERTIFICATE = "tls.pem"

LIFE = dt.timedelta(days=3650)
"""Of a certificate of our own: it is trusted for itself, and nobody is asked to renew it."""

RENEW_AHEAD = dt.timedelta(days=90)
"""How long before its end it is replaced, when a daemon starts."""

BEGINS_BEFORE = dt.timedelta(days=1)
"""Clocks of pods may be behind ours."""


class Files(NamedTuple):
    """Where the PEM files are.

    `certificate` may hold those between it and its authority, too. `ca` are the authorities by which it is to
    be judged; None: it is trusted itself.
    """

    certificate: str
    key: str
    ca: str | None = None


class Certificate(NamedTuple):
    """A certificate as it was when it was read."""

    context: ssl.SSLContext
    """For the server that shows it."""
    trusted: str
    """PEM of what a client has to trust."""


def load_or_create(directory: str, host: str) -> Files:
    """The daemon's own certificate for `host`, in `directory`; made if there is none that can be used.

    Raises:
        Problem: IO_ERROR when the directory cannot be used.
    """
    files = Files(os.path.join(directory, CERTIFICATE), os.path.join(directory, KEY))
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        if not _is_good(files, host):
            _create(directory, host)
    except OSError as error:
        raise errors.Problem(
            errors.IO_ERROR, f"cannot make a certificate in {directory}: {error.strerror}"
        ) from error
    return files


def read(files: Files, host: str) -> Certificate:
    """Read a certificate and its key, and make sure that a client that trusts it accepts it for `host`.

    Raises:
        Problem: CONFIG, saying which file, or why a client would refuse it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client must not make us do arithmetic in the middle of a connection.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    for path in (files.certificate, files.key):
        _text(path)  # for words that name it; OpenSSL's do not
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        said = str(error)
        words = next((words for name, words in _WORDS.items() if name in said), said)
        raise _unusable(files.certificate, words.format(key=files.key)) from None
    trusted = _text(files.certificate) if files.ca is None else _text(files.ca)
    _try(context, trusted, files, host)
    return Certificate(context, trusted)


_WORDS = {
    "KEY_VALUES_MISMATCH": "it does not belong to the key {key}",
    "PEM lib": "it, or its key {key}, is not in PEM form",
}


def _no_password() -> str:
    raise ValueError("its key {key} has a password; a daemon has nobody to ask for it")


def _try(context: ssl.SSLContext, trusted: str, files: Files, host: str) -> None:
    """Shake hands in memory, as a pod would: that sees names, dates, purposes and authorities at once."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        client.load_verify_locations(cadata=trusted)
    except (ssl.SSLError, ValueError):
        raise _unusable(files.ca or files.certificate, "it holds no certificate in PEM form") from None
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=host)
    answering = context.wrap_bio(there, back, server_side=True)
    try:
        for end in (asking, answering, asking):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        raise _unusable(files.certificate, f"clients would refuse it: {error.verify_message}") from None
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise _unusable(files.certificate, f"clients could not use it: {reason}") from None


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except UnicodeDecodeError:
        raise _unusable(path, "it is not in PEM form") from None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None


def _unusable(path: str, why: str) -> errors.Problem:
    return errors.Problem(errors.CONFIG, f"cannot use the certificate {path}: {why}")


# --- our own ---------------------------------------------------------------------------------------------


def _is_good(files: Files, host: str) -> bool:
    """Whether there is one of ours for `host` that is not near its end."""
    try:
        read(files, host)
        with open(files.certificate, "rb") as file:
            found = x509.load_pem_x509_certificate(file.read())
    except (errors.Problem, ValueError):
        return False
    return found.not_valid_after_utc - RENEW_AHEAD > clock.now()


def _create(directory: str, host: str) -> None:
    """A key and a certificate. A crash between the two leaves a pair that does not fit: made anew."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tygerd")])
    now = clock.now()
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - BEGINS_BEFORE)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(directory, KEY, private)
    _write(directory, CERTIFICATE, made.public_bytes(serialization.Encoding.PEM))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host.encode("idna").decode("ascii"))


def _write(directory: str, name: str, data: bytes) -> None:
    """Under another name first, so that a crash leaves the file whole or not at all."""
    draft = os.path.join(directory, f".{name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(draft, os.path.join(directory, name))
    except BaseException:
        os.unlink(draft)
        raise
