"""Paths, versions and prefixes as rest-api.md 1.2 to 1.4 has them; rows that do not fit their handlers."""

import pytest

from tyger import errors
from tygerd.http import messages, router
from tygerd.http.router import Route


async def handler(app: object, request: messages.Request) -> messages.Response:
    return messages.Response()


async def with_body(app: object, request: messages.Request, body: dict[str, int]) -> messages.Answer:
    return messages.Response()


ROUTES = [
    Route("GET", "/buffers", handler, "list"),
    Route("GET", "/buffers/count", handler, "count"),
    Route("GET", "/buffers/{id}", handler, "show"),
    Route("PUT", "/buffers/{id}", with_body, "set", body=dict[str, int]),
    Route("POST", "/buffers/{id}/access", handler, "access"),
    Route("GET", "/metadata", handler, "metadata", versioned=False),
    Route("HEAD", "/containers/{container}", handler, "head", versioned=False),
    Route("GET", "/containers/{container}/{blob...}", handler, "blob", versioned=False),
]
TABLE = router.Router(ROUTES)


def match(method, target):
    found = TABLE.match(method, router.parse_target(target))
    return found.route.summary, found.params


def refusal(method, target):
    with pytest.raises(errors.Problem) as caught:
        match(method, target)
    return caught.value


@pytest.mark.parametrize(
    ("method", "target", "summary", "params"),
    [
        ("GET", "/buffers?api-version=1.0", "list", {}),
        ("GET", "/buffers/count?api-version=1.0", "count", {}),
        ("GET", "/buffers/abc?api-version=1", "show", {"id": "abc"}),
        ("PUT", "/buffers/count?API-Version=1.0", "set", {"id": "count"}),
        ("GET", "/buffers/a%2Fb?api-version=1.0&api-version=1.0", "show", {"id": "a/b"}),
        ("GET", "/metadata", "metadata", {}),
        ("GET", "/metadata?api-version=0.1", "metadata", {}),
        ("GET", "/metadata?api-version=", "metadata", {}),
        ("GET", "/v1/metadata?api-version=abc", "metadata", {}),
        ("GET", "/v1/buffers", "list", {}),
        ("GET", "/v1/buffers?api-version=", "list", {}),
        ("GET", "/v1/buffers?api-version=1", "list", {}),
        ("GET", "/v1/v1/buffers/v1/x", None, None),
        ("GET", "/v1/buffers/v1/count", "count", {}),
        ("HEAD", "/containers/c", "head", {"container": "c"}),
        ("GET", "/containers/c/.bufferstart", "blob", {"container": "c", "blob": ".bufferstart"}),
        ("GET", "/containers/c/02/01/FFF?sig=x", "blob", {"container": "c", "blob": "02/01/FFF"}),
        ("GET", "http://host/buffers/x?api-version=1.0", "show", {"id": "x"}),
        ("GET", "http://host", None, None),
    ],
)
def test_matches(method, target, summary, params):
    if summary is None:
        assert refusal(method, target).kind is errors.INVALID_ROUTE
    else:
        assert match(method, target) == (summary, params)


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("/buffers", "ApiVersionUnspecified", "Unspecified API version"),
        ("/buffers?api-version=", "ApiVersionUnspecified", "Unspecified API version"),
        ("/buffers?api-version=0.1", "UnsupportedApiVersion", "Unsupported API version"),
        ("/buffers?api-version=2.0", "UnsupportedApiVersion", "Unsupported API version"),
        ("/buffers?api-version=1.0-beta", "UnsupportedApiVersion", "Unsupported API version"),
        ("/buffers?api-version=2024-01-25", "UnsupportedApiVersion", "Unsupported API version"),
        ("/buffers?api-version=abc", "InvalidApiVersion", "Invalid API version"),
        ("/buffers?api-version=1.0.0", "InvalidApiVersion", "Invalid API version"),
        ("/buffers?api-version=%D9%A1.0", "InvalidApiVersion", "Invalid API version"),
        ("/buffers?api-version=1.0&api-version=2.0", "AmbiguousApiVersion", "Ambiguous API version"),
        ("/v1/buffers?api-version=0.1", "UnsupportedApiVersion", "Unsupported API version"),
    ],
)
def test_versions_that_are_refused(target, code, message):
    problem = refusal("GET", target)
    assert problem.status == 400
    assert problem.body() == {"error": {"code": code, "message": message, "apiVersions": ["1.0"]}}


