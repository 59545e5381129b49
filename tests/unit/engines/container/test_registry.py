"""What is made of a registry's words. Podman's were recorded; tests of `images` get them for real."""

import pytest

from tyger import errors
from tygerd.engines.container import registry

PODMAN = {
    "initializing source docker://r:5/bb:9: reading manifest 9 in r:5/bb: manifest unknown": (
        errors.INVALID_INPUT
    ),
    "reading manifest 1 in r:5/bb: unauthorized: authentication required": errors.FORBIDDEN,
    "reading manifest 1 in r:5/bb: denied": errors.FORBIDDEN,
    "pinging container registry r:5: too many requests to registry": errors.TRY_AGAIN,
    "pinging container registry r:5: invalid status code from registry 503 (Service Unavailable)": (
        errors.UNAVAILABLE
    ),
    'pinging container registry r:5: Get "http://r:5/v2/": dial tcp 1.2.3.4:5: connect: connection refused': (
        errors.UNAVAILABLE
    ),
    'Get "https://r/v2/": dial tcp: lookup r on 10.0.0.1:53: no such host': errors.UNAVAILABLE,
    "normalizing name: invalid reference format: repository name must be lowercase": errors.INVALID_INPUT,
    "writing blob: storing blob to file: write /var/tmp/x: no space left on device": errors.STORAGE_FULL,
}
DOCKER = {
    "manifest for busybox:9 not found: manifest unknown: manifest unknown": errors.INVALID_INPUT,
    (
        "pull access denied for x, repository does not exist or may require 'docker login': denied: requested"
        " access to the resource is denied"
    ): errors.FORBIDDEN,
    'Head "https://ghcr.io/v2/x/manifests/1": unauthorized': errors.FORBIDDEN,
    "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating": (
        errors.TRY_AGAIN
    ),
    'Get "https://registry-1.docker.io/v2/": net/http: TLS handshake timeout': errors.UNAVAILABLE,
    'Get "https://r:5/v2/": http: server gave HTTP response to HTTPS client': errors.UNAVAILABLE,
    'Get "https://r/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority': (
        errors.UNAVAILABLE
    ),
    "invalid reference format": errors.INVALID_INPUT,
}


@pytest.mark.parametrize(("words", "kind"), [*PODMAN.items(), *DOCKER.items()])
def test_failures_are_told_apart(words, kind):
    problem = registry.problem("r:5/bb:1", words, command="podman", account=None)
    assert problem.kind is kind
    assert problem.message.startswith("cannot pull the image 'r:5/bb:1': ")
    assert words in problem.message
    assert "\n" not in problem.message


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("denied", "sign in with podman login r:5"),
        ("too many requests", "wait and try again, or sign in"),
        (
            "manifest unknown",
            "the registry r:5 has no such image (manifest unknown); check its name and its tag",
        ),
        ("dial tcp: no such host", "the registry r:5 cannot be reached"),
        ("x509: unknown authority", "does not trust the registry r:5"),
        ("of a kind\n that nobody knows", "try it by hand: podman pull"),
    ],
)
def test_it_says_what_to_do(words, advice):
    assert advice in registry.problem("r:5/bb:1", words, command="podman", account=None).message


def test_the_images_name_says_nothing():
    said = registry.problem(
        "r:503/denied:404", "reading denied:404 in r:503: manifest unknown", command="docker", account=None
    )
    assert said.kind is errors.INVALID_INPUT


def test_it_says_whose_credentials_were_refused():
    said = registry.problem(
        "r:5/bb:1", "unauthorized", command="docker", account="/home/a/.docker/config.json"
    )
    assert "the credentials of /home/a/.docker/config.json were refused" in said.message
    again = registry.problem("r:5/bb:1", "too many requests", command="docker", account="x")
    assert again.message.endswith("; wait and try again")


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("busybox", "docker.io"),
        ("library/busybox:1", "docker.io"),
        ("docker.io/library/busybox", "docker.io"),
        ("index.docker.io/library/busybox", "docker.io"),
        ("quay.io/a/b@sha256:00", "quay.io"),
        ("r:5000/b", "r:5000"),
        ("localhost/b", "localhost"),
    ],
)
def test_the_registry_of_a_reference(reference, host):
    assert registry.host(reference) == host


def test_what_an_engine_takes_for_no_name():
    assert registry.is_no_name("normalizing image: repository name must be lowercase")
    assert not registry.is_no_name("busybox:1: image not known")
