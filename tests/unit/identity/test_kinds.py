"""Kinds of credentials, as tygerd.toml has them; how a file is refused is tested in test_config.py."""

import msgspec
import pytest

from tygerd.identity import kinds


def read(**values):
    return msgspec.convert(values, kinds.Credential)


def test_each_kind_says_whether_it_takes_tokens():
    assert not read(kind="key", key_file="f").takes_tokens
    assert not read(kind="connection-string", connection_string_file="f").takes_tokens
    for kind in ("workload-identity", "managed-identity", "azure-cli"):
        assert read(kind=kind).takes_tokens


PRINCIPAL = {"kind": "client-certificate", "tenant_id": "t", "client_id": "c", "certificate_file": "f"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tenant_id": "a b"}, "tenant_id must be"),
        ({"tenant_id": ""}, "tenant_id must be"),
        ({"client_id": ""}, "client_id must not be empty"),
        ({"authority": "login.example"}, "authority must be an https URL"),
        ({"authority": "http://login.example"}, "authority must be an https URL"),
        ({"secret": "x"}, "unknown field"),
    ],
)
def test_what_is_refused(changes, words):
    assert read(**PRINCIPAL).authority == kinds.AUTHORITY
    with pytest.raises(msgspec.ValidationError, match=words):
        read(**(PRINCIPAL | changes))
