"""The list of mutations names what is still there; `mutations.py` runs the tests that must fail."""

from __future__ import annotations

import ast

import mutations
import pytest


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda one: one.name)
def test_a_mutation_changes_the_code_that_it_names(mutation):
    source = (mutations.ROOT / "influence_store" / mutation.file).read_text()
    changed = mutation.applied(source)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda one: one.name)
def test_the_tests_that_must_fail_are_there(mutation):
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert f"def {name}" in (mutations.ROOT / file).read_text()
