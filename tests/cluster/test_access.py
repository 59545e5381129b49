"""Every way of saying who we are, to a real API server; and what it says to who is not who he says he is."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import pathlib

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import certificates, manifests
from tygerd import clock, enginesettings
from tygerd.engines.kubernetes import access, api, kubeconfig, refusals

V1 = "client.authentication.k8s.io/v1"

BINDINGS = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"


@pytest.fixture
def reach(cluster, namespace, tmp_path):
    """The engine's way to the cluster as a kubeconfig's user."""
    with contextlib.ExitStack() as stack:

        def reach(user, *, environ=None, **more):
            path = tmp_path / "kubeconfig"
            path.write_text(manifests.kubeconfig(cluster, user))
            settings = {"kubeconfig": str(path), "namespace": namespace, **more}
            chosen = enginesettings.Kubernetes(**{key: value for key, value in settings.items() if value})
            reached = access.Access(chosen, {"PATH": "/usr/bin:/bin", **(environ or {})})
            stack.callback(reached.close)
            return api.Api(reached, chosen)

        yield reach


async def can_list(reached):
    await reached.list("Pod")
    return True


async def trouble(reached, kind):
    with pytest.raises(refusals.Trouble) as caught:
        await reached.list("Pod")
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def token(cluster, namespace):
    return manifests.token(cluster, namespace, "tygerd")


# --- tokens ------------------------------------------------------------------------------------------------


async def test_a_token(reach, token):
    assert await can_list(reach({"token": token}))


async def test_a_tokens_file_that_is_renewed(cluster, reach, namespace, tmp_path):
    """The account was made anew, so its first token counts no more; a new one is read at once."""
    cluster.as_administrator()
    account = {"kind": "ServiceAccount", "metadata": {"name": "passing"}}
    place = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    _may_list(cluster, namespace, "passing")
    cluster.post(place, account)
    (tmp_path / "token").write_text(manifests.token(cluster, namespace, "passing"))
    cluster.delete(f"{place}/passing")
    cluster.post(place, account)
    reached = reach({"tokenFile": "token"})
    said = await trouble(reached, refusals.NoAccess)
    assert "does not accept who we are (Unauthorized); renew the credentials in " in said
    (tmp_path / "token").write_text(manifests.token(cluster, namespace, "passing"))
    assert await can_list(reached)


def _may_list(cluster, namespace, account):
    binding = {
        "kind": "RoleBinding",
        "metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tygerd"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
    cluster.post(BINDINGS.format(namespace), binding)


async def test_a_pods_service_account(cluster, namespace, token, tmp_path):
    """As in a pod of this cluster: what the kubelet mounts, and the address that it tells the pod."""
    target = kubeconfig.load(enginesettings.Kubernetes(kubeconfig=cluster.kubeconfig), {})
    service = cluster.get("/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"]
    if not target.server.startswith(f"https://{service}"):
        pytest.skip("this cluster's own address for its pods is not reached from here")
    files = {"token": token.encode(), "ca.crt": target.authority, "namespace": namespace.encode()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    settings = enginesettings.Kubernetes()
    environ = {"KUBERNETES_SERVICE_HOST": service, "KUBERNETES_SERVICE_PORT": "443", "HOME": "/nowhere"}
    reached = access.Access(settings, environ, service_account=str(tmp_path))
    assert reached.namespace == namespace
    assert await can_list(api.Api(reached, settings))
    reached.close()


async def test_kubeconfigs_that_are_joined(cluster, namespace, token, tmp_path):
    whole = json.loads(manifests.kubeconfig(cluster, {"token": token}, namespace=namespace))
    parts = [{"current-context": "test"}, {"users": whole["users"]}]
    parts.append({key: whole[key] for key in ("clusters", "contexts")})
    paths = []
    for number, part in enumerate(parts):
        paths.append(tmp_path / f"{number}")
        paths[-1].write_text(json.dumps(part))
    settings = enginesettings.Kubernetes()
    reached = access.Access(settings, {"KUBECONFIG": ":".join(map(str, paths))})
    assert await can_list(api.Api(reached, settings))
    assert reached.namespace == namespace
    reached.close()


# --- plugins -----------------------------------------------------------------------------------------------


def plugin(tmp_path, status):
    answer = json.dumps({"kind": "ExecCredential", "apiVersion": V1, "status": status})
    (tmp_path / "answer").write_text(answer)
    program = tmp_path / "plugin"
    program.write_text(f"#!/bin/sh\necho >>{tmp_path}/asked\ncat {tmp_path}/answer\n")
    program.chmod(0o755)
    return {"exec": {"apiVersion": V1, "command": "./plugin", "interactiveMode": "IfAvailable"}}


async def test_a_plugin_with_a_token(reach, token, tmp_path):
    reached = reach(plugin(tmp_path, {"token": "expired long ago"}))
    said = await trouble(reached, refusals.NoAccess)
    assert "does not accept who we are (Unauthorized)" in said
    assert (tmp_path / "asked").read_text() == "\n\n"
    plugin(tmp_path, {"token": token})
    assert await can_list(reached)
    assert await can_list(reached)
    assert (tmp_path / "asked").read_text() == "\n\n\n"


async def test_a_plugin_with_a_certificate(cluster, reach, tmp_path, namespace):
    certificate, key = issue(cluster, "plugged")
    user_may_list(cluster, namespace, "plugged")
    status = {"clientCertificateData": certificate.decode(), "clientKeyData": key.decode()}
    assert await can_list(reach(plugin(tmp_path, status)))


async def test_a_plugin_that_fails(reach, tmp_path):
    user = plugin(tmp_path, {})
    words = "AADSTS700082: The refresh token has expired"
    (tmp_path / "plugin").write_text(f"#!/bin/sh\necho '{words}' >&2; exit 1")
    said = await trouble(reach(user), refusals.NoAccess)
    assert said == f"cannot list pods: the exec plugin ./plugin failed with exit code 1: {words}"


# --- certificates ------------------------------------------------------------------------------------------


def issue(cluster, name, *, days=1):
    """A client certificate that the cluster's own authority has signed, which ends in `days`; and its key."""
    if cluster.own is None:
        pytest.skip("only of a cluster of one's own is the authority's key at hand")
    authority = x509.load_pem_x509_certificate((cluster.own / "pki/ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((cluster.own / "pki/ca.key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(authority.subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(clock.now() - dt.timedelta(days=3))
        .not_valid_after(clock.now() + dt.timedelta(days=days))
        .sign(signer, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM), _pem(key)


def _pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def user_may_list(cluster, namespace, name):
    binding = {
        "kind": "RoleBinding",
        "metadata": {"name": f"user-{name}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tygerd"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name}],
    }
    cluster.post(BINDINGS.format(namespace), binding)


def entry(certificate, key):
    return {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }


async def test_a_client_certificate(cluster, reach, namespace):
    user = entry(*issue(cluster, "certified"))
    said = await trouble(reach(user), refusals.Refused)
    assert said == (
        'cannot list pods: pods is forbidden: User "certified" cannot list resource "pods" in API group ""'
        f' in the namespace "{namespace}"'
    )
    user_may_list(cluster, namespace, "certified")
    assert await can_list(reach(user))


async def test_a_client_certificate_that_has_expired(cluster, reach):
    said = await trouble(reach(entry(*issue(cluster, "admin", days=-1))), refusals.NoAccess)
    assert "does not accept who we are (Unauthorized); renew the credentials in " in said


async def test_standing_for_somebody_else(cluster, reach, namespace):
    cluster.as_administrator()
    target = kubeconfig.load(enginesettings.Kubernetes(kubeconfig=cluster.kubeconfig), {})
    account = f"system:serviceaccount:{namespace}:tyger-job"
    said = await trouble(reach({**target.user, "as": account}), refusals.Refused)
    assert f'User "{account}" cannot list resource "pods"' in said


# --- what is wrong -----------------------------------------------------------------------------------------


async def test_nobody(cluster, reach):
    with pytest.raises((refusals.Refused, refusals.NoAccess)) as caught:
        await reach({}).list("Pod")
    if isinstance(caught.value, refusals.NoAccess) and cluster.own is None:  # who hears only those it knows
        assert "does not accept who we are" in str(caught.value)
    else:
        assert 'User "system:anonymous" cannot list' in str(caught.value)


async def test_a_context_that_is_not_there(reach, token):
    said = await trouble(reach({"token": token}, context="prod"), refusals.NoAccess)
    assert "does not have the context 'prod'; there are test" in said


async def test_a_namespace_that_is_not_there_or_not_ours(cluster, reach, token):
    said = await trouble(reach({"token": token}, namespace="somebody-elses"), refusals.Refused)
    assert 'cannot list resource "pods" in API group "" in the namespace "somebody-elses"' in said
    target = kubeconfig.load(enginesettings.Kubernetes(kubeconfig=cluster.kubeconfig), {})
    admin = reach(dict(target.user), namespace="tyger-test-not-there")
    with pytest.raises(refusals.NotFound) as caught:
        await admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}})
    assert str(caught.value) == 'cannot create the secret x: namespaces "tyger-test-not-there" not found'


async def test_a_cluster_that_is_another(cluster, reach, token, tmp_path):
    """The right address, and an authority that has not signed its certificate."""
    other = pathlib.Path(certificates.make(tmp_path)).read_bytes()
    reached = reach({"token": token})
    path = tmp_path / "kubeconfig"
    said = json.loads(path.read_text())
    said["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(other).decode()
    path.write_text(json.dumps(said))
    message = await trouble(reached, refusals.NoAccess)
    assert f"the API server {said['clusters'][0]['cluster']['server']} is not to be trusted: " in message
    assert "certificate verify failed: unable to get local issuer certificate" in message


async def test_a_daemon_with_many_requests_has_few_connections(reach, token):
    reached = reach({"token": token}, connections=4)
    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(reached.version)
    assert reached.calls == 40
