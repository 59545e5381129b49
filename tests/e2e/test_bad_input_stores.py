"""A configuration of storage accounts that cannot work: the daemon does not start, and says what is wrong."""

import base64
import subprocess

import pytest

from tests.support import daemon
from tests.support.commands import complaint

ACCOUNT = """
[[store.azure]]
name = "account"
location = "west"
credential = {{ kind = "key", key_file = "{key}" }}
"""
PRINCIPAL = """
[[store.azure]]
name = "account"
location = "west"
[store.azure.credential]
kind = "client-secret"
tenant_id = "t"
client_id = "c"
client_secret_file = "{key}"
"""

CASES = [
    (
        ACCOUNT.replace('"key",', '"kye",'),
        "line 5: store.azure[0].credential.kind: invalid value 'kye'; there are",
    ),
    (
        ACCOUNT.replace('kind = "key", ', ""),
        "line 5: store.azure[0].credential: object missing required field",
    ),
    (ACCOUNT.replace("key_file", "keyfile"), "line 5: unknown key store.azure[0].credential.keyfile"),
    (ACCOUNT + 'endpoint = "account"\n', "line 2: store.azure[0]: endpoint must be an http or https URL"),
    (ACCOUNT + 'endpoint = "https://h/?sig=x"\n', "endpoint must be an http or https URL without a query"),
    (ACCOUNT.replace('"account"', '"My Account"'), "line 2: store.azure[0]: name must be 3 to 24 lower-case"),
    (ACCOUNT + ACCOUNT, "line 8: store.azure[1].name: account is also the name of store.azure[0]"),
    (ACCOUNT.replace('"west"', '"local"'), 'line 2: store.azure[0]: "local" is the store on this host'),
    (
        ACCOUNT + "access_ttl = 5\n",
        "line 2: store.azure[0]: access_ttl must be between 30 seconds and one hour",
    ),
    (
        '[store]\ndefault_location = "east"\n' + ACCOUNT,
        "line 2: store.default_location: no account has the loc",
    ),
    (PRINCIPAL.replace('"t"', '"a b"'), "line 5: store.azure[0].credential: tenant_id must be a tenant's ID"),
    (
        ACCOUNT + '[transfer]\nca_file = "/no/such/file"\n',
        "cannot use the CA file /no/such/file: No such file",
    ),
    (ACCOUNT + '[transfer]\nproxy = "socks5://h"\n', "a proxy of the kind socks5, which is not supported"),
]


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_text(base64.b64encode(b"k" * 64).decode())
    return path


def refused(text):
    """How `tygerd serve` ends with this configuration."""
    with daemon.daemon(config=text, start=False) as it:
        done = subprocess.run(
            [*it.command(), "--log-format", "human"],
            env=it.env,
            capture_output=True,
            timeout=daemon.PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stdout) == (78, b"")
        return complaint(done)


@pytest.mark.parametrize(("text", "words"), CASES)
def test_what_is_wrong_is_named_with_its_line(key, text, words):
    assert words in refused(text.format(key=key))


@pytest.mark.parametrize("template", [ACCOUNT, PRINCIPAL])
def test_a_file_that_is_missing_or_empty(key, template):
    key.write_text("\n")
    assert f"store.azure[0] (account): the credential file {key} is empty" in refused(
        template.format(key=key)
    )
    key.unlink()
    words = f"store.azure[0] (account): cannot read the credential file {key}: No such file or directory"
    assert words in refused(template.format(key=key))


def test_a_key_that_is_none(key):
    key.write_text("not base64!")
    said = refused(ACCOUNT.format(key=key))
    assert (
        f"the credential file {key} does not hold an account key, which is base64; copy the key again" in said
    )
    assert "not base64!" not in said


def test_a_command_that_starts_the_daemon_says_the_same(key):
    """It is the operator's own terminal in user mode."""
    with daemon.daemon(config=ACCOUNT.format(key="/no/such/file"), start=False) as it:
        environment = it.env | {"TYGER_AUTOSTART": "1"}
        del environment["TYGER_SOCKET"]
        home = it.path / "xdg-config" / "tyger"
        home.mkdir(parents=True)
        (home / "tygerd.toml").write_text(ACCOUNT.format(key="/no/such/file"))
        done = subprocess.run(
            [*daemon.TYGER, "buffer", "create"],
            env=environment,
            capture_output=True,
            timeout=daemon.PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stdout) == (78, b"")
        assert "store.azure[0] (account): cannot read the credential file /no/such/file" in complaint(done)


def test_a_daemon_starts_without_the_account(key):
    """Nobody answers at the endpoint: local buffers work, others say why they do not, and nothing hangs."""
    text = ACCOUNT.format(key=key) + 'endpoint = "http://127.0.0.1:1/account"\n'
    with daemon.daemon(config=text) as it:
        done = subprocess.run(
            [*daemon.TYGER, "buffer", "create"],
            env=it.env,
            capture_output=True,
            timeout=daemon.PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stdout) == (69, b"")
        assert "the storage account account (127.0.0.1:1) does not answer: Connection refused" in complaint(
            done
        )
        local = [*daemon.TYGER, "buffer", "create", "--location", "local"]
        assert subprocess.run(local, env=it.env, capture_output=True, check=True).stdout
        assert it.stop() == 0
