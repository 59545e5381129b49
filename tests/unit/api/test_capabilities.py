import pytest

from tygerd.api import capabilities
from tygerd.engines import base as engines
from tygerd.engines.process import engine as process
from tygerd.stores import base as stores

HERE = stores.Traits("local", "local", "http+unix:///s:/", embedded=True)
THERE = stores.Traits("acct", "eastus", "https://acct.blob.core.windows.net", embedded=False)


@pytest.mark.parametrize(
    ("traits", "places", "words"),
    [
        (process.ProcessEngine.traits, [HERE], ["EphemeralBuffers", "LocalBuffers"]),
        (process.ProcessEngine.traits, [HERE, THERE], ["EphemeralBuffers"]),
        (
            engines.Traits("docker", sockets=True, gpu=True, ephemeral_buffers=True, docker=True),
            [HERE],
            ["Gpu", "EphemeralBuffers", "Docker", "LocalBuffers"],
        ),
        (
            engines.Traits(
                "k8s", workers=True, sockets=True, replicas=True, node_pools=True, kubernetes=True
            ),
            [THERE],
            ["NodePools", "DistributedRuns", "Kubernetes"],
        ),
    ],
)
def test_words_follow_from_traits(traits, places, words):
    assert capabilities.of(traits, places) == words
