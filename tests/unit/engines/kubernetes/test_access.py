"""Saying who we are, and saying it anew."""

import json
import os
import pathlib
import threading

import pytest

from tests.support import apiserver, entra
from tyger import errors
from tygerd import enginesettings
from tygerd.engines.kubernetes import access, refusals
from tygerd.identity import kinds
from tygerd.stores import azuretransport, network

UNAUTHORIZED = apiserver.status(401, "Unauthorized", reason="Unauthorized")


def only(*tokens):
    """The version, for who has one of these tokens."""

    def answer(request):
        accepted = {f"Bearer {token}" for token in tokens}
        return {"gitVersion": "v1"} if request.headers["Authorization"] in accepted else UNAUTHORIZED

    return answer


def ask(reached, path="/version", **more):
    return reached.request("GET", path, silence=60, what="reach the cluster", **more)


def trouble(reached, kind=refusals.NoAccess):
    with pytest.raises(refusals.Trouble) as caught:
        ask(reached)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_request_as_who_we_are(server, reach):
    server.answers["GET /version"] = only("good")
    assert ask(reach()).body() == {"gitVersion": "v1"}


def test_nothing_is_read_before_it_is_needed():
    settings = enginesettings.Kubernetes(kubeconfig="/nowhere", namespace="runs")
    reached = access.Access(settings, {})
    assert (reached.namespace, reached.where) == ("runs", "the cluster")
    reached.close()


def test_the_namespace_and_the_place(server, reach):
    reached = reach()
    assert reached.namespace == "runs"
    assert reached.where == f"the cluster at {server.url} (context lab)"
    assert reach(namespace="mine").namespace == "mine"
    broken = access.Access(enginesettings.Kubernetes(kubeconfig="/nowhere"), {})
    with pytest.raises(errors.Problem, match="cannot read the kubeconfig /nowhere"):
        _ = broken.namespace


def test_no_kubeconfig():
    reached = access.Access(enginesettings.Kubernetes(kubeconfig="/nowhere"), {})
    assert trouble(reached) == (
        "cannot reach the cluster: cannot read the kubeconfig /nowhere: No such file or directory"
    )


# --- credentials that are renewed --------------------------------------------------------------------------


def test_a_kubeconfig_that_is_renewed_is_read_again(server, reach, configure):
    server.answers["GET /version"] = only("old")
    reached = reach({"token": "old"})
    ask(reached).read()
    server.answers["GET /version"] = only("new")
    configure({"token": "new"})
    assert ask(reached).body() == {"gitVersion": "v1"}
    assert [seen.headers["Authorization"] for seen in server.seen] == [
        "Bearer old",
        "Bearer old",
        "Bearer new",
    ]


def test_a_tokens_file_that_is_renewed_is_read_again(server, reach, tmp_path):
    server.answers["GET /version"] = only("old")
    (tmp_path / "token").write_text("old")
    reached = reach({"tokenFile": "token"})
    ask(reached).read()
    server.answers["GET /version"] = only("new")
    (tmp_path / "token").write_text("new")
    assert ask(reached).body() == {"gitVersion": "v1"}


def test_a_plugin_is_asked_again(server, reach, tmp_path):
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"""#!/bin/sh
        echo x >>{tmp_path}/asked
        printf '{{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
            "status": {{"token": "t%d"}}}}' $(wc -l <{tmp_path}/asked)
        """
    )
    plugin.chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin"}}
    server.answers["GET /version"] = only("t1")
    reached = reach(user, environ={"PATH": "/usr/bin:/bin"})
    for _ in range(2):
        ask(reached).read()
    server.answers["GET /version"] = only("t2")
    ask(reached).read()
    assert (tmp_path / "asked").read_text() == "x\nx\n"


def test_who_is_not_accepted_twice_is_told_what_to_renew(server, reach):
    server.answers["GET /version"] = UNAUTHORIZED
    reached = reach()
    message = trouble(reached)
    assert message.startswith(f"cannot reach the cluster: the cluster at {server.url} (context lab) does not")
    assert "does not accept who we are (Unauthorized); renew the credentials in " in message
    assert message.endswith("/kubeconfig")
    assert len(server.seen) == 2


def test_a_client_certificate_that_is_renewed(server, reach, configure, certificate):
    server.answers["GET /version"] = lambda request: (
        {"gitVersion": "v1"} if request.peer == "localhost" else UNAUTHORIZED
    )
    reached = reach({})
    trouble(reached)
    configure({"client-certificate": certificate, "client-key": certificate})
    assert ask(reached).body() == {"gitVersion": "v1"}


