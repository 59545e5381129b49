"""`$(VAR)` by Kubernetes' rules, against a literal reading of those rules."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest

from tygerd.engines import expansion

KNOWN = {"A": "one", "B": "$(A)", "MY-IN_PIPE": "/p", "": "empty"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "one"),
        ("x$(A)y$(A)", "xoney" + "one"),
        ("$(B)", "$(A)"),
        ("$(MY-IN_PIPE)", "/p"),
        ("$(C)", "$(C)"),
        ("$(cat /x | wc)", "$(cat /x | wc)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$$$$(A)", "$$(A)"),
        ("$$", "$"),
        ("$", "$"),
        ("a$", "a$"),
        ("$A ${A} $1", "$A ${A} $1"),
        ("$(A", "$(A"),
        ("$(A$$", "$(A$"),
        ("$(a $(A))", "$(a $(A))"),
        ("$()", "empty"),
        ("", ""),
    ],
)
def test_expansion(text, expanded):
    assert expansion.expand(text, KNOWN) == expanded


def kubernetes(text: str, known: dict[str, str]) -> str:
    """The rules, character by character."""
    out = ""
    while text:
        if text.startswith("$$"):
            out, text = out + "$", text[2:]
        elif text.startswith("$(") and ")" in text:
            name, _, text = text[2:].partition(")")
            out += known.get(name, f"$({name})")
        else:
            out, text = out + text[0], text[1:]
    return out


@hypothesis.given(st.text(alphabet="$()AB x", max_size=30))
def test_any_text(text):
    assert expansion.expand(text, KNOWN) == kubernetes(text, KNOWN)


@hypothesis.given(st.text())
def test_text_without_dollars_stays(text):
    hypothesis.assume("$" not in text)
    assert expansion.expand(text, KNOWN) == text


def test_values_see_what_stands_before_them():
    entries = {"X": "$(Y)", "Y": "1", "Z": "$(Y)$(X)$(IN_PIPE)"}
    expanded = expansion.expand_environment(entries, {"IN_PIPE": "/p"})
    assert expanded == {"X": "$(Y)", "Y": "1", "Z": "1$(Y)/p"}
