"""`tyger transfer list|show|cancel`."""

import pytest

ITEM = {"id": "t", "kind": "write", "buffer": "b", "state": "running", "bytes": 0, "blocks": 0}
SHOWN = '"id": "t",{0}"kind": "write",{0}"buffer": "b",{0}"state": "running",{0}"bytes": 0'


@pytest.mark.parametrize("answer", [[ITEM], {"items": [ITEM]}])
def test_list(tyger, daemon, answer):
    daemon.answers["GET", "/transfers"] = (200, answer)
    indent = "\n      "
    assert tyger("transfer", "list").out == "[\n    {" + indent + SHOWN.format(indent) + "\n    }\n  ]\n"


def test_a_list_that_is_none(tyger, daemon):
    daemon.answers["GET", "/transfers"] = (200, 5)
    assert tyger("transfer", "list").code == 76


@pytest.mark.parametrize(
    ("verb", "method", "path"), [("show", "GET", "/transfers/t"), ("cancel", "POST", "/transfers/t/cancel")]
)
def test_one(tyger, daemon, verb, method, path):
    daemon.answers[method, path] = (200, ITEM)
    assert tyger("transfer", verb, "t").out == "{\n  " + SHOWN.format("\n  ") + "\n}\n"


def test_no_bytes_yet_is_a_number(tyger, daemon):
    daemon.answers["GET", "/transfers/t"] = (200, {"id": "t"})  # the daemon leaves 0 out
    assert '"bytes": 0' in tyger("transfer", "show", "t").out


def test_an_unknown_one(tyger):
    assert tyger("transfer", "show", "nope").code == 66