def test_a_cluster_that_has_moved(server, reach, configure):
    server.answers["GET /version"] = only("good")
    reached = reach(cluster={"server": "https://127.0.0.1:1"})
    assert "Connection refused" in trouble(reached, refusals.Transient)
    assert reached.namespace == "runs"
    reached = reach()
    assert ask(reached).body() == {"gitVersion": "v1"}


def test_many_threads_are_renewed_at_once(server, reach, configure):
    server.answers["GET /version"] = only("old")
    reached = reach({"token": "old"})
    ask(reached).read()
    server.answers["GET /version"] = only("new")
    configure({"token": "new"})
    found = []
    threads = [threading.Thread(target=lambda: found.append(ask(reached).body())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [{"gitVersion": "v1"}] * 8


# --- Microsoft Entra ID ------------------------------------------------------------------------------------


@pytest.fixture
def authority(certificate):
    with entra.Entra(certificate) as running:
        yield running


@pytest.fixture
def as_principal(authority, configure, certificate, tmp_path):
    """Access as a service principal, whoever the kubeconfig's user is."""

    def as_principal(*, authority=authority.authority, **cluster):
        (tmp_path / "secret").write_text(entra.SECRET)
        credential = kinds.ClientSecret(
            tenant_id=entra.TENANT,
            client_id=entra.CLIENT,
            client_secret_file=str(tmp_path / "secret"),
            authority=authority,
        )
        settings = enginesettings.Kubernetes(
            kubeconfig=configure({"token": "the-users"}, **cluster), credential=credential
        )
        trusting = network.Network(ca_file=certificate)
        return access.Access(settings, {}, entra=lambda url: azuretransport.transport(trusting, url))

    return as_principal


def test_a_token_of_entra_id_is_used_until_it_is_refused(server, authority, as_principal):
    server.answers["GET /version"] = {"gitVersion": "v1"}
    reached = as_principal()
    for _ in range(2):
        ask(reached).read()
    shown = {seen.headers["Authorization"] for seen in server.seen}
    assert "Bearer the-users" not in shown
    assert authority.asked == len(shown) == 1
    server.answers["GET /version"] = [UNAUTHORIZED, {"gitVersion": "v1"}]
    ask(reached).read()
    assert authority.asked == 2
    reached.close()


def test_a_principal_that_entra_id_refuses(authority, as_principal, tmp_path):
    reached = as_principal()
    (tmp_path / "secret").write_text("expired")
    authority.refusal = entra.EXPIRED_SECRET
    message = trouble(reached)
    assert "cannot reach the cluster: Microsoft Entra ID gives no token: " in message
    assert "check tenant_id, client_id and the secret in " in message


def test_entra_id_is_away(authority, as_principal):
    reached = as_principal(authority="https://localhost:1")
    assert "cannot reach https://localhost:1 for a token: " in trouble(reached, refusals.Transient)


def test_a_principal_that_the_cluster_refuses(server, as_principal):
    server.answers["GET /version"] = UNAUTHORIZED
    message = trouble(as_principal())
    assert (
        "does not accept who we are (Unauthorized); check tenant_id, client_id and the secret in " in message
    )


def test_a_token_goes_over_https_only(authority, as_principal):
    message = trouble(as_principal(server="http://127.0.0.1:1"))
    assert "a token of Microsoft Entra ID is for a server of https, not for http://127.0.0.1:1" in message
    assert authority.asked == 0


# --- answers that are no success ---------------------------------------------------------------------------


def test_the_clusters_words(server, reach):
    server.answers["GET /version"] = apiserver.status(
        403, 'pods is forbidden: User "jane" cannot list', reason="Forbidden"
    )
    assert trouble(reach(), refusals.Refused) == (
        'cannot reach the cluster: pods is forbidden: User "jane" cannot list'
    )
    assert len(server.seen) == 1


def test_a_busy_cluster(server, reach):
    server.answers["GET /version"] = apiserver.status(429, "slow down", headers=[("Retry-After", "2")])
    with pytest.raises(refusals.Transient) as caught:
        ask(reach())
    assert (caught.value.retry_after, caught.value.status) == (2, 429)


def test_a_cluster_that_is_away(reach, server):
    found = trouble(reach(cluster={"server": "https://127.0.0.1:1"}), refusals.Transient)
    assert found == (
        "cannot reach the cluster: the API server https://127.0.0.1:1 does not answer: Connection refused"
    )


def test_a_cluster_that_is_not_to_be_trusted(reach, tmp_path):
    pathlib.Path(tmp_path, "ca.pem").write_text("junk")
    found = trouble(reach(cluster={"certificate-authority": "ca.pem"}))
    assert "cannot be used: [X509" in found


# --- the client library by itself --------------------------------------------------------------------------


def test_the_client_says_who_we_are(server, reach):
    server.answers["GET /version"] = only("good")
    server.answers["GET /version/"] = only("good")
    client = reach({"token": "good", "as": "jane"}).client()
    response = client.call_api(
        *client.param_serialize("GET", "/version/", auth_settings=["BearerToken"]),
    )
    response.read()
    assert response.status == 200
    assert server.seen[0].headers["Impersonate-User"] == "jane"


def test_there_is_no_client_without_a_kubeconfig():
    reached = access.Access(enginesettings.Kubernetes(kubeconfig="/nowhere"), {})
    with pytest.raises(refusals.NoAccess, match="cannot read the kubeconfig"):
        reached.client()


def _cluster(**more):
    return {"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", **more}}]}


