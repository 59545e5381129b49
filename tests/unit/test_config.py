"""tygerd.toml: what it may hold, and how the daemon says what is wrong with it."""

import tomllib

import pytest

from tyger import errors
from tygerd import config, enginesettings
from tygerd.identity import kinds


def refusal(text):
    with pytest.raises(errors.Problem) as caught:
        config.parse(text)
    assert caught.value.kind is errors.CONFIG
    assert "\n" not in caught.value.message
    return caught.value.message


def test_nothing_means_all_defaults(tmp_path):
    assert config.parse("") == config.Config() == config.load(str(tmp_path / "missing.toml"))


def test_a_named_file_must_be_there(tmp_path):
    with pytest.raises(errors.Problem, match="No such file or directory"):
        config.load(str(tmp_path / "missing.toml"), required=True)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(errors.Problem, match="Is a directory"):
        config.load(str(tmp_path))
    (tmp_path / "f").write_bytes(b"\xff")
    with pytest.raises(errors.Problem, match="not UTF-8"):
        config.load(str(tmp_path / "f"))


def test_a_full_file():
    read = config.parse(
        """
        [socket]
        mode = "0666"
        group = "tyger"
        [store]
        durability = "power"
        block_size = "64KiB"
        flush_interval = "5ms"
        [buffers]
        active_lifetime = "0.12:30"
        soft_deleted_lifetime = "2"
        [engine.process]
        bubblewrap = "off"
        cancel_grace = 0.5
        [[engine.process.images]]
        image = "*/ffmpeg"
        entrypoint = ["/usr/bin/ffmpeg"]
        env = { A = "b" }
        [[engine.process.images]]
        image = "x"
        root = "/srv/x"
        [daemon]
        idle_exit = "1m30s"
        [limits]
        body_size = 100
        """
    )
    assert read.socket == config.Socket(mode=config.Mode(0o666), group="tyger")
    assert read.store.block_size == 65536
    assert read.store.flush_interval == 0.005
    assert read.buffers.active_lifetime == 12.5 * 3600
    assert read.buffers.soft_deleted_lifetime == 2 * 86400
    assert [image.image for image in read.engine.process.images] == ["*/ffmpeg", "x"]
    assert read.engine.process.images[0].env == {"A": "b"}
    assert read.daemon.idle_exit == 90
    assert read.limits.body_size == 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense = 1", "tygerd.toml, line 1: unknown key nonsense"),
        ("\n\n[store]\n# c\nblock_siez = 1", "tygerd.toml, line 5: unknown key store.block_siez"),
        ("[nowhere]\na = 1", "tygerd.toml, line 1: unknown key nowhere"),
        ("[limits]\nfds_per_uid = 0", "tygerd.toml, line 2: limits.fds_per_uid: expected `int` >= 1"),
        ('[limits]\nfds_per_uid = "1"', "tygerd.toml, line 2: limits.fds_per_uid: expected `int`, got `str`"),
        ("[store]\nblock_size = -1", "tygerd.toml, line 2: store.block_size: expected a number that is not"),
        ("[store]\nblock_size = true", "tygerd.toml, line 2: store.block_size: expected a size such as"),
        ('[store]\nblock_size = "x"', "tygerd.toml, line 2: store.block_size: invalid size 'x'"),
        ("[store]\nblock_size = 0", "tygerd.toml, line 1: store: block_size must be between"),
        ('[store]\ndurability = "none"', "tygerd.toml, line 2: store.durability: invalid enum value 'none'"),
        ("[store]\nflush_interval = nan", "store.flush_interval: expected a number that is not negative"),
        ("[store]\nflush_interval = inf", "store.flush_interval: expected a number that is not negative"),
        ("[buffers]\nactive_lifetime = 5", "buffers.active_lifetime: expected a lifetime such as"),
        ("[socket]\nmode = 660", "tygerd.toml, line 2: socket.mode: expected octal text"),
        ('[socket]\nmode = "0999"', "tygerd.toml, line 2: socket.mode: expected octal text"),
        ("store.block_size = []", "tygerd.toml, line 1: store.block_size: expected a size"),
        (
            "engine = { process = { cancel_grace = [] } }",
            "line 1: engine.process.cancel_grace: expected a duration",
        ),
        (
            "[[engine.process.images]]\nroot = '/'",
            "line 1: engine.process.images[0]: object missing required field",
        ),
        (
            "[[engine.process.images]]\nimage = 'a'\n[[engine.process.images]]\nimage = 'b'\nroot = 1",
            "tygerd.toml, line 5: engine.process.images[1].root: expected `str | null`, got `int`",
        ),
        ("[[engine.process.images]]\nimage = 'a'\nroot = 'here'", "root must be an absolute path, not here"),
        ("[[engine.process.images]]\nimage = ''", "image must not be empty"),
        ("[[engine.process.images]]\nimage = 'a'\nenv = {A = 1}", "engine.process.images[0].env"),
        ("[store", "tygerd.toml is not TOML: "),
        ("a = 1\na = 2", "tygerd.toml is not TOML: "),
        ("store = 1", "tygerd.toml, line 1: store: expected `object`, got `int`"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message):
    assert message in refusal(text)


