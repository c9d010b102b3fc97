from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from influence_store.influence.delift import NULL_EXAMPLE, Delift
from influence_store.influence.formulas import mean_logp, rms_miss
from influence_store.influence.prompts import DELIFT_TEMPLATE
from influence_store.influence.scorer import Request, ResponseScorer
from influence_store.schema.sample import Sample

TARGETS = [
    Sample.of("Why?", "Because."),
    Sample.of("Name a colour.", "Green is one, and so is yellow."),
    Sample.of("3 + 4?", "7"),
    Sample.of("Say nothing.", ""),
    Sample.of("A longer question with more words in it?", "ok"),
]
SOURCES = [
    Sample.of("1 + 2?", "3"),
    Sample.of("Who wrote this?", "Somebody who likes short words."),
]
ALL = np.arange(len(TARGETS))


@pytest.fixture(scope="module")
def delift(tiny):
    return Delift(tiny)


@pytest.fixture(scope="module")
def state(delift):
    return delift.prepare(TARGETS)


def test_values_are_those_of_the_definition(tiny, delift, state):
    prompter, scorer = delift.base.prompter, ResponseScorer(tiny)
    for source in SOURCES:
        values = delift.score(state, source, ALL)
        for i in (0, 1, 2, 4):
            response = prompter.response(TARGETS[i])
            shown = np.concatenate([prompter.example(source), prompter.query(TARGETS[i])])
            (without,) = scorer.score([Request(prompter.alone(TARGETS[i]), response)])
            (with_j,) = scorer.score([Request(shown, response)])
            assert values["delift-l2"][i] == pytest.approx(
                rms_miss(without.logp) - rms_miss(with_j.logp), abs=1e-5
            )
            assert values["delift-kl"][i] == pytest.approx(
                mean_logp(with_j.logp) - mean_logp(without.logp), abs=2e-5
            )


def test_outputs_are_the_declared_ones_as_float32(delift, state):
    values = delift.score(state, SOURCES[0], ALL[:3])
    assert tuple(values) == delift.spec.outputs
    assert {(value.dtype.name, value.shape) for value in values.values()} == {("float32", (3,))}


def test_prefix_cache_changes_cost_but_no_value(tiny, delift, state):
    plain = Delift(tiny, prefix_cache=False)
    for source in [*SOURCES, NULL_EXAMPLE]:
        ours, theirs = delift.score(state, source, ALL), plain.score(state, source, ALL)
        for output in delift.spec.outputs:
            np.testing.assert_allclose(ours[output], theirs[output], atol=1e-5)
    assert plain.facts == delift.facts


def shared_head(rows):
    """How many leading tokens all rows share, at most all but the last of the shortest."""
    longest = min(map(len, rows)) - 1
    differs = [t for t in range(longest) if len({int(row[t]) for row in rows}) > 1]
    return min([longest, *differs])


def test_tokens_of_a_seed_are_every_prefix_once_plus_every_suffix_per_source(tiny):
    """Base passes + Σ_j prefix_j + m · Σ_i suffix_i, a suffix without its last scored token."""
    delift = Delift(tiny)
    prompter = delift.base.prompter
    targets = [TARGETS[i] for i in (0, 1, 2, 4)]
    queries = [prompter.query(target) for target in targets]
    responses = [prompter.response(target) for target in targets]
    h = shared_head(queries)
    assert h == len("Query:\n")
    base = sum(
        len(prompter.alone(target)) + len(response) - 1
        for target, response in zip(targets, responses, strict=True)
    )
    prefixes = sum(len(prompter.example(source)) + h for source in SOURCES)
    suffixes = sum(len(q) - h + len(r) - 1 for q, r in zip(queries, responses, strict=True))
    state = delift.prepare(targets)
    for source in SOURCES:
        delift.score(state, source, np.arange(4))
    assert delift.ledger.llm_tokens == base + prefixes + len(SOURCES) * suffixes
    assert delift.ledger.llm_passes == 4 + len(SOURCES) * (1 + 4)
    assert delift.count_tokens(SOURCES, targets) == prefixes + len(SOURCES) * suffixes


@pytest.mark.parametrize("prefix_cache", [True, False])
def test_tokens_counted_beforehand_are_those_spent(tiny, prefix_cache):
    """With an empty response, a source that fits only some targets, and one that fits none."""
    delift = Delift(tiny, prefix_cache=prefix_cache, max_response_tokens=9)
    sources = [*SOURCES, Sample.of("x" * 310, "y"), Sample.of("x" * 600, "y")]
    state = delift.prepare(TARGETS)
    before = delift.ledger.llm_tokens
    finite = [np.isfinite(delift.score(state, one, ALL)["delift-l2"]).sum() for one in sources]
    assert finite[0] == finite[1] == 4
    assert 0 < finite[2] < 4
    assert finite[3] == 0
    assert delift.count_tokens(sources, TARGETS) == delift.ledger.llm_tokens - before


def test_what_all_queries_open_with_is_read_once_per_source(tiny):
    system = "You answer in as few words as you can."
    targets = [Sample.of(t.prompt, t.response, system=system) for t in TARGETS[:3]]
    cached, plain = Delift(tiny), Delift(tiny, prefix_cache=False)
    state = cached.prepare(targets)
    assert len(state.opening) == len("Query:\n" + system + "\n\n")
    ours = cached.score(state, SOURCES[0], ALL[:3])
    theirs = plain.score(state, SOURCES[0], ALL[:3])
    for output in cached.spec.outputs:
        np.testing.assert_allclose(ours[output], theirs[output], atol=1e-5)


