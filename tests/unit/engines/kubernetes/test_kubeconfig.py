"""Where a cluster is, by kubectl's rules."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import textwrap

import hypothesis
import pytest
from hypothesis import strategies as st

from tyger import errors
from tygerd import enginesettings
from tygerd.engines.kubernetes import kubeconfig


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def load(environ=None, *, service_account="/nowhere", **settings):
    return kubeconfig.load(
        enginesettings.Kubernetes(**settings), environ or {}, service_account=service_account
    )


def refusal(environ=None, **settings):
    with pytest.raises(errors.Problem) as caught:
        load(environ, **settings)
    assert caught.value.kind is errors.CONFIG
    assert "\n" not in caught.value.message
    return caught.value.message


SIMPLE = """
    apiVersion: v1
    kind: Config
    current-context: lab
    clusters:
    - {name: here, cluster: {server: "https://here:6443/", insecure-skip-tls-verify: true}}
    - {name: there, cluster: {server: "there.example", tls-server-name: api, proxy-url: "http://proxy:1"}}
    users:
    - {name: me, user: {token: secret}}
    contexts:
    - {name: lab, context: {cluster: here, user: me, namespace: scans}}
    - {name: other, context: {cluster: there, user: me}}
    - {name: nobody, context: {cluster: here}}
"""


def test_the_current_context(write):
    path = write("config", SIMPLE)
    target = load(kubeconfig=path)
    assert (target.server, target.namespace, target.context) == ("https://here:6443", "scans", "lab")
    assert (target.insecure, target.authority, target.origin) == (True, None, path)
    assert target.user == {"token": "secret"}


def test_a_context_that_is_named(write):
    target = load(kubeconfig=write("config", SIMPLE), context="other")
    assert (target.server, target.namespace, target.insecure) == ("http://there.example", "default", False)
    assert (target.tls_server_name, target.proxy) == ("api", "http://proxy:1")
    assert load(kubeconfig=write("config", SIMPLE), context="nobody").user == {}


def test_a_namespace_that_is_configured_counts(write):
    assert load(kubeconfig=write("config", SIMPLE), namespace="runs").namespace == "runs"


def test_json_is_yaml_too(write):
    said = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}],
        "users": None,
    }
    assert load(kubeconfig=write("config", json.dumps(said))).server == "http://127.0.0.1:1"


def test_a_home_and_its_tilde(write, tmp_path):
    write(".kube/config", SIMPLE)
    assert load({"HOME": str(tmp_path)}).context == "lab"
    assert load({"HOME": str(tmp_path)}, kubeconfig="~/.kube/config").context == "lab"


def test_files_are_joined_and_the_first_counts(write, tmp_path):
    """kubectl's rules: the first to set a value or an entry wins, the rest of a later entry is discarded."""
    first = write(
        "one/config",
        """
        current-context: lab
        clusters:
        - {name: here, cluster: {server: "https://first:1", certificate-authority: ca.pem}}
        """,
    )
    (tmp_path / "one/ca.pem").write_bytes(b"the first's")
    second = write(
        "two/config",
        """
        current-context: other
        clusters:
        - {name: here, cluster: {server: "https://second:1", tls-server-name: late}}
        contexts:
        - {name: lab, context: {cluster: here, user: me}}
        users:
        - {name: me, user: {tokenFile: token}}
        """,
    )
    environ = {"KUBECONFIG": os.pathsep.join([str(tmp_path / "missing"), first, "", second, first])}
    target = load(environ)
    assert (target.server, target.tls_server_name) == ("https://first:1", None)
    assert target.authority == b"the first's"
    assert target.path("token") == str(tmp_path / "two/token")
    assert target.path("/abs") == "/abs"
    assert target.origin == f"{first}, {second}"


def test_what_the_configuration_names_counts_before_the_environment(write):
    environ = {"KUBECONFIG": write("environment", SIMPLE.replace("lab", "env"))}
    assert load(environ, kubeconfig=write("configured", SIMPLE)).context == "lab"
    assert load(environ).context == "env"


