"""The facts of a report against what is known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from report_stores import Kept, write
from sqlmodel import select

from influence_store.errors import NotFound, UsageError
from influence_store.jobs.report_map import components
from influence_store.jobs.report_rows import GROUPS, OTHERS, Rows, short_names, spread
from influence_store.jobs.stored_selection import stored_selection
from influence_store.report.facts import GRID, Histogram
from influence_store.report.values import Count, Missing
from influence_store.schema.catalog import Estimator, Run


def test_contents_are_counted_by_source_shape_and_length(known):
    told = known.facts("team@1").contents
    assert told.rows == 24
    assert told.sources == (Count("a.jsonl", 16), Count("b.jsonl", 8))
    assert told.formats == (Count(".jsonl", 24),)
    assert told.shapes == (Count("one question", 24),)
    prompt, response = told.lengths
    # Prompts have 10 to 33 characters, one each: 6 below 16, 16 below 32, 2 beyond.
    assert (prompt.spread.low, prompt.spread.median, prompt.spread.high) == (10, 21.5, 33)
    assert prompt.histogram == Histogram((0, 1, 2, 4, 8, 16, 32, 64), (0, 0, 0, 0, 6, 16, 2))
    assert response.spread.mean == 10
    assert response.histogram.counts == (0, 0, 0, 12, 0, 12)


def test_history_says_where_every_row_of_every_version_went(known):
    first, second = known.facts("team").contents.versions
    assert (first.number, first.tags, first.rows, first.new) == (1, ("before",), 24, 24)
    assert (first.duplicates, first.rejected, first.removed, first.how) == (1, 1, 0, "")
    assert (second.rows, second.new, second.kept, second.removed) == (26, 4, 22, 2)
    assert second.how == "named in gone.jsonl"
    assert second.created_at > first.created_at


def test_a_report_on_a_version_does_not_know_what_came_after(known):
    assert [one.number for one in known.facts("team@1").contents.versions] == [1]


def test_influence_is_spread_by_source_and_nulls_are_counted(known):
    first, second = known.facts("team@1").influence.columns
    assert (first.name, first.kind, first.rows, first.null) == ("inf_first", "measured", 20, 0)
    assert first.spread == spread(np.arange(20.0))
    assert first.spread.p25 == 4.75
    assert [one.source for one in first.by_source] == ["a.jsonl", "b.jsonl"]
    assert first.by_source[0].spread == spread(np.arange(16.0))
    assert first.by_source[1].spread.median == 17.5
    assert (second.rows, second.null, second.higher_means) == (19, 1, "harder")


def test_methods_agree_as_far_as_rows_that_have_both_are_ordered_alike(known):
    (told,) = known.facts("team").overlap.agreements
    assert (told.a, told.b, told.rows, told.rank) == ("inf_first", "inf_second", 19, -1.0)
    # Of 19 rows two are the highest tenth; the two orders share none of them.
    assert (told.top, told.of_a_guess) == (0.0, 2 / 19)


def test_examples_are_the_ends_and_the_middle_of_the_column(known):
    told = known.facts("team").examples
    assert told.column == "inf_first"
    high, middle, low = told.groups
    assert [one.value for one in high.examples] == [19, 18, 17, 16, 15]
    assert [one.value for one in middle.examples] == [12, 11, 10, 9, 8]
    assert [one.value for one in low.examples] == [4, 3, 2, 1, 0]
    assert high.examples[0].prompt == "19".ljust(29, "?")
    assert high.examples[0].source == "b.jsonl"
    assert {one.rank for one in high.examples} == {None}


def test_long_texts_are_cut_and_say_how_much_is_missing(whole):
    told = whole.facts("pool", by="inf_ifd").examples
    cut = [one for group in told.groups for one in group.examples if one.prompt_more]
    every = [one for group in told.groups for one in group.examples]
    assert all(len(one.prompt) == 600 for one in cut)
    assert all(len(one.prompt) <= 600 for one in every)


def test_a_column_that_is_not_there_is_named_with_those_that_are(known):
    assert known.facts("team", by="inf_second").examples.higher_means == "harder"
    with pytest.raises(NotFound, match=r"inf_frist.*inf_first"):
        known.facts("team", by="inf_frist")


def test_sections_without_values_say_what_brings_them(known):
    told = known.facts("team")
    missing = {name: one for name, one in vars(told).items() if isinstance(one, Missing)}
    assert set(missing) == {"accuracy", "selection", "map"}
    assert missing["map"].command == "influence-store embed team@2 --embedder EMBEDDER"
    assert missing["selection"].command == "influence-store select team@2 --budget 10%"
    near = told.contents.near_duplicates
    assert near.command == "influence-store duplicates team@2"


def test_cost_is_what_the_runs_wrote_down(whole):
    told = whole.facts("pool").cost
    store = whole.open()
    with store.database.read() as session:
        runs = session.exec(select(Run).where(Run.verb == "label")).all()
    store.database.close()
    spent = {one.verb: one for one in told.spent}
    assert list(spent)[:3] == ["ingest", "embed", "label"]
    assert spent["label"].runs == len(runs) == 2
    assert spent["label"].llm_passes == sum(run.cost["llm_passes"] for run in runs) > 700
    assert spent["label"].llm_tokens == sum(run.cost["llm_tokens"] for run in runs)
    assert spent["embed"].embeddings == 48
    assert spent["fill"].fills == 48
    pairs, rows = told.everything
    asked = next(run.result for run in runs if run.result.get("method") == "delift")
    assert (pairs.unit, pairs.cells) == ("pairs", 48 * 47)
    assert pairs.labelled == asked["scored"]
    assert pairs.seconds_per_cell == pytest.approx(asked["seconds"] / asked["scored"])
    assert pairs.seconds == pytest.approx(pairs.seconds_per_cell * 48 * 47)
    assert (rows.method, rows.unit, rows.cells, rows.labelled) == ("ifd", "rows", 48, 48)


def test_accuracy_is_the_stored_card(whole):
    (told,) = whole.facts("pool").accuracy
    store = whole.open()
    with store.database.read() as session:
        row = session.exec(select(Estimator)).one()
    store.database.close()
    figures = row.card["figures"]["Q4"]
    assert {one.name for one in told.rivals} == set(figures)
    assert {"cosine", "mean", "row+column effects"} <= set(figures)
    for one in told.rivals:
        assert one.rank == figures[one.name]["spearman_per_target"]
        assert one.gain == figures[one.name]["selection"][0]["gain"]
    ranks = [one.rank for one in told.rivals]
    assert ranks == sorted(ranks, reverse=True)
    own = next(one for one in told.rivals if one.name == told.network)
    assert vars(own.interval) == row.card["spearman"]
    assert told.verdict == row.verdict
    assert {one.over: vars(one.interval) for one in told.differences} == {
        "cosine": row.card["over_cosine"], "row+column effects": row.card["over_additive"]
    }  # fmt: skip


def test_the_selection_stands_beside_its_stored_rivals(whole):
    told = whole.facts("pool").selection
    store = whole.open()
    stored = stored_selection(store, told.id)
    store.database.close()
    baselines = stored.row.facts["baselines"]
    assert (told.picks, told.rows, told.budget) == (12, 48, "12")
    assert told.value == baselines["value"]
    assert told.random.mean == baselines["random"]["mean"]
    assert told.random.draws == 20
    assert {one.name: one.value for one in told.references} == {
        name: one["value"] for name, one in baselines["references"].items()
    }
    assert {"length-matched random", "top by mean", "k-center"} <= {
        one.name for one in told.references
    }
    assert [one.picks for one in told.curve] == [*range(1, 13)]
    assert [one.value for one in told.curve] == pytest.approx(np.cumsum(stored.gains))
    assert told.curve[-1].share == 1


def test_a_selector_without_gains_is_judged_by_coverage_or_not_at_all(known, backend, tmp_path):
    copy = Kept(str(backend.copy(known.uri, None, tmp_path / "copy")[0]))
    copy("select", "team", "--budget", "5", "--objective", "top", "--by", "inf_first")
    bare = copy.facts("team").selection
    assert (bare.picks, bare.value, bare.random, bare.curve, bare.knee) == (5, None, None, (), None)
    copy("embed", "team", "--embedder", "hashing:16")
    copy("select", "team", "--budget", "6", "--objective", "top", "--by", "inf_first")
    told = copy.facts("team").selection
    assert (told.picks, told.measure, told.curve) == (6, "coverage by cosine", ())
    up = told.value > told.random.mean
    assert all((one.way is not None) == up for one in told.references)
    ranks = {one.value: one.rank for g in copy.facts("team").examples.groups for one in g.examples}
    assert [ranks[value] for value in (19, 18, 17, 16, 15)] == [1, 2, 3, 4, 5]


def test_quotas_name_files_as_the_rest_of_the_report_does(whole):
    told = whole.facts("pool").selection
    assert told.quotas == ("file:<b onclick=alert(1)>.jsonl=..9",)
    groups = {one.name: one.picked for one in told.groups}
    assert groups["<b onclick=alert(1)>.jsonl"] <= 9
    assert sum(groups.values()) == 12


def test_an_unknown_selection_is_not_found(whole, known):
    mine = whole.facts("pool").selection.id
    with pytest.raises(NotFound, match=mine[:6]):
        known.facts("team", selection=mine)


def test_a_selection_of_another_dataset_of_the_store_is_refused(whole, tmp_path, write_other):
    mine = whole.facts("pool").selection.id
    kept = write_other(whole, tmp_path)
    with pytest.raises(UsageError, match="chose from pool@1, not from other@1"):
        kept.facts("other", selection=mine)


@pytest.fixture
def write_other(backend):
    """A copy of a store with one more dataset."""

    def written(kept, folder):
        copy = Kept(str(backend.copy(kept.uri, None, folder / "copy")[0]))
        copy("ingest", write(folder / "other.jsonl", [("a", "b")]), "--dataset", "other")
        return copy

    return written


def test_the_map_shows_all_rows_by_their_principal_components(whole):
    told = whole.facts("pool").map
    assert (told.rows, told.points, told.embedder) == (48, 48, "hashing-32")
    assert max(max(told.x), max(told.y)) == GRID
    assert min(told.x) == min(told.y) == 0
    assert sum(told.selected) == 12
    assert sum(one.points for one in told.sources) == 48
    assert sum(one.selected for one in told.sources) == 12
    assert set(told.tenth) <= set(range(11))


def test_a_map_of_fewer_points_says_so_and_holds_the_selected_first(whole):
    told = whole.facts("pool", points=15, seed=3).map
    assert (told.rows, told.points, told.seed) == (48, 15, 3)
    assert sum(told.selected) == 12
    assert whole.facts("pool", points=15, seed=3).map == told
    assert whole.facts("pool", points=15, seed=4).map != told
    assert sum(whole.facts("pool", points=5).map.selected) == 5


def test_components_are_those_of_a_singular_value_decomposition():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(60, 5)) * [9, 4, 1, 1, 1]).astype(np.float32)
    places, shares = components(vectors)
    u, size, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    expected = u[:, :2] * size[:2]
    np.testing.assert_allclose(np.abs(places), np.abs(expected), atol=1e-3)
    np.testing.assert_allclose(shares, size[:2] ** 2 / (size**2).sum(), atol=1e-5)


@pytest.mark.parametrize("vectors", [np.ones((4, 3)), np.ones((1, 3)), np.arange(4.0)[:, None]])
def test_embeddings_without_two_directions_still_have_a_place(vectors):
    places, shares = components(vectors.astype(np.float32))
    assert places.shape == (len(vectors), 2)
    assert np.isfinite(places).all()
    assert all(0 <= one <= 1 + 1e-9 for one in shares)


def test_files_are_named_with_the_folders_that_set_them_apart():
    assert short_names(["/home/me/x/a.jsonl", "b.jsonl"]) == {
        "/home/me/x/a.jsonl": "a.jsonl", "b.jsonl": "b.jsonl"
    }  # fmt: skip
    assert short_names(["/x/a", "/y/a", "/y/b"]) == {"/x/a": "x/a", "/y/a": "y/a", "/y/b": "b"}
    # Of two with one name the one without a folder has no other.
    assert short_names(["a", "/x/a"]) == {"a": "a", "/x/a": "x/a"}
    # A sign that ingest has made visible is no folder.
    assert short_names(["/x/two\\u202e"]) == {"/x/two\\u202e": "two\\u202e"}


def test_many_sources_are_told_as_the_largest_and_the_others(known):
    store = known.open()
    version = store.version("team@1")
    store.database.close()
    names = tuple(f"{k // 2:02d}" if k < 4 else f"{k:02d}" for k in range(24))
    groups = list(Rows(version, version.sids, names).groups())
    assert [name for name, _ in groups][:2] == ["00", "01"]
    assert len(groups) == GROUPS + 1
    assert groups[-1][0] == OTHERS
    assert sum(int(rows.sum()) for _, rows in groups) == 24
