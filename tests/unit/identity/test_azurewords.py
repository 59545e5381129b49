"""What is left of the exceptions of Azure's libraries: one line."""

import socket
import ssl
from types import SimpleNamespace

import pytest

from tygerd.identity import azurewords


class AnsweredError(Exception):
    """As azure-core's HttpResponseError."""

    def __init__(self, message, code=None, **more):
        super().__init__(message)
        self.message = message
        self.error_code = code
        self.additional_info = more


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
UNTRUSTED.verify_message = "self-signed certificate"


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (TimeoutError("timed out"), "timed out"),
        (UNTRUSTED, "its certificate is not trusted: self-signed certificate"),
        (OSError("no number"), "outer"),
    ],
)
def test_the_systems_words_are_found_inside(inner, words):
    wrapped = raised(RuntimeError("HTTPSConnection(...): Max retries exceeded"), inner)
    assert azurewords.network(raised(ValueError("outer"), wrapped)) == words
    assert azurewords.network(ValueError("outer") if words == "outer" else ValueError(wrapped)) == words
    assert azurewords.is_untrusted(wrapped) == (inner is UNTRUSTED)
    assert azurewords.is_unknown_host(wrapped) == isinstance(inner, socket.gaierror)


def test_a_time_out_that_only_the_text_tells():
    assert azurewords.network(ValueError("Read timed out. (read timeout=30)")) == "timed out"


def test_exceptions_that_hold_each_other():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert azurewords.network(one) == "one"


@pytest.mark.parametrize(
    "said",
    [
        "Authentication failed: AADSTS7000222: The keys are expired. Trace ID: x Correlation ID: y",
        "AADSTS7000222: The keys are expired.\r\nTrace ID: x",
        'OIDC failed: {"error_description":"AADSTS7000222: The keys are expired. Trace ID: x","a":1}',
    ],
)
def test_entras_sentence_without_its_ids(said):
    assert azurewords.entra(AnsweredError(said)) == "AADSTS7000222: The keys are expired."


def test_entra_without_a_sentence():
    assert azurewords.entra(AnsweredError("Authentication failed: no\n answer")) == "no answer"


def test_the_services_reason():
    text = "The specified container does not exist.\nRequestId:1\nTime:2\nErrorCode:ContainerNotFound"
    assert azurewords.storage(AnsweredError(text, "ContainerNotFound")) == (
        "The specified container does not exist (ContainerNotFound)"
    )
    detailed = AnsweredError(
        "Server failed.\nx", "AuthenticationFailed", authenticationerrordetail="No\n match."
    )
    assert azurewords.storage(detailed) == "Server failed. No match (AuthenticationFailed)"
    assert azurewords.storage(AnsweredError("Forbidden")) == "Forbidden"
    assert azurewords.code(AnsweredError("Forbidden")) == ""
    assert len(azurewords.storage(AnsweredError("x" * 1000))) == azurewords.SHOWN


@pytest.mark.parametrize(
    ("status", "passing"), [(400, False), (401, False), (408, True), (429, True), (503, True)]
)
def test_what_time_may_mend(status, passing):
    error = AnsweredError("x")
    error.response = SimpleNamespace(status_code=status, headers={})
    assert azurewords.is_passing(raised(ValueError("outer"), error)) == passing
    assert azurewords.is_passing(ValueError(f"HTTP Error: {status}")) == (passing and status != 408)
