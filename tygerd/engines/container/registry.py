"""What it means that an image could not be pulled, and what to do about it. Pure: words in, a `Problem` out.

Engines pass on what registries and the network say, as text, each in its own frame. The words below are those
of the registries' protocol, which has codes for what is unknown, denied or too often, and of Go's network
library.
"""

from __future__ import annotations

import re

from tyger import errors

DOCKER_HUB = "docker.io"

_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_MALFORMED = re.compile(
    r"invalid reference|invalid tag|did not resolve to an alias|repository name", re.IGNORECASE
)
_THROTTLED = re.compile(r"too ?many ?requests|\b429\b|rate limit|QPS exceeded", re.IGNORECASE)
_TRUST = re.compile(r"x509|certificate|HTTP response to HTTPS client|tls: ", re.IGNORECASE)
_OFFLINE = re.compile(
    r"dial (tcp|udp)|no such host|connection (refused|reset)|network is unreachable|no route to host"
    r"|i/o timeout|TLS handshake timeout|deadline exceeded|request canceled|server misbehaving|unexpected EOF"
    r"|: EOF$|proxyconnect|temporary failure|\b50[0234]\b|service unavailable|bad gateway",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"(manifest|name|repository)[ _]unknown|not ?found|no such image|does not exist|\b404\b", re.IGNORECASE
)
_DENIED = re.compile(
    r"denied|unauthorized|authentication|authenticate|forbidden|no basic auth|credentials|\b40[13]\b|login",
    re.IGNORECASE,
)


def host(reference: str) -> str:
    """The registry that an image reference names; Docker's own where it names none."""
    first, slash, _ = reference.partition("/")
    named = slash and (any(mark in first for mark in ".:") or first == "localhost")
    return first if named and first not in {"index.docker.io", "registry-1.docker.io"} else DOCKER_HUB


def is_no_name(said: str) -> bool:
    """Whether an engine says that what it was asked for cannot be an image's name."""
    return bool(_MALFORMED.search(said))


def problem(reference: str, said: str, *, command: str, account: str | None) -> errors.Problem:
    """Why a pull failed.

    `said` are the engine's words; `command` is what its users type (`docker`); `account` says where the
    credentials came from that were shown, None where there were none.
    """
    registry = host(reference)
    words = " ".join(said.split())
    name = reference.partition("@")[0].rpartition("/")[2].partition(":")[0]
    # What names the image must not be taken for what became of it.
    own = re.sub(rf"{re.escape(registry)}|{re.escape(name)}(:[\w.-]+)?", "", words)
    kind, meaning, advice = _judge(own, registry, command, account)
    return errors.Problem(kind, f"cannot pull the image '{reference}': {meaning} ({words}); {advice}")


def _judge(words: str, registry: str, command: str, account: str | None) -> tuple[errors.Kind, str, str]:
    """The kind of failure, what happened, and what to do. Of two matches the first is the cause.

    A registry that denies a name may do so because there is none: it hides what is private.
    """
    if _FULL.search(words):
        return errors.STORAGE_FULL, "the engine's disk is full", f"make room there: {command} system prune"
    if _MALFORMED.search(words):
        return (
            errors.INVALID_INPUT,
            "it is not the name of an image",
            "write it as REGISTRY/NAME:TAG, in lower case, such as docker.io/library/busybox:1",
        )
    if _THROTTLED.search(words):
        login = "" if account else f", or sign in, which often allows more: {command} login {registry}"
        return (
            errors.TRY_AGAIN,
            f"the registry {registry} is asked too often and refuses for now",
            f"wait and try again{login}",
        )
    if _DENIED.search(words):
        return (
            errors.FORBIDDEN,
            f"the registry {registry} does not allow it",
            _sign_in(registry, command, account),
        )
    if _TRUST.search(words) and not re.search(r"TLS handshake timeout", words):
        return (
            errors.UNAVAILABLE,
            f"the engine does not trust the registry {registry}",
            f"tell {command} its certificate, or that it has none (insecure registry)",
        )
    if _OFFLINE.search(words):
        return (
            errors.UNAVAILABLE,
            f"the registry {registry} cannot be reached",
            "check its name and this host's network; an image that the engine has needs no registry",
        )
    if _MISSING.search(words):
        return (
            errors.INVALID_INPUT,
            f"the registry {registry} has no such image",
            "check its name and its tag",
        )
    return errors.UNAVAILABLE, "the engine could not do it", f"try it by hand: {command} pull"


def _sign_in(registry: str, command: str, account: str | None) -> str:
    if account:
        return (
            f"the credentials of {account} were refused, or may not have it, or there is no such image: check"
            f" its name, or sign in again with {command} login {registry}"
        )
    return f"check its name; if it is private sign in with {command} login {registry}"
