"""Access URLs of a buffer, contract rest-api.md section 4.10."""

import pytest

from tests.support import bufferexchanges as buffers

JSON = buffers.JSON
ID = buffers.ID
GONE = buffers.GONE
BAD_TTL = buffers.BAD_TTL
TTLS = buffers.TTLS


def access(query="", buffer_id="[[id]]"):
    return f"> POST /buffers/{buffer_id}/access?api-version=1.0{query}\n"


URI = f"""
    < 201 Created
    < {JSON}
    <
    < {{"uri":"http+unix://[[socket]]:/containers/[[id]]?api-version=1.0&sv=0.1.0&sp=[[sp]]&st=[[:escaped]]&se=[[:escaped]]&sig=[[:escaped]]"}}
"""


def test_access_urls(talk):
    """Also of buffers that are soft-deleted or expired, until they are removed."""
    buffers.make(talk)
    for query, letters in (
        ("", "r"),
        ("&writeable=true", "cr"),
        ("&writeable=FALSE&preferTcp=true&fromDocker=true", "r"),
    ):
        talk.hold(access(query) + URI, socket=talk.path, sp=letters)
    talk.hold(
        f"""
        > DELETE /buffers/[[id]]?api-version=1.0&ttl=1
        {buffers.shown(',"isSoftDeleted":true,"expiresAt":"[[:time]]"', etag=False)}
        {access("&writeable=true")}
        {URI}
        """,
        sp="cr",
    )


@pytest.mark.parametrize("ttl", ["0:00:30", "00:00:30", "1:00", "0.01:00:00", "%200:30%20", "0:0:59.999"])
def test_how_long_an_access_url_may_last(talk, ttl):
    buffers.make(talk)
    talk.hold(access(f"&ttl={ttl}") + URI, socket=talk.path, sp="r")


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("&ttl=0", buffers.invalid("Access TTL must be at least 30 seconds.")),
        ("&ttl=0:00:29.999", buffers.invalid("Access TTL must be at least 30 seconds.")),
        ("&ttl=1:00:01", buffers.invalid("Access TTL must be less than or equal to 01:00:00.")),
        ("&ttl=5", buffers.invalid("Access TTL must be less than or equal to 01:00:00.")),
        ("&writeable=1", buffers.bad('Failed to bind parameter "bool writeable" from "1".')),
        ("&preferTcp=yes", buffers.bad('Failed to bind parameter "bool preferTcp" from "yes".')),
        ("&fromDocker=", buffers.bad('Failed to bind parameter "bool fromDocker" from "".')),
        *((f"&ttl={ttl}", buffers.bad(BAD_TTL)) for ttl in TTLS),
    ],
)
def test_access_that_is_refused(talk, query, answer):
    buffers.make(talk)
    talk.hold(access(query) + answer)


@pytest.mark.parametrize("buffer_id", [ID, "a-b", "run-temp-x", "%20", "a.b"])
def test_access_to_nobodys_id(talk, buffer_id):
    """Also of one with a dash in it, for which the original has an empty answer (13, item 5)."""
    talk.hold(access("", buffer_id) + GONE)


def test_access_to_ephemeral_buffers(talk):
    talk.hold(f"""
        {access("", "temp-abc")}
        < 201 Created
        < {JSON}
        <
        < {{"uri":"temporary"}}
        {access("", "run-7-temp-abc")}
        {GONE}
    """)
