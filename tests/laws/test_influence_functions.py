"""What every influence method of the registry promises, asked of each by itself."""

from __future__ import annotations

from copy import deepcopy
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

from influence_store.influence import METHODS
from influence_store.protocols import InfluenceSpec, Ledger
from influence_store.schema.identity import fingerprint
from influence_store.schema.sample import Sample

NAMES = sorted(METHODS.builtin)
PAIRWISE = [name for name in NAMES if hasattr(METHODS.get(name), "score")]
TARGETS = [
    Sample.of(f"What is {k} times {k}?", f"It is {k * k}{', a long number' * (k % 3)}.")
    for k in range(2, 8)
]
SOURCES = [Sample.of(f"What is {k} plus one?", f"{k + 1}") for k in (3, 50, 999, 12345)]
ALL = np.arange(len(TARGETS))
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module")
def llm(tiny_llm):
    from influence_store.influence.llm import load_llm

    return load_llm(tiny_llm, device="cpu")


@pytest.fixture(params=PAIRWISE)
def method(request, llm):
    return METHODS.get(request.param)(llm)


def matrix(method, state, sources, targets=ALL):
    """(n_outputs, n_targets, n_sources)."""
    columns = [method.score(state, source, targets) for source in sources]
    return np.stack([np.stack([c[o] for c in columns], 1) for o in method.spec.outputs])


@pytest.mark.parametrize("name", NAMES)
def test_spec_says_what_the_method_is(name):
    spec = METHODS.get(name).spec
    assert isinstance(spec, InfluenceSpec)
    assert spec.name == name
    assert len(set(spec.outputs)) == len(spec.outputs) > 0
    assert all(output.startswith(name) for output in spec.outputs)
    assert spec.higher_means in ("helpful", "harder", "neither")
    assert spec.paper.startswith("arXiv:")


def test_there_is_a_pairwise_method_to_ask():
    assert "delift" in PAIRWISE


def test_rows_are_targets_and_columns_are_sources(method):
    values = matrix(method, method.prepare(TARGETS), SOURCES)
    assert values.shape == (len(method.spec.outputs), len(TARGETS), len(SOURCES))
    one = method.score(method.prepare([TARGETS[4]]), SOURCES[1], np.array([0]))
    for k, output in enumerate(method.spec.outputs):
        np.testing.assert_allclose(one[output][0], values[k, 4, 1], **CLOSE)
        assert abs(values[k, 4, 1] - values[k, 1, 3]) > 1e-4


def test_order_of_targets_changes_no_value(method):
    order = np.random.default_rng(0).permutation(len(TARGETS))
    values = matrix(method, method.prepare(TARGETS), SOURCES)
    shuffled = matrix(method, method.prepare([TARGETS[k] for k in order]), SOURCES)
    np.testing.assert_allclose(shuffled, values[:, order], **CLOSE)


def test_positions_may_be_asked_for_in_any_order_and_part(method):
    state = method.prepare(TARGETS)
    values = matrix(method, state, SOURCES)
    some = np.array([5, 0, 3])
    np.testing.assert_allclose(matrix(method, state, SOURCES, some), values[:, some], **CLOSE)


def test_no_positions_give_no_values_and_cost_nothing(method):
    state = method.prepare(TARGETS)
    spent = method.ledger.facts()
    values = method.score(state, SOURCES[0], np.zeros(0, np.int64))
    assert all(values[output].shape == (0,) for output in method.spec.outputs)
    assert method.ledger.facts() == spent


def test_a_source_scored_later_has_the_same_values(method):
    """A killed run goes on with the sources that are left."""
    state = method.prepare(TARGETS)
    together = matrix(method, state, SOURCES)
    resumed = [matrix(method, method.prepare(TARGETS), [source]) for source in reversed(SOURCES)]
    np.testing.assert_array_equal(np.concatenate(resumed[::-1], axis=2), together)


def test_scoring_leaves_the_state_as_it_was(method):
    state = method.prepare(TARGETS)
    copied = deepcopy(state)
    matrix(method, state, SOURCES)
    assert bytes(ForkingPickler.dumps(copied)) == bytes(ForkingPickler.dumps(state))


def test_state_can_be_sent_to_another_process(method):
    state = method.prepare(TARGETS)
    sent = ForkingPickler.loads(ForkingPickler.dumps(state))
    np.testing.assert_array_equal(matrix(method, sent, SOURCES), matrix(method, state, SOURCES))


def test_facts_have_a_fingerprint_that_a_second_object_shares(method, llm):
    assert fingerprint(method.facts) == fingerprint(type(method)(llm).facts)


def test_ledger_belongs_to_the_object_and_counts_up(method, llm):
    assert type(method)(llm).ledger == Ledger()
    state = method.prepare(TARGETS)
    base = method.ledger.llm_tokens
    method.score(state, SOURCES[0], ALL)
    assert 0 < base < method.ledger.llm_tokens
