"""The tables about engines, as they are read from tygerd.toml."""

import pytest

from tyger import errors
from tygerd import config, enginesettings
from tygerd.identity import kinds


def refusal(text):
    with pytest.raises(errors.Problem) as caught:
        config.parse(text)
    return caught.value.message


def test_the_container_engine_asks_for_nothing():
    read = config.parse("[engine.container]\n").engine.container
    assert read == enginesettings.Container()
    assert (read.socket, read.pull, read.network, read.capabilities) == (None, "never", "needed", [])


def test_a_full_table():
    read = config.parse(
        """
        [engine.container]
        socket = "unix:///run/podman/podman.sock"
        pull = "missing"
        auth_file = "/etc/tyger/registries.json"
        network = "bridge"
        user = "1000:1000"
        capabilities = ["SYS_PTRACE", "CAP_NET_RAW"]
        root = "read-only"
        cancel_grace = "2s"
        """
    ).engine.container
    assert read.pull == "missing"
    assert read.user == "1000:1000"
    assert read.cancel_grace == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('socket = "tcp://host:2375"', "engine.container: socket must be the absolute path of a Unix socket"),
        ('capabilities = ["sys ptrace"]', "capabilities are named like SYS_PTRACE, not 'sys ptrace'"),
        ('pull = "often"', "engine.container.pull"),
        ('images = ["x"]', "images"),
    ],
)
def test_what_is_wrong_is_named(line, words):
    assert words in refusal(f"[engine.container]\n{line}\n")


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("", "auto"),
        ("[engine]\nuse = 'container'", "container"),
        ("engine = 'process'", "process"),
        ("[engine]\nuse = 'kubernetes'\n[engine.kubernetes]", "kubernetes"),
        ("[engine.process]\ncancel_grace = '1s'", "auto"),
    ],
)
def test_which_engine(text, use):
    assert config.parse(text).engine.use == use


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("engine = 'docker'", "engine.use: invalid enum value 'docker'"),
        ("[engine]\nuse = 'both'", "tygerd.toml, line 2: engine.use: invalid enum value 'both'"),
        ("engine = 1", "tygerd.toml, line 1: engine: expected"),
        ("engine = 'kubernetes'", 'use = "kubernetes" needs a table [engine.kubernetes]'),
    ],
)
def test_what_is_no_engine(text, said):
    assert said in refusal(text)


def test_there_is_a_cluster_only_where_one_is_configured():
    assert config.parse("").engine.kubernetes is None
    read = config.parse("[engine.kubernetes]\n").engine.kubernetes
    assert read == enginesettings.Kubernetes()
    assert (read.kubeconfig, read.job_service_account, read.active_runs) == (None, "tyger-job", 5000)


def test_node_pools_with_and_without_gpus():
    read = config.parse(
        """
        [engine.kubernetes]
        node_selector = {}
        [[engine.kubernetes.node_pools]]
        name = "cpunp"
        vm_size = "Standard_DS12_v2"
        [[engine.kubernetes.node_pools]]
        name = "gpunp"
        vm_size = "standard_NC6s_v3"
        [[engine.kubernetes.node_pools]]
        name = "lab"
        gpu = true
        """
    ).engine.kubernetes
    assert [(pool.name, pool.has_gpu) for pool in read.node_pools] == [
        ("cpunp", False),
        ("gpunp", True),
        ("lab", True),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            'namespace = "Tyger"',
            "engine.kubernetes: namespace must be a name in Kubernetes, such as",
        ),
        ('identities = { me = "my_id" }', "identities.me must be a name in Kubernetes"),
        ('pull_secrets = { "r.io" = "" }', "pull_secrets.r.io must be a name in Kubernetes"),
        ('cluster = ""', "cluster must not be empty"),
        ('pump_image = ""', "pump_image must not be empty"),
        ('node_pools = [{ name = "a b" }]', "which 'a b' cannot be"),
        ('node_pools = [{ name = "a" }, { name = "A" }]', "node_pools has two with the name a"),
        ('pump_limits = { memory = "16Mi" }', "must be at least 24Mi, better 128Mi, not 16Mi"),
        ('pump_limits = { cpu = "much" }', "pump_limits.cpu: much is not a quantity such as"),
        ('pump_requests = { memory = "1GiB" }', "pump_requests.memory: 1GiB is not a quantity such as"),
        ('user = "root"', "user must be like 1000 or 1000:1000, not root"),
        ('credential = { kind = "key" }', "there are client-secret, client-certificate, workload-identity"),
        ("active_runs = 0", "engine.kubernetes.active_runs"),
        ('main_security = "none"', "engine.kubernetes.main_security"),
    ],
)
def test_what_is_wrong_about_a_cluster_is_named(line, words):
    assert words in refusal(f"[engine.kubernetes]\n{line}\n")


def test_who_we_are_to_a_cluster():
    text = "[engine.kubernetes.credential]\nkind = 'workload-identity'\nclient_id = 'c'"
    assert config.parse(text).engine.kubernetes.credential == kinds.WorkloadIdentity(client_id="c")