def test_data_counts_before_a_file(write):
    encoded = base64.b64encode(b"PEM").decode()
    text = SIMPLE.replace(
        "insecure-skip-tls-verify: true",
        f"certificate-authority: gone, certificate-authority-data: {encoded}",
    )
    assert load(kubeconfig=write("config", text)).authority == b"PEM"


# --- in a pod ----------------------------------------------------------------------------------------------


@pytest.fixture
def account(write, tmp_path):
    for name, content in {"token": "t", "ca.crt": "authority", "namespace": "mine\n"}.items():
        write(f"account/{name}", content)
    return str(tmp_path / "account")


POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "HOME": "/nowhere"}


def test_a_pods_service_account(account):
    target = load(POD, service_account=account)
    assert (target.server, target.namespace, target.context) == ("https://10.0.0.1:443", "mine", "")
    assert (target.authority, target.path(target.user["tokenFile"])) == (b"authority", f"{account}/token")
    six = load({**POD, "KUBERNETES_SERVICE_HOST": "fd00::1"}, service_account=account, namespace="runs")
    assert (six.server, six.namespace) == ("https://[fd00::1]:443", "runs")


def test_a_kubeconfig_counts_before_a_pods_account_and_takes_its_namespace(account, write):
    path = write("config", SIMPLE)
    assert load(POD, kubeconfig=path, service_account=account).namespace == "scans"
    other = load({**POD, "KUBECONFIG": path}, context="other", service_account=account)
    assert (other.server, other.namespace) == ("http://there.example", "mine")


def test_a_pod_without_an_account():
    assert "cannot read the authority, /nowhere/ca.crt: No such file or directory" in refusal(POD)


# --- what is wrong -----------------------------------------------------------------------------------------


def test_nothing_is_there():
    message = refusal({"HOME": "/nowhere"})
    assert message.startswith(
        "there is no kubeconfig: /nowhere/.kube/config is not there, and this is no pod"
    )
    message = refusal({"KUBECONFIG": "/a:/b"})
    assert message.startswith("there is no kubeconfig: /a or /b is not there")
    message = refusal(kubeconfig="/nowhere")
    assert message == "cannot read the kubeconfig /nowhere: No such file or directory"
    assert "/nowhere/.kube/config is not there" in refusal(POD, context="lab")


def test_a_context_that_is_not_there(write):
    path = write("config", SIMPLE)
    message = refusal(kubeconfig=path, context="prod")
    assert message == f"{path} does not have the context 'prod'; there are lab, other, nobody"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("current-context: lab", "current-context: ''", "has no current-context; name one as `context`"),
        (
            "cluster: here, user: me",
            "cluster: gone, user: me",
            "for the context lab the cluster 'gone'; there",
        ),
        ("user: me, namespace", "user: you, namespace", "for the context lab the user 'you'; there are me"),
        (
            'server: "https://here:6443/", ',
            "",
            "does not say at which `server` the cluster of the context lab",
        ),
        (
            "insecure-skip-tls-verify: true",
            "certificate-authority: gone.pem",
            "gone.pem: No such file or directory",
        ),
        (
            "insecure-skip-tls-verify: true",
            "certificate-authority-data: '?'",
            "certificate-authority-data is not base64",
        ),
        ("current-context: lab", "current-context: [1]", "is no kubeconfig: current-context is not text"),
        ("name: me, user", "user", "an entry of users has no name"),
        ("{token: secret}", "[]", "or user is not a table"),
        ("{name: nobody, ", "{name: other, ", "two contexts have the name other"),
        ("https://here", "ftp://here", "is neither https nor http: ftp://here:6443"),
        ("    kind: Config", "    kind: {", "is not YAML: "),
    ],
)
def test_what_is_wrong_is_named(write, before, after, words):
    assert before in SIMPLE
    path = write("config", SIMPLE.replace(before, after))
    message = refusal(kubeconfig=path)
    assert words in message
    assert str(pathlib.Path(path).parent) in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "",
            "has no current-context; name one as `context` in [engine.kubernetes]; it has no contexts at all",
        ),
        ("- a", "is no kubeconfig: it is not a table"),
        ("clusters: 1", "is no kubeconfig: clusters is not a list"),
        ("\x00", "is not YAML"),
    ],
)
def test_files_that_are_none(write, text, words):
    assert words in refusal(kubeconfig=write("config", text))