def _user(**more):
    return {"users": [{"name": "u", "user": more}]}


def _plugin(**more):
    said = {"command": "true", "apiVersion": "client.authentication.k8s.io/v1", **more}
    return _user(exec=said)


EXTENDED = {"provideClusterInfo": True}

MALFORMED = [
    *(
        _cluster(**{"proxy-url": url})
        for url in ("socks5://h:1", "h:1", "http://:pass\n@h", "http://[::1", "http://h:x")
    ),
    *(_cluster(**{"proxy-url": url}) for url in ("https://h:99999", "http://a..b", "http://")),
    *(
        _cluster(server=f"https://{host}")
        for host in ("[::1", "h:x", "h:99999", "a..b", "", "a b", "u:pass@h", "č")
    ),
    *(_cluster(**{"tls-server-name": name}) for name in ("a..b", "x" * 300, "a\0b")),
    *(_cluster(**{"certificate-authority-data": said}) for said in ("ä", "A")),
    _cluster(**{"certificate-authority": "a\0b"}),
    *(_user(token=token) for token in ("pass\nword", "pass\u010d", "pass\0")),
    _user(tokenFile="a\0b"),
    *(_user(token="pass", **{"as": name}) for name in ("a\nb", "\u010d")),
    *(_user(token="pass", **{"as-groups": groups}) for groups in (5, "abc", [[]])),
    *(
        _user(token="pass", **{"as-user-extra": said})
        for said in (["a"], {"a b": ["x"]}, {"a": 5}, {"a\r\nb": ["x"]})
    ),
    *(_plugin(env=env) for env in ({"a": "b"}, [{"value": "c"}], [{"name": "a=\0", "value": "b"}], ["a"])),
    *(_plugin(args=arguments) for arguments in (5, ["\0"], {})),
    _plugin(command="./a\0"),
    {**_cluster(extensions=["x"]), **_plugin(provideClusterInfo=True)},
    _plugin(command="python3", args=["-c", "print('[' * 100000)"]),
    _user(**{"client-certificate": "a\0", "client-key": "b"}),
    _user(**{"client-certificate-data": "ä", "client-key-data": "ä"}),
    "a: 2024-13-45",
    "[" * 10_000,
    "a: !!float x",
]


@pytest.mark.parametrize("said", MALFORMED, ids=map(str, range(len(MALFORMED))))
def test_a_kubeconfig_that_makes_no_sense_is_a_line(said, tmp_path):
    """Whoever has written it; a daemon that goes on is told no secrets of it, either."""
    path = tmp_path / "kubeconfig"
    context = {"cluster": "c", "user": "u"}
    whole = {"current-context": "x", "contexts": [{"name": "x", "context": context}], **_cluster(), **_user()}
    path.write_text(said if isinstance(said, str) else json.dumps(whole | said))
    reached = access.Access(enginesettings.Kubernetes(kubeconfig=str(path)), os.environ)
    for way in (lambda: reached.request("GET", "/version", silence=1, what="ask"), reached.client):
        with pytest.raises(refusals.NoAccess) as caught:
            way()
        assert "\n" not in str(caught.value)
        assert "pass" not in str(caught.value)


def test_a_proxy_of_the_environment_that_is_none(reach):
    reached = reach(environ={"HTTPS_PROXY": "socks5://user:pass@h:1"})
    with pytest.raises(refusals.NoAccess) as caught:
        reached.request("GET", "/version", silence=1, what="ask")
    assert str(caught.value) == (
        "cannot ask: the environment has a variable for proxies that is not the URL of an http or https proxy"
    )
