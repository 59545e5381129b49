"""Exception groups are handled alike by every Python that we support."""

import ast

import pytest

from tests.house import sources


@pytest.mark.parametrize("name", sources.modules())
def test_nothing_is_raised_among_the_handlers_of_a_group(name):
    """Before Python 3.11.4 (gh-103590) what an `except*` raises comes out in a group: raise it behind."""
    for tried in ast.walk(sources.modules()[name].tree):
        if isinstance(tried, ast.TryStar):
            for handler in tried.handlers:
                raised = [node.lineno for node in ast.walk(handler) if isinstance(node, ast.Raise)]
                assert not raised, f"lines {raised}"