@pytest.mark.parametrize(
    "target", ["/", "/v1", "/v1/", "/v2/buffers", "/buffers/", "/buffers/a/b", "/nowhere", "/buffers//access"]
)
def test_unknown_paths(target):
    problem = refusal("GET", target)
    assert problem.body() == {
        "error": {"code": "InvalidRoute", "message": "The request path was not recognized."}
    }


def test_a_wrong_method_is_an_unknown_route():
    assert refusal("DELETE", "/metadata").kind is errors.INVALID_ROUTE


def test_what_looks_like_a_file_is_a_bare_404():
    problem = refusal("GET", "/nowhere/robots.txt")
    assert (problem.status, problem.empty_body) == (404, True)


@pytest.mark.parametrize(
    "target", ["*", "x:443", "", "//[", "/%ff", "/a?b=%ff", "http://[::1/x", "/?" + "a&" * 2000]
)
def test_targets_that_are_none(target):
    with pytest.raises(errors.Problem) as caught:
        router.parse_target(target)
        TABLE.match("GET", router.parse_target(target))
    assert caught.value.status == 400


def test_a_legacy_request_has_a_query_that_can_be_repeated():
    target = router.parse_target("/v1/buffers?limit=5&api-version=")
    assert target.path == "/buffers"
    assert list(target.query) == [("limit", "5"), ("api-version", "1.0")]


# --- rows --------------------------------------------------------------------------------------------------


async def too_few(app: object) -> messages.Response: ...
async def no_request(app: object, request: int) -> messages.Response: ...
async def wrong_body(app: object, request: messages.Request, body: list[int]) -> messages.Response: ...
async def no_answer(app: object, request: messages.Request) -> int: ...
async def silent(app: object, request: messages.Request): ...
def not_async(app: object, request: messages.Request) -> messages.Response: ...
async def app_elsewhere(app: "NowhereToBeFound", request: "messages.Request") -> "messages.Answer": ...  # noqa: F821


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (Route("GET", "/x", too_few, ""), "takes 1 parameters, not 2"),
        (Route("GET", "/x", with_body, ""), "takes 3 parameters, not 2"),
        (Route("GET", "/x", handler, "", body=int), "takes 2 parameters, not 3"),
        (Route("GET", "/x", no_request, ""), "second parameter"),
        (Route("GET", "/x", wrong_body, "", body=dict[str, int]), "third parameter"),
        (Route("GET", "/x", no_answer, ""), "does not return an Answer"),
        (Route("GET", "/x", silent, ""), "does not return an Answer"),
        (Route("GET", "/x", not_async, ""), "not an async function"),
        (Route("GET", "x", handler, ""), "does not start with /"),
        (Route("GET", "/x", with_body, "", body=dict[str, int], streams_body=True), "not both"),
        (Route("GET", "/x", handler, "", fds=1, streams_body=True), "descriptors"),
        (Route("GET", "/x", handler, "", endless=True), "only a streamed body"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(row, why):
    with pytest.raises(TypeError, match=why):
        router.Router([row])


def test_the_app_need_not_be_importable():
    router.Router([Route("GET", "/x", app_elsewhere, "")])


@pytest.mark.parametrize(
    ("first", "second"), [("/a/{x}", "/a/{y}"), ("/a", "/a"), ("/a/{x...}", "/a/{y...}")]
)
def test_two_rows_for_the_same_are_refused(first, second):
    with pytest.raises(TypeError, match="two routes"):
        router.Router([Route("GET", first, handler, ""), Route("GET", second, handler, "")])


def test_a_table_may_know_other_targets() -> None:
    class Tunnels(router.Router):
        def target(self, method: str, text: str) -> router.Target:
            raise errors.Problem(errors.FORBIDDEN, f"{method} {text}")

    assert TABLE.target("GET", "/buffers?a=b").path == "/buffers"
    with pytest.raises(errors.Problem, match="CONNECT host:443"):
        Tunnels(ROUTES).target("CONNECT", "host:443")
