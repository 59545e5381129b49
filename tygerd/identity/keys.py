"""The signing keys of access URLs on disk: `<state>/keys`.

    sas.pem                 the private key, PKCS#8, made at the first start, readable by the daemon only
    sas.pub.pem             its public half, for whoever verifies elsewhere
    sas.secondary.pub.pem   optional: a former public key, whose signatures still count

To replace the key: rename sas.pub.pem to sas.secondary.pub.pem, remove sas.pem, start the daemon again, and
remove the secondary an hour later, when the last URL it signed has expired. Blocking; used at start only.
"""

from __future__ import annotations

import os
import secrets
import stat

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tyger import errors
from tygerd.identity import sas

PRIVATE = "sas.pem"
PUBLIC = "sas.pub.pem"
SECONDARY = "sas.secondary.pub.pem"


def load_or_create(directory: str) -> sas.Signer:
    """The signer of the keys in `directory`, both made if there is no private key yet.

    Raises:
        Problem: CONFIG when a key cannot be used, IO_ERROR when the directory cannot.
    """
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        private_path = os.path.join(directory, PRIVATE)
        if not os.path.exists(private_path):
            _create(directory)
        private = _private(private_path)
        secondary_path = os.path.join(directory, SECONDARY)
        secondary = _public(secondary_path) if os.path.exists(secondary_path) else None
    except OSError as error:
        raise errors.Problem(
            errors.IO_ERROR, f"cannot use the signing keys in {directory}: {error.strerror}"
        ) from error
    return sas.Signer(private, secondary)


def _create(directory: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # The private key last: once it is there, both are.
    _write(directory, PUBLIC, public, 0o644)
    _write(directory, PRIVATE, private, 0o600)


def _write(directory: str, name: str, data: bytes, mode: int) -> None:
    """Under another name first, so that a crash leaves the file whole or not at all."""
    draft = os.path.join(directory, f".{name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(draft, os.path.join(directory, name))
    except BaseException:
        os.unlink(draft)
        raise
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _private(path: str) -> ec.EllipticCurvePrivateKey:
    with open(path, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise errors.Problem(
                errors.CONFIG,
                f"the private key {path} can be used by others (mode {mode:04o}): chmod 600 {path}",
            )
        data = file.read()
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise _unusable(path, "not a private key in PEM form without a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _unusable(path, "not an elliptic-curve key")
    return key


def _public(path: str) -> ec.EllipticCurvePublicKey:
    with open(path, "rb") as file:
        data = file.read()
    try:
        key = serialization.load_pem_public_key(data)
    except ValueError as error:
        raise _unusable(path, "not a public key in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _unusable(path, "not an elliptic-curve key")
    return key


def _unusable(path: str, why: str) -> errors.Problem:
    return errors.Problem(errors.CONFIG, f"cannot use the signing key {path}: {why}")