@pytest.mark.parametrize("n_alike", [1, 2])
def test_equal_queries_keep_their_last_token_for_themselves(tiny, n_alike):
    targets = [Sample.of("Why?", "Because."), Sample.of("Why?", "Nobody knows.")][:n_alike]
    cached, plain = Delift(tiny), Delift(tiny, prefix_cache=False)
    state = cached.prepare(targets)
    assert len(state.opening) == len(state.queries[0]) - 1
    np.testing.assert_allclose(
        cached.score(state, SOURCES[0], np.arange(n_alike))["delift-kl"],
        plain.score(state, SOURCES[0], np.arange(n_alike))["delift-kl"],
        atol=2e-5,
    )


def test_ledger_of_the_plain_path_is_prefix_and_suffix_every_time(tiny, state):
    delift = Delift(tiny, prefix_cache=False)
    delift.score(state, SOURCES[1], np.array([0, 2]))
    prefix = len(delift.base.prompter.example(SOURCES[1]))
    suffixes = sum(len(state.queries[i]) + len(state.responses[i]) - 1 for i in (0, 2))
    assert delift.ledger.llm_passes == 2
    assert delift.ledger.llm_tokens == 2 * prefix + suffixes


@pytest.mark.parametrize("prefix_cache", [True, False])
def test_truncated_pair_is_nan_not_zero(tiny, state, prefix_cache):
    delift = Delift(tiny, prefix_cache=prefix_cache)
    room = tiny.max_len - len(delift.base.prompter.example(Sample.of("", "")))
    lengths = [len(state.queries[i]) + len(state.responses[i]) for i in ALL]
    # Fits before target 0, the shortest, to the last token; before target 1 no more.
    source = Sample.of("x" * (room - lengths[0]), "")
    assert lengths[1] > lengths[0]
    values = delift.score(state, source, np.array([0, 1]))
    for output in delift.spec.outputs:
        np.testing.assert_array_equal(np.isnan(values[output]), [False, True])


def test_source_that_leaves_no_room_costs_nothing(tiny, state):
    delift = Delift(tiny)
    values = delift.score(state, Sample.of("x" * 600, "y"), ALL)
    assert np.isnan(values["delift-l2"]).all()
    assert delift.ledger.llm_passes == 0


@pytest.mark.parametrize("prefix_cache", [True, False])
def test_target_with_an_empty_response_is_nan_and_costs_nothing(tiny, state, prefix_cache):
    delift = Delift(tiny, prefix_cache=prefix_cache)
    values = delift.score(state, SOURCES[0], np.array([3]))
    assert np.isnan(values["delift-l2"]).all()
    assert np.isnan(values["delift-kl"]).all()
    assert delift.ledger.llm_passes == 0


def test_target_whose_base_value_is_missing_is_nan_and_costs_nothing(tiny, state):
    delift = Delift(tiny)
    d0 = np.where(ALL == 1, np.nan, state.base.d0)
    partial = delift.prepare_from(TARGETS, replace(state.base, d0=d0))
    values = delift.score(partial, SOURCES[0], np.array([1]))
    assert np.isnan(values["delift-kl"]).all()
    assert delift.ledger.llm_passes == 0


def test_base_rows_from_elsewhere_save_the_base_passes(tiny, state):
    delift = Delift(tiny)
    again = delift.prepare_from(TARGETS, state.base)
    assert delift.ledger.llm_passes == 0
    np.testing.assert_array_equal(
        delift.score(again, SOURCES[0], ALL)["delift-l2"],
        delift.score(state, SOURCES[0], ALL)["delift-l2"],
    )


def test_base_rows_of_other_targets_are_refused(delift, state):
    with pytest.raises(ValueError, match="5 base rows for 2 targets"):
        delift.prepare_from(TARGETS[:2], state.base)


def test_cut_scores_the_head_of_the_response_only(tiny):
    cut = Delift(tiny, max_response_tokens=3)
    other_tail = [Sample.of(t.prompt, t.response[:3] + " and more") for t in TARGETS[:2]]
    one = cut.score(cut.prepare(TARGETS[:2]), SOURCES[0], ALL[:2])
    two = cut.score(cut.prepare(other_tail), SOURCES[0], ALL[:2])
    np.testing.assert_allclose(one["delift-l2"], two["delift-l2"], atol=1e-6)


def test_facts_know_the_model_the_template_and_the_cut(tiny, delift):
    others = [
        Delift(tiny, max_response_tokens=3),
        Delift(tiny, template=replace(DELIFT_TEMPLATE, query="Q: {prompt}\n")),
        Delift(replace(tiny, facts={**tiny.facts, "max_len": 100})),
    ]
    assert all(other.facts != delift.facts for other in others)
    assert Delift(tiny, batch_tokens=7).facts == delift.facts


def test_state_is_numbers_only(state):
    arrays = [*state.queries, *state.responses, state.opening]
    arrays += [getattr(state.base, one.name) for one in fields(state.base)]
    assert all(type(array) is np.ndarray and not array.dtype.hasobject for array in arrays)
