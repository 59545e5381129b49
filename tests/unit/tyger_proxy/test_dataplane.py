"""Access URLs through the proxy, and what none of them may reach."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tyger import errors
from tyger_proxy import dataplane

HERE = dataplane.Endpoint("/run/s", "/")
QUERY = "sv=0.1.0&sp=r&se=2026-01-01T00%3A00%3A00Z&sig=a%2Bb%3D"
URL = f"http+unix:///run/s:/containers/abc123?{QUERY}"


@pytest.mark.parametrize(
    ("announced", "found"),
    [
        (["http+unix:///run/s:/"], HERE),
        (["http+unix:///run/s:"], HERE),
        (["http+unix:///run/a%20b:/x"], dataplane.Endpoint("/run/a b", "/x/")),
        (["https://a.blob.core.windows.net/", "http+unix:///run/s:/"], HERE),
        (["https://a.blob.core.windows.net/"], None),
        ([], None),
        (None, None),
        ("http+unix:///run/s:/", None),
        ([7], None),
    ],
)
def test_the_local_endpoint_of_a_server(announced, found):
    assert dataplane.endpoint(announced) == found


def test_several_local_endpoints():
    with pytest.raises(errors.Problem, match="has 2 local storage endpoints"):
        dataplane.endpoint(["http+unix:///a:/", "http+unix:///b:/"])


@pytest.mark.parametrize("more", ["", "&relay=true"])
def test_there_and_back(more):
    through = urlsplit(dataplane.through(URL + more, "host:6888"))
    assert (through.scheme, through.netloc, through.path) == ("http", "host:6888", "/dataplane")
    original = parse_qs(through.query)["original"]
    assert original == [URL + more]
    assert through.query.endswith("&relay=true") == bool(more)
    assert dataplane.blob(original, "02/01/FFF", HERE) == dataplane.Blob(
        "/run/s", f"/containers/abc123/02/01/FFF?{QUERY}{more}"
    )
    assert dataplane.blob(original, ".bufferstart", HERE).target.startswith(
        "/containers/abc123/.bufferstart?"
    )
    assert dataplane.blob(original, "", HERE).target == f"/containers/abc123?{QUERY}{more}"


@pytest.mark.parametrize(
    "uri", ["https://a.blob.core.windows.net/x?sig=y", "http://localhost:8080/x", "temporary"]
)
def test_storage_elsewhere_is_not_led_through(uri):
    assert dataplane.through(uri, "host") == uri


def test_a_data_plane_with_a_prefix():
    here = dataplane.Endpoint("/run/s", "/p/")
    assert dataplane.blob(["http+unix:///run/s:/p/containers/abc"], "0", here).target == "/p/containers/abc/0"
    with pytest.raises(errors.Problem):
        dataplane.blob(["http+unix:///run/s:/containers/abc"], "0", here)


@pytest.mark.parametrize(
    ("original", "name", "kind"),
    [
        ([], "", errors.BAD_REQUEST),
        ([""], "", errors.BAD_REQUEST),
        ([URL, URL], "", errors.BAD_REQUEST),
        (["x"], "", errors.BAD_REQUEST),
        (["http://169.254.169.254/containers/abc"], "", errors.BAD_REQUEST),
        (["http+unix:///run/s"], "", errors.BAD_REQUEST),
        # a socket, or a path of the control plane, that the client chose
        (["http+unix:///var/run/docker.sock:/containers/abc"], "", errors.FORBIDDEN),
        (["http+unix:///run/../run/s:/containers/abc"], "", errors.FORBIDDEN),
        (["http+unix:///run/s:/buffers/abc"], "", errors.FORBIDDEN),
        (["http+unix:///run/s:/containers/../buffers"], "", errors.FORBIDDEN),
        (["http+unix:///run/s:/containers/abc/../../buffers"], "", errors.FORBIDDEN),
        (["http+unix:///run/s:/containers/%2e%2e"], "", errors.FORBIDDEN),
        (["http+unix:///run/s:"], "", errors.FORBIDDEN),
        (["http+unix:///run/s:/containers/"], "", errors.FORBIDDEN),
        ([URL], "../../buffers", errors.BAD_REQUEST),
        ([URL], "a//b", errors.BAD_REQUEST),
        ([URL], "/a", errors.BAD_REQUEST),
        ([URL], ".", errors.BAD_REQUEST),
    ],
)
def test_what_is_not_reached(original, name, kind):
    with pytest.raises(errors.Problem) as caught:
        dataplane.blob(original, name, HERE)
    assert caught.value.kind is kind


def test_odd_names_stay_names():
    assert (
        dataplane.blob([URL], "a b?c#d%2e", HERE).target == f"/containers/abc123/a%20b%3Fc%23d%252e?{QUERY}"
    )


RELAY = f"http+unix:///run/s:/relays/run-7-temp-abc234?{QUERY}&relay=true"


def test_an_ephemeral_buffer():
    original = parse_qs(urlsplit(dataplane.through(RELAY, "host")).query)["original"]
    found = dataplane.blob(original, "", HERE)
    assert found == ("/run/s", f"/relays/run-7-temp-abc234?{QUERY}&relay=true", True)


@pytest.mark.parametrize(
    ("url", "name"),
    [(RELAY, "00"), (RELAY.replace("run-7", "run-x"), ""), (RELAY.replace("?", "/write?"), "")],
)
def test_of_an_ephemeral_buffer_only_itself_is_reached(url, name):
    with pytest.raises(errors.Problem) as caught:
        dataplane.blob([url], name, HERE)
    assert caught.value.kind is errors.FORBIDDEN
