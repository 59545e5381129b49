"""Lists of codespecs: pages, prefixes, tokens; contract rest-api.md section 5.6."""

import pytest

from tests.support import codespecexchanges as codespecs
from tests.support.answers import ask, invalid

V = codespecs.V


def test_pages(talk):
    for name in ("list.b", "list.a", "list.b-c", "list_z", "list.b"):
        spec = codespecs.job(sockets=[{"port": 1, "inputBuffer": "x"}], buffers={"inputs": ["x"]})
        talk.hold(codespecs.put(name, spec) + codespecs.PUT)
    # The newest version of each name, in the order of their bytes.
    link = f"/codespecs?prefix=list&limit=2&{V}&_ct=[[token:token]]"
    talk.hold(codespecs.get("?prefix=list&limit=2") + codespecs.listed([("list.a", 1), ("list.b", 2)], link))
    # A new version meanwhile disturbs nothing.
    talk.hold(
        codespecs.put("list.b", codespecs.job(args=["new"]))
        + codespecs.made("list.b", 3, codespecs.job(args=["new"]))
    )
    talk.hold(ask("GET", link.replace(":token", "")) + codespecs.listed([("list.b-c", 1), ("list_z", 1)]))
    every = [("list.a", 1), ("list.b", 3), ("list.b-c", 1), ("list_z", 1)]
    talk.hold(codespecs.get("?prefix=list") + codespecs.listed(every))
    talk.hold(codespecs.get("?prefix=list&limit=4") + codespecs.listed(every))
    talk.hold(codespecs.get("?prefix=list&limit=1001") + codespecs.listed(every))
    talk.hold(codespecs.get("?prefix=list&limit=0") + codespecs.listed([]))


def test_the_token_of_the_contract(talk):
    """`["klamath"]`, as the contract has it: either server continues the other's list."""
    for name in ("klamath", "klamath-2"):
        talk.hold(codespecs.put(name, codespecs.job()) + codespecs.made(name, 1, codespecs.job()))
    link = f"/codespecs?prefix=klamath&limit=1&{V}&_ct=mctgs5dbpioze4bnmw"
    talk.hold(codespecs.get("?prefix=klamath&limit=1") + codespecs.listed([("klamath", 1)], link))
    talk.hold(ask("GET", link) + codespecs.listed([("klamath-2", 1)]))


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("3d_", ["3d_a", "3dxa"]),
        ("3d%25a", ["3d_a", "3dxa"]),
        ("%25dxa", ["3dxa"]),
        ("3d%5C_", ["3d_a"]),
        ("3D", []),
        ("3d_a_", []),
        ("%00", []),
    ],
)
def test_prefixes_are_patterns(talk, prefix, names):
    for name in ("3dxa", "3d_a"):
        talk.hold(codespecs.put(name, codespecs.job()) + codespecs.made(name, 1, codespecs.job()))
    talk.hold(codespecs.get(f"?prefix={prefix}") + codespecs.listed([(name, 1) for name in names]))


@pytest.mark.parametrize(
    "token", ["", "0", "mc5dgqbwgrhdyc3sgohu1pjtge5drcbcgr3dgze", "mctgs5dbpioze4bnm", "yy", "MCTG", "%22"]
)
def test_tokens_that_are_none(talk, token):
    """Made up, cut short, or of another list."""
    talk.hold(codespecs.get(f"?_ct={token}") + invalid("Invalid continuation token."))


def test_limits(talk):
    talk.hold(codespecs.get("?limit=-1") + invalid("Limit must be a non-negative integer."))
    talk.hold(
        codespecs.get(f"?prefix={'q' * 50_000}") + invalid("The prefix is longer than 49999 characters.")
    )
