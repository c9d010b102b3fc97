"""`explain` on a small store: every number against brute force over the whole kernel."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pyroaring import BitMap

from influence_store.errors import NotFound, UsageError
from influence_store.jobs.cover import Served, read_cover
from influence_store.jobs.evidence import columns_of
from influence_store.jobs.explain import explain
from influence_store.jobs.kernels import choose_kernel
from influence_store.jobs.stored_selection import StoredSelection, stored_selection
from influence_store.schema.catalog import Selection
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.views import ArrayView, SelfCovered
from influence_store.store.store import Store
from influence_store.store.versions import Version

ROWS, BUDGET = 60, 12


@pytest.fixture(scope="module")
def pool(tmp_path_factory, open_cli, write_rows):
    """60 rows, the last four of which repeat the first four but for a line break."""
    base = tmp_path_factory.mktemp("explain")
    file = write_rows(base / "pool.jsonl", range(ROWS - 4))
    with file.open("a") as out:
        for line in file.read_text().splitlines()[:4]:
            row = json.loads(line)
            out.write(json.dumps({**row, "output": row["output"] + "\n"}) + "\n")
    run = open_cli(base / "store")
    run("init")
    run("ingest", str(file), "--dataset", "pool")
    run("embed", "pool", "--embedder", "hashing:32")
    return run


@pytest.fixture(scope="module")
def selection(pool):
    arguments = ("select", "pool", "--budget", str(BUDGET), "--kernel", "cosine")
    return pool.json(*arguments)["id"]


@pytest.fixture(scope="module")
def truth(pool, selection):
    """S, the picks as positions, and the hex id of each position."""
    store = Store.open(pool.root, "test")
    stored = stored_selection(store, selection)
    kernel = choose_kernel(store, [stored.version], "cosine", accept_weak=False)
    everyone = np.arange(ROWS)
    sids = stored.version.sids
    S = kernel.view(sids, sids).block(everyone, everyone).astype(np.float64)
    ids = store.sample_ids()
    names = dict(zip(ids["sid"], (one.hex() for one in ids["sample_id"]), strict=True))
    items = np.searchsorted(sids, stored.sids)
    yield store, S, items, [names[sid] for sid in sids.tolist()]
    store.database.close()


def test_a_pick_is_told_its_place_its_worth_and_what_would_be_lost(selection, truth):
    store, S, items, ids = truth
    f = FacilityLocation(ArrayView(S), float(S.min()))
    report = explain(store, selection, [ids[j] for j in items], top=4)
    whole = f.value(items)
    for rank, (j, told) in enumerate(zip(items, report.samples, strict=True), start=1):
        gain = f.value(items[:rank]) - f.value(items[: rank - 1])
        assert (told.chosen, told.sample.rank) == (True, rank)
        assert told.gain == pytest.approx(gain, abs=1e-5)
        assert told.share == pytest.approx(gain / whole, abs=1e-5)
        assert told.lost == pytest.approx(whole - f.value(items[items != j]), abs=1e-5)
        mine = [i for i in range(ROWS) if items[np.argmax(S[i, items])] == j]
        assert told.n_served == len(mine)
        best = sorted(mine, key=lambda i: -S[i, j])[:4]
        assert [one.value for one in told.served] == pytest.approx(S[best, j], abs=1e-5)
        assert {one.sample.sample_id for one in told.served} <= {ids[i] for i in mine}
        rest = np.sort(np.delete(S[j], items))[::-1][:4]
        assert [one.value for one in told.displaced] == pytest.approx(rest, abs=1e-5)
        assert all(one.sample.rank is None for one in told.displaced)


def test_a_rejected_sample_is_told_what_it_would_add_and_who_holds_its_ground(selection, truth):
    store, S, items, ids = truth
    f = FacilityLocation(ArrayView(S), float(S.min()))
    others = np.setdiff1d(np.arange(ROWS), items)
    report = explain(store, selection, [ids[j] for j in others], top=9)
    held = S[:, items].max(axis=1)
    last = f.value(items) - f.value(items[:-1])
    for j, told in zip(others, report.samples, strict=True):
        gain = f.value(np.append(items, j)) - f.value(items)
        assert (told.chosen, told.sample.rank) == (False, None)
        assert told.gain == pytest.approx(gain, abs=1e-5)
        assert told.last_gain == pytest.approx(last, abs=1e-5)
        assert told.n_raised == int((S[:, j] > held + 1e-5).sum())
        ground = np.argsort(-S[:, j], kind="stable")[: round(ROWS / BUDGET)]
        holders = items[np.argmax(S[np.ix_(ground, items)], axis=1)]
        assert {one.sample.sample_id: one.n_targets for one in told.ahead} == {
            ids[k]: int((holders == k).sum()) for k in holders
        }
        assert sum(one.lead * one.n_targets for one in told.ahead) == pytest.approx(
            (held[ground] - S[ground, j]).sum(), abs=1e-4
        )
        assert told.twins[0].value == pytest.approx(S[j, items].max(), abs=1e-5)
        assert told.twins[0].sample.rank is not None
        assert told.expected_rank is None or BUDGET < told.expected_rank <= ROWS


def test_the_repetition_of_a_pick_is_its_twin(selection, truth):
    store, _, items, ids = truth
    twins = [(k, ROWS - 4 + k) for k in range(4)]
    asked = [pair for pair in twins if len(set(pair) & set(items.tolist())) == 1]
    assert asked, "none of the repeated rows was chosen"
    for one, other in asked:
        inside, outside = (one, other) if one in items else (other, one)
        told = explain(store, selection, [ids[outside], ids[inside]]).samples
        assert told[0].reason == "twin"
        assert ids[inside][:12] in told[0].because
        assert told[0].gain == 0
        assert told[1].displaced[0].sample.sample_id == ids[outside]
        assert told[1].displaced[0].value == pytest.approx(1, abs=1e-6)


def test_the_reasons_fit_what_is_known(selection, truth):
    store, _, _, ids = truth
    report = explain(store, selection, ids)
    for told in report.samples:
        if told.chosen:
            continue
        best = told.twins[0].value
        expected = "twin" if best >= 0.95 else "below" if told.n_raised else "dominated"
        assert told.reason == expected


def test_the_command_says_the_same_to_people_and_to_programs(pool, selection, truth):
    _, _, items, ids = truth
    outside = next(k for k in range(ROWS) if k not in items)
    asked = [ids[items[0]][:10], ids[outside][:10].upper()]
    told = pool.json("explain", selection[:6], *asked)
    assert [one["chosen"] for one in told["samples"]] == [True, False]
    text = pool("explain", selection[:6], *asked)
    assert f"IN   {ids[items[0]][:12]}  rank 1" in text
    assert f"OUT  {ids[outside][:12]}" in text
    assert told["samples"][1]["because"] in text


def test_a_sample_of_another_dataset_was_not_there_to_be_chosen(
    pool, selection, tmp_path, write_rows
):
    pool("ingest", str(write_rows(tmp_path / "more.jsonl", [900])), "--dataset", "more")
    other = pool.json("query", "select sample_id from more")[0]["sample_id"]
    told = pool.json("explain", selection, other)["samples"][0]
    assert told["reason"] == "absent"
    assert told["twins"] == []


def test_unknown_and_ambiguous_names_are_refused(pool, selection):
    with pytest.raises(NotFound, match="no selection named"):
        pool("explain", "zzz", "00")
    with pytest.raises(NotFound, match="no sample id begins with 'zz'"):
        pool("explain", selection, "zz")
    with pytest.raises(UsageError, match="give more digits"):
        pool("explain", selection, *"0123456789abcdef")


def test_a_selector_without_a_kernel_is_explained_by_twins(pool):
    told = pool.json("select", "pool", "--budget", "5", "--objective", "longest")
    rows = pool.json("query", "select sample_id from pool")
    report = pool.json("explain", told["id"], *[row["sample_id"] for row in rows])
    chosen = [one for one in report["samples"] if one["chosen"]]
    assert len(chosen) == 5
    assert all(one["share"] is None and one["lost"] is None for one in chosen)
    rest = {one["reason"] for one in report["samples"] if not one["chosen"]}
    assert rest <= {"twin", "unranked"}


def test_with_a_learned_kernel_a_sample_is_no_evidence_for_itself(stages, tmp_path):
    run = stages.copy_after("select", tmp_path / "store")
    found = run.json("query", "select id, kernel from selections")[0]
    assert found["kernel"] != "cosine"
    store = Store.open(run.root, "test")
    stored = stored_selection(store, found["id"])
    sids = stored.version.sids
    kernel = choose_kernel(store, [stored.version], found["kernel"], accept_weak=True)
    everyone = np.arange(len(sids))
    whole = SelfCovered(ArrayView(kernel.view(sids, sids).block(everyone, everyone)))
    S = whole.block(everyone, everyone)
    f = FacilityLocation(whole, float(S.min()))
    items = np.searchsorted(sids, stored.sids)
    others = np.setdiff1d(everyone, items)
    ids = store.sample_ids()
    names = dict(zip(ids["sid"], (one.hex() for one in ids["sample_id"]), strict=True))
    report = explain(store, found["id"], [names[sid] for sid in sids[others].tolist()])
    scale = float(np.abs(S).max())
    for j, told in zip(others, report.samples, strict=True):
        gain = f.value(np.append(items, j)) - f.value(items)
        assert told.gain == pytest.approx(gain, abs=1e-4 * scale)
    store.database.close()


class Matrix:
    """A kernel whose sids are the places of a matrix, own pairs above all others."""

    is_cosine = False

    def __init__(self, n):
        self.S = np.random.default_rng(1).random((n, n)).astype(np.float32) + 5 * np.eye(n)

    def view(self, targets, sources):
        return ArrayView(self.S[np.ix_(targets, sources)])


@pytest.mark.parametrize("objective", ["facility-location", "flqmi"])
def test_an_own_pair_is_the_best_other_value_unless_targets_are_asked_for(objective):
    kernel, everyone, asked, targets = (
        Matrix(9),
        np.arange(9),
        np.array([7, 2]),
        np.array([1, 2, 7]),
    )
    version = Version(1, 1, "pool", 1, BitMap(everyone))
    row = Selection(id="x", objective=objective)
    stored = StoredSelection(row, version, np.array([0]), np.array([1.0]))
    served = Served(targets, None, np.zeros(3), None)
    found = columns_of(kernel, served, stored, asked, np.zeros((2, 9), np.float32))
    plain = objective == "flqmi"
    whole = kernel.S if plain else SelfCovered(ArrayView(kernel.S)).block(everyone, everyone)
    np.testing.assert_allclose(found, whole[np.ix_(targets, asked)].T, rtol=1e-6)


def test_limits_are_the_reason_only_where_they_kept_a_sample_out(open_cli, tmp_path, write_rows):
    file = write_rows(tmp_path / "rows.jsonl", range(40))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows += [{**rows[k], "output": rows[k]["output"] + "\n"} for k in range(4)]
    told = [{**row, "source": "web" if k % 2 else "books"} for k, row in enumerate(rows)]
    file.write_text("".join(json.dumps(row) + "\n" for row in told))
    run = open_cli(tmp_path / "store")
    run("init")
    run("ingest", str(file), "--dataset", "pool")
    run("embed", "pool", "--embedder", "hashing:32")
    limits = ("--duplicates", "keep-first", "--quota", "source:web=..2")
    made = run.json("select", "pool", "--budget", "10", "--kernel", "cosine", *limits)["id"]
    ids = [row["sample_id"] for row in run.json("query", "select sample_id from pool")]
    report = run.json("explain", made, *ids)["samples"]
    for k, one in enumerate(report):
        if k >= 40:
            assert (one["reason"], one["because"]) == ("barred", "left out as a near duplicate")
        elif not one["chosen"]:
            above = one["gain"] > one["last_gain"] * (1 + 1e-6)
            assert (one["reason"] == "quota") == above
            assert k % 2 or not above
    full = [one for one in report if not one["chosen"] and one["reason"] == "quota"]
    assert full
    assert "'web' has 2 of at most 2" in full[0]["because"]


def test_where_some_targets_stand_for_all_numbers_are_scaled(open_cli, tmp_path, write_rows):
    run = open_cli(tmp_path / "store")
    run("init")
    run("ingest", str(write_rows(tmp_path / "rows.jsonl", range(600))), "--dataset", "pool")
    run("embed", "pool", "--embedder", "hashing:16")
    way = ("--path", "representatives", "--memory", "1M")
    made = run.json("select", "pool", "--budget", "8", "--kernel", "cosine", *way)["id"]
    store = Store.open(run.root, "test")
    stored = stored_selection(store, made)
    served = read_cover(store, stored.row)
    assert len(served.targets) == 500
    kernel = choose_kernel(store, [stored.version], "cosine", accept_weak=False)
    S = kernel.view(served.targets, stored.version.sids).block(np.arange(500), np.arange(600))
    items = np.searchsorted(stored.version.sids, stored.sids)
    j = int(np.setdiff1d(np.arange(600), items)[0])
    ids = dict(store.sample_ids().select("sid", "sample_id").iter_rows())
    report = explain(store, made, [ids[stored.version.sids[k]].hex() for k in (items[0], j)])
    assert report.notes == ("500 targets were looked at; each stands for 1.2 of 600",)
    f = FacilityLocation(ArrayView(S), float(S.min()))
    lost = f.value(items) - f.value(items[1:])
    gain = f.value(np.append(items, j)) - f.value(items)
    assert report.samples[0].lost == pytest.approx(1.2 * lost, abs=1e-4)
    assert report.samples[1].gain == pytest.approx(1.2 * gain, abs=1e-4)
    store.database.close()