ACCOUNT = """\
[[store.azure]]
name = "account"
location = "west"
credential = { kind = "key", key_file = "/etc/tyger/key" }
"""
PRINCIPAL = """\
[[store.azure]]
name = "account"
location = "west"
[store.azure.credential]
kind = "client-secret"
tenant_id = "t"
client_id = "c"
client_secret_file = "f"
"""
HEADERS = {
    "engine.process.images": "[[engine.process.images]]\nimage = 'x'",
    "store.azure": ACCOUNT,
    "store.azure.credential": PRINCIPAL,
    "engine.kubernetes.credential": f"[engine.kubernetes.credential]{PRINCIPAL.partition('credential]')[2]}",
}
"""What a table with required keys needs before further ones."""
WITH_A_CLUSTER = config.Config(engine=config.Engine(kubernetes=enginesettings.Kubernetes()))


def test_every_key_is_described_with_a_default_that_can_be_read():
    options = list(config.describe())
    assert {option.table for option in options} >= {"socket", "store", "engine.process", "limits"}
    for option in options:
        assert option.help.endswith("."), option
        assert option.notation
        if option.default is not None:
            text = f"{HEADERS.get(option.table, f'[{option.table}]')}\n{option.name} = {option.default}"
            tomllib.loads(text)
            read = config.parse(text)
            if option.table not in HEADERS:
                assert read in (config.Config(), WITH_A_CLUSTER), option


def test_only_what_must_be_given_is_required():
    assert [option.name for option in config.describe() if option.required] == [
        *("name", "location"),  # of an account
        *("key_file", "connection_string_file"),
        *("tenant_id", "client_id", "client_secret_file"),
        *("tenant_id", "client_id", "certificate_file"),
        "image",
        *("tenant_id", "client_id", "client_secret_file"),  # of who we are to a cluster
        *("tenant_id", "client_id", "certificate_file"),
        "name",  # of a node pool
    ]


def test_storage_accounts():
    read = config.parse(
        '[store]\ndefault_location = "EAST"\n'
        + ACCOUNT
        + 'access_ttl = "30s"\n'
        + PRINCIPAL.replace("account", "other").replace("west", "East")
    )
    one, other = read.store.azure
    assert (one.name, one.location, one.access_ttl) == ("account", "west", 30)
    assert one.url == "https://account.blob.core.windows.net"
    assert one.credential == kinds.Key(key_file="/etc/tyger/key")
    assert other.credential == kinds.ClientSecret(tenant_id="t", client_id="c", client_secret_file="f")
    azurite = config.parse(ACCOUNT + 'endpoint = "http://127.0.0.1:10000/account/"').store.azure[0]
    assert azurite.url == "http://127.0.0.1:10000/account"


OVER_HTTP = PRINCIPAL.replace("[store.azure.c", "endpoint = 'http://h'\n[store.azure.c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ACCOUNT + ACCOUNT, "line 6: store.azure[1].name: account is also the name of store.azure[0]"),
        (ACCOUNT.replace("account", "Account"), "line 1: store.azure[0]: name must be 3 to 24 lower-case"),
        (ACCOUNT.replace("account", "local"), '"local" is the store on this host'),
        (ACCOUNT.replace("west", "Local"), '"local" is the store on this host'),
        (ACCOUNT.replace("west", " "), "location must not be empty"),
        (ACCOUNT + "access_ttl = 29", "access_ttl must be between 30 seconds and one hour"),
        (ACCOUNT + "access_ttl = 3601", "access_ttl must be between 30 seconds and one hour"),
        (ACCOUNT + "endpoint = 'blob.example'", "endpoint must be an http or https URL"),
        (ACCOUNT + "endpoint = 'https://h:x/'", "endpoint must be an http or https URL"),
        (ACCOUNT + "endpoint = 'https://h/?sig=x'", "endpoint must be an http or https URL"),
        (OVER_HTTP, "line 1: store.azure[0]: endpoint must begin with https: tokens are sent to it"),
        (ACCOUNT + "key = 'x'", "line 5: unknown key store.azure[0].key"),
        (PRINCIPAL.replace("client-secret", "kye"), "line 5: store.azure[0].credential.kind: invalid value"),
        (
            PRINCIPAL.replace("client-secret", "kye"),
            "'kye'; there are key, connection-string, client-secret,",
        ),
        (
            PRINCIPAL.replace("client_secret_file", "secret"),
            "line 8: unknown key store.azure[0].credential.s",
        ),
        (ACCOUNT.replace('kind = "key",', ""), "credential: object missing required field `kind`"),
        ("[store]\ndefault_location = 'x'", "line 2: store.default_location: no account has the location x;"),
        ("[transfer]\nwriter_lease = 61", "writer_lease must be between 15 and 60 seconds"),
        ("[transfer]\ndeadline = 0", "deadline must be more than 0 seconds"),
    ],
)
def test_what_is_wrong_with_an_account(text, message):
    assert message in refusal(text)
