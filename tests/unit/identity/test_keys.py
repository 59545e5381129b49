import stat
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tyger import errors
from tygerd.identity import keys, sas

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def signed_by(signer):
    return dict(parse_qsl(signer.query("abc", "r", NOW, timedelta(hours=1))))


def test_made_once_and_found_again(tmp_path):
    folder = tmp_path / "keys"
    first = keys.load_or_create(str(folder))
    second = keys.load_or_create(str(folder))
    assert second.check("abc", signed_by(first), "r", NOW) is sas.Verdict.OK
    assert stat.S_IMODE((folder / keys.PRIVATE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.iterdir()) == [keys.PRIVATE, keys.PUBLIC]
    public = serialization.load_pem_public_key((folder / keys.PUBLIC).read_bytes())
    assert sas.check((public,), "abc", signed_by(first), "r", NOW) is sas.Verdict.OK


def test_a_former_key_still_counts(tmp_path):
    old = keys.load_or_create(str(tmp_path))
    (tmp_path / keys.PUBLIC).rename(tmp_path / keys.SECONDARY)
    (tmp_path / keys.PRIVATE).unlink()
    new = keys.load_or_create(str(tmp_path))
    assert new.check("abc", signed_by(old), "r", NOW) is sas.Verdict.OK
    (tmp_path / keys.SECONDARY).unlink()
    assert keys.load_or_create(str(tmp_path)).check("abc", signed_by(old), "r", NOW) is sas.Verdict.INVALID


def refused(folder):
    with pytest.raises(errors.Problem) as caught:
        keys.load_or_create(str(folder))
    assert caught.value.kind is errors.CONFIG
    return caught.value.message


def private_pem(key, encryption):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def test_a_key_that_others_can_read_is_refused(tmp_path):
    keys.load_or_create(str(tmp_path))
    (tmp_path / keys.PRIVATE).chmod(0o640)
    assert f"chmod 600 {tmp_path / keys.PRIVATE}" in refused(tmp_path)


@pytest.mark.parametrize(
    "pem",
    [
        b"rubbish",
        private_pem(
            ec.generate_private_key(ec.SECP256R1()), serialization.BestAvailableEncryption(b"secret")
        ),
        private_pem(rsa.generate_private_key(65537, 1024), serialization.NoEncryption()),
    ],
    ids=["rubbish", "password", "rsa"],
)
def test_a_private_key_that_cannot_be_used(tmp_path, pem):
    path = tmp_path / keys.PRIVATE
    path.touch(0o600)
    path.write_bytes(pem)
    assert str(path) in refused(tmp_path)


def test_a_secondary_key_that_cannot_be_used(tmp_path):
    keys.load_or_create(str(tmp_path))
    (tmp_path / keys.SECONDARY).write_bytes(b"rubbish")
    assert keys.SECONDARY in refused(tmp_path)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "keys").touch()
    with pytest.raises(errors.Problem, match="cannot use the signing keys"):
        keys.load_or_create(str(tmp_path / "keys"))
