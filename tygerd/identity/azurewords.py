"""What Azure's servers and libraries say of a failure, in one line for a person.

Takes their exceptions apart by shape, so that it imports none of them.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Iterator

SHOWN = 300
"""Characters of a server's own words."""

_MSAL_BUSY = re.compile(r"HTTP Error: (429|5\d\d)")
_ENTRA = re.compile(r"AADSTS\d+: .*?(?=\s*Trace ID:|[\r\n\"]|\\\\[rn]|$)")


def network(error: BaseException) -> str:
    """Why there was no answer: the system's words for the innermost failure."""
    for cause in causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {cause.verify_message}"
            case socket.gaierror():
                return cause.strerror or str(cause)
            case TimeoutError():
                return "timed out"
            case ssl.SSLError() if cause.reason:
                return cause.reason.replace("_", " ").lower()
            case OSError() if cause.strerror:
                return cause.strerror
            case http.client.HTTPException():
                return line(str(cause) or type(cause).__name__)
    if "timed out" in str(error).lower():
        return "timed out"
    return line(str(error))


def is_untrusted(error: BaseException) -> bool:
    """Whether the server's certificate was refused: that does not pass by itself."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(error))


def is_unknown_host(error: BaseException) -> bool:
    """Whether its name could not be looked up."""
    return any(isinstance(cause, socket.gaierror) for cause in causes(error))


def is_passing(error: BaseException) -> bool:
    """Whether a server says that it is busy or broken, which time may mend; msal says it in words only."""
    for cause in causes(error):
        status = getattr(getattr(cause, "response", None), "status_code", 0)
        if status in {408, 429} or status >= 500 or _MSAL_BUSY.search(str(cause)):
            return True
    return False


def entra(error: BaseException) -> str:
    """Why Microsoft Entra ID gives no token: its own sentence, without the IDs for its support."""
    for cause in causes(error):
        if found := _ENTRA.search(str(cause)):
            return line(found[0])
    return line(str(getattr(error, "message", error)).removeprefix("Authentication failed: "))


def storage(error: BaseException) -> str:
    """The Blob service's reason, with its code."""
    first = str(getattr(error, "message", "") or error).partition("\n")[0]
    detail = (getattr(error, "additional_info", None) or {}).get("authenticationerrordetail")
    reason = line((f"{first} {detail}" if detail else first).rstrip("."))
    found = code(error)
    return f"{reason} ({found})" if found and found not in reason else reason


def code(error: BaseException) -> str:
    """The Blob service's code of the failure, or nothing."""
    found = getattr(error, "error_code", None)
    if found is None and (response := getattr(error, "response", None)) is not None:
        found = response.headers.get("x-ms-error-code")
    return str(getattr(found, "value", found or ""))


def line(text: str) -> str:
    """In one line, shortened."""
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that it carries along, the innermost first."""
    seen: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        one = pending.pop(0)
        if not isinstance(one, BaseException) or one in seen:
            continue
        seen.append(one)
        pending += [one.__cause__, one.__context__, getattr(one, "inner_exception", None)]
        pending += [getattr(one, "reason", None), *one.args]
    yield from reversed(seen)
