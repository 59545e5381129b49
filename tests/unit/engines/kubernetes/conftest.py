"""An API server whose answers a test decides, and kubeconfigs that lead to it."""

import json
import pathlib

import pytest

from tests.support import apiserver, certificates
from tygerd import enginesettings
from tygerd.engines.kubernetes import access


@pytest.fixture
def certificate(tmp_path):
    return certificates.make(tmp_path)


@pytest.fixture
def server(certificate):
    with apiserver.ApiServer(certificate, clients=certificate) as server:
        yield server


@pytest.fixture
def configure(server, certificate, tmp_path):
    """Write the kubeconfig of a user; returns its path."""

    def configure(user, **cluster):
        cluster = {"server": server.url, "certificate-authority": certificate, **cluster}
        said = {
            "current-context": "lab",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u", "namespace": "runs"}}],
        }
        path = pathlib.Path(tmp_path, "kubeconfig")
        path.write_text(json.dumps(said))
        return str(path)

    return configure


@pytest.fixture
def reach(configure):
    """Access by a kubeconfig, of a user who has a token unless another is given."""
    made = []

    def reach(user=None, *, environ=None, cluster=None, **settings):
        path = configure({"token": "good"} if user is None else user, **(cluster or {}))
        made.append(access.Access(enginesettings.Kubernetes(kubeconfig=path, **settings), environ or {}))
        return made[-1]

    yield reach
    for one in made:
        one.close()