@pytest.mark.parametrize(
    ("more", "server"),
    [
        ("", "http://h:1"),
        (", insecure-skip-tls-verify: true", "https://h:1"),
        (", certificate-authority-data: Q0E=", "https://h:1"),
    ],
)
def test_a_server_without_a_scheme(write, more, server):
    path = write(
        "config", SIMPLE.replace('"https://here:6443/", insecure-skip-tls-verify: true', f'"h:1"{more}')
    )
    assert load(kubeconfig=path).server == server


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "config").write_bytes(b"\xff\xfe")
    assert "it is not UTF-8" in refusal(kubeconfig=str(tmp_path / "config"))


# --- kubectl itself ----------------------------------------------------------------------------------------


NAMES = {"cluster": ["x", "y"], "user": ["u", "v"], "context": ["a", "b"]}
CONTENTS = {
    "cluster": st.fixed_dictionaries(
        {"server": st.sampled_from(["https://one:1", "https://two:2"])},
        optional={
            "certificate-authority": st.sampled_from(["ca.pem", "/abs/ca.pem"]),
            "tls-server-name": st.just("t"),
        },
    ),
    "user": st.fixed_dictionaries(
        {}, optional={"token": st.sampled_from(["s", "t"]), "tokenFile": st.just("token")}
    ),
    "context": st.fixed_dictionaries(
        {"cluster": st.sampled_from(NAMES["cluster"]), "user": st.sampled_from(NAMES["user"])},
        optional={"namespace": st.sampled_from(["first", "second"])},
    ),
}


@st.composite
def kubeconfigs(draw):
    """What is in up to three files, of which one knows all names, so that most can be used."""
    files = []
    whole = draw(st.integers(0, 2))
    for number in range(draw(st.integers(whole + 1, 3))):
        said = {}
        for kind, names in NAMES.items():
            few = st.lists(st.sampled_from(names), unique=True, max_size=2)
            chosen = names if number == whole else draw(few)
            said[f"{kind}s"] = [{"name": name, kind: draw(CONTENTS[kind])} for name in chosen]
        if (current := draw(st.sampled_from([None, "", "a", "b"]))) is not None:
            said["current-context"] = current
        files.append(said)
    return files


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl to compare with")
@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(kubeconfigs())
def test_it_is_what_kubectl_makes_of_it(files):
    with tempfile.TemporaryDirectory() as place:
        paths = []
        for number, said in enumerate(files):
            paths.append(pathlib.Path(place, str(number), "config"))
            paths[-1].parent.mkdir()
            paths[-1].write_text(json.dumps(said))
            (paths[-1].parent / "ca.pem").write_text(f"of {number}")
        environ = {"KUBECONFIG": os.pathsep.join(map(str, paths)), "HOME": place}
        shown = subprocess.run(
            ["kubectl", "config", "view", "--minify", "--raw", "-o", "json"],
            env={**environ, "PATH": os.environ["PATH"]},
            capture_output=True,
            check=False,
            timeout=60,
        )
        if shown.returncode:
            assert refusal(environ)
            return
        expected = json.loads(shown.stdout)
        cluster, user = expected["clusters"][0]["cluster"], expected["users"][0]["user"]
        if "/abs/ca.pem" in json.dumps(cluster):
            assert "/abs/ca.pem: No such file or directory" in refusal(environ)
            return
        target = load(environ)
        assert target.context == expected["current-context"]
        assert target.server == cluster["server"]
        assert target.tls_server_name == cluster.get("tls-server-name")
        assert (target.authority is None) == ("certificate-authority" not in cluster)
        assert target.namespace == expected["contexts"][0]["context"].get("namespace", "default")
        assert target.user == user
