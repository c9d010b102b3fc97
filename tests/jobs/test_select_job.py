"""`select`: every objective, budget and path in one line, the same every time, with proof."""

from __future__ import annotations

import json

import numpy as np
import pytest

from influence_store import cores
from influence_store.errors import NotFound, UsageError
from influence_store.jobs import problem
from influence_store.jobs.allowed import allowed
from influence_store.jobs.choose import Asked, choose
from influence_store.jobs.problem import plan_of, problem_of
from influence_store.jobs.question import question_of
from influence_store.jobs.select import MEMORY_BYTES, solve, stored
from influence_store.jobs.stored_selection import stored_selection
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.functions.flcg import FLCG
from influence_store.selection.functions.flqmi import FLQMI
from influence_store.selection.functions.graph_cut import GraphCut
from influence_store.selection.functions.mixture import Mixture
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import Clipped, CosineView, DenseView, ProductView
from influence_store.store.store import Store
from influence_store.version import __version__

EMBEDDER = "hashing:64"


@pytest.fixture(scope="module")
def made(tmp_path_factory, open_cli, write_rows):
    """A pool of 80 rows, an exam of 20 others of which 3 stand in the pool, and what is past."""
    folder = tmp_path_factory.mktemp("select")
    run = open_cli(folder / "store")
    run("init")
    for name, rows in (("pool", range(80)), ("exam", range(77, 97)), ("past", range(200, 230))):
        run("ingest", str(write_rows(folder / f"{name}.jsonl", rows)), "--dataset", name)
        run("embed", name, "--embedder", EMBEDDER)
    return run


@pytest.fixture
def run(made, tmp_path, open_cli, copy_store):
    """The same store for each test, as a copy."""
    return open_cli(copy_store(made.root, tmp_path / "store"))


def opened(run):
    return Store.open(run.root, __version__)


def vectors(store, name):
    return store.vectors(store.producers("embedding")[0], store.version(name).sids)


def picks(run, selection):
    return stored_selection(opened(run), selection["id"])


def kept(view):
    return DenseView.of(view, 1 << 30)


def test_each_stage_of_delift_is_one_line_and_lazy_greedy_on_its_kernel(run):
    store = opened(run)
    pool, exam, past = (vectors(store, name) for name in ("pool", "exam", "past"))
    own = kept(CosineView(pool, pool))
    stages = {
        (): FacilityLocation(own, lower_bound(own)),
        ("--target", "exam", "--keep-leaks"): FLQMI(kept(Clipped(CosineView(exam, pool)))),
        ("--given", "past"): FLCG(kept(Clipped(CosineView(pool, pool))), CosineView(pool, past)),
    }
    for options, function in stages.items():
        told = run.json("select", "pool", "--budget", "12", *options)
        expected = LazyGreedy().maximize(function, 12)
        found = picks(run, told)
        np.testing.assert_array_equal(found.sids, store.version("pool").sids[expected.items])
        np.testing.assert_allclose(found.gains, expected.gains, atol=80 * 2.0**-21)


@pytest.mark.parametrize(
    "options",
    [
        ["--objective", "graph-cut"],
        ["--objective", "saturated-coverage"],
        ["--objective", "log-determinant"],
        ["--objective", "disparity-sum"],
        ["--objective", "disparity-min"],
        ["--objective", "0.7*facility-location + 0.3*graph-cut"],
        ["--objective", "0.7*flqmi + 0.3*graph-cut", "--target", "exam"],
        ["--objective", "graph-cut", "--set", "lam=0.25"],
        ["--target", "exam", "--objective", "fl1mi"],
        ["--target", "exam", "--objective", "gcmi"],
        ["--target", "exam", "--given", "past"],
        ["--target", "exam=2", "--target", "past"],
        ["--given", "past", "--objective", "gccg"],
    ],
    ids=" ".join,
)
def test_every_objective_is_one_line_with_its_baselines(run, options):
    told = run.json("select", "pool", "--budget", "9", *options)
    assert len(set(picks(run, told).sids.tolist())) == told["items"] == 9
    baselines = told["baselines"]
    assert {"length-matched random", "k-center", "cosine facility location"} <= set(
        baselines["references"]
    )
    assert baselines["random"]["draws"] == 20
    assert told["plan"]["path"] == "memory"


def test_the_same_question_gives_the_same_bits_in_another_copy_and_on_any_cores(
    run, tmp_path, open_cli, copy_store, monkeypatch
):
    found = []
    for threads in (1, 2, 3):
        copy = copy_store(run.root, tmp_path / f"copy{threads}")
        monkeypatch.setattr(cores, "cores", lambda threads=threads: threads)
        other = open_cli(copy)
        told = other.json("select", "pool", "--budget", "30%")
        assert not told["reused"]
        found.append((told["id"], picks(other, told), told["baselines"]))
    for identity, selection, baselines in found[1:]:
        assert identity == found[0][0]
        np.testing.assert_array_equal(selection.sids, found[0][1].sids)
        np.testing.assert_array_equal(selection.gains, found[0][1].gains)
        assert baselines == found[0][2]
    assert other.json("select", "pool", "--budget", "30%")["reused"]


def test_a_stored_selection_can_be_asked_again(run):
    told = run.json("select", "pool", "--budget", "15", "--given", "past", "--seed", "3")
    store = opened(run)
    row = stored(store, told["id"])
    question = question_of(store, row)
    assert question.identity == told["id"]
    chosen, _ = solve(
        store,
        question,
        allowed(store, question),
        problem_of(question, plan_of(question, MEMORY_BYTES), MEMORY_BYTES),
    )
    found = stored_selection(store, told["id"])
    np.testing.assert_array_equal(question.version.sids[chosen.items], found.sids)
    np.testing.assert_array_equal(chosen.gains, found.gains)


def test_exact_paths_agree_and_approximate_ones_come_close(run):
    told = {
        path: run.json("select", "pool", "--budget", "16", "--path", path)
        for path in ("memory", "tiles", "neighbours", "representatives", "partitioned")
    }
    assert len({one["id"] for one in told.values()}) == 5
    exact = picks(run, told["memory"])
    np.testing.assert_array_equal(picks(run, told["tiles"]).sids, exact.sids)
    best = told["memory"]["baselines"]["value"]
    for path in ("neighbours", "representatives", "partitioned"):
        assert told[path]["baselines"]["value"] >= 0.97 * best
    assert told["neighbours"]["answer"]["expected"]["share"] > 0.9
    assert "approximate" in told["neighbours"]["plan"]["told"]


def test_a_neighbour_index_spares_all_pairs_but_those_that_judge(run, monkeypatch):
    """A million rows took 10¹² products to find the smallest cosine, which nothing hung on."""
    told = run.json("select", "pool", "--budget", "16", "--path", "neighbours")
    store, read = opened(run), []
    question = question_of(store, stored(store, told["id"]))
    block = ProductView.block

    def counted(self, rows, cols):
        read.append(len(rows) * len(cols))
        return block(self, rows, cols)

    monkeypatch.setattr(problem, "JUDGED", 8)
    monkeypatch.setattr(ProductView, "block", counted)
    made = problem_of(question, plan_of(question, MEMORY_BYTES), MEMORY_BYTES)
    assert made.judge.view.shape == (8, 80)
    assert sum(read) <= 2 * 8 * 80  # all would be 6,400
    assert made.function.floor == made.judge.floor
    # The index answers as before, and who serves whom is told for all of them.
    chosen, _ = solve(store, question, allowed(store, question), made)
    found = stored_selection(store, told["id"])
    np.testing.assert_array_equal(question.version.sids[chosen.items], found.sids)
    assert made.function.view.shape == (80, 80)


def test_a_selection_in_parts_is_repeated_by_its_receipt(run, tmp_path):
    lock = tmp_path / "selection.lock"
    asked = ("select", "pool", "--budget", "16", "--path", "partitioned", "--parts", "4")
    told = run.json(*asked, "--lock", str(lock))
    assert told["answer"]["partitioned"]["parts"] >= 3
    assert told["answer"]["partitioned"]["merged"]
    assert "bit for bit" in run("verify", "--selection", told["id"])
    assert "bit for bit" in run("verify", "--selection", str(lock))
    other = run.json(*asked[:-1], "8")
    assert other["id"] != told["id"]
    assert run.json(*asked)["reused"]


def test_a_selection_in_parts_knows_what_it_cannot_keep(run):
    parts = ("select", "pool", "--budget", "9", "--path", "partitioned")
    with pytest.raises(UsageError, match="a number of samples only"):
        run(*parts, "--from", run.json("select", "pool", "--budget", "2")["id"])
    with pytest.raises(UsageError, match="81 parts of 80 samples"):
        run(*parts, "--parts", "81")
    with pytest.raises(UsageError, match="--parts belongs to another path"):
        run("select", "pool", "--budget", "9", "--parts", "4")


def test_a_path_that_cannot_serve_is_refused(run):
    with pytest.raises(UsageError, match="its own cosine only"):
        run("select", "pool", "--budget", "9", "--target", "exam", "--path", "neighbours")
    with pytest.raises(UsageError, match="'quantum' is no way to compute"):
        run("select", "pool", "--budget", "9", "--path", "quantum")


def test_leaks_of_the_target_are_left_out_unless_asked_for(run):
    store = opened(run)
    leaked = set(store.version("pool").bits & store.version("exam").bits)
    assert len(leaked) == 3
    told = run.json("select", "pool", "--budget", "40", "--target", "exam")
    assert not leaked & set(picks(run, told).sids.tolist())
    assert told["limits"]["barred"]["leak"] >= 3
    assert told["with_leaks"]["value"] > told["with_leaks"]["without"]
    assert told["with_leaks"]["leaks_picked"] >= 3
    assert any("leak" in note for note in told["notes"])
    loose = run.json("select", "pool", "--budget", "40", "--target", "exam", "--keep-leaks")
    assert leaked <= set(picks(run, loose).sids.tolist())


def test_quotas_are_kept_and_told(run, write_rows, tmp_path):
    run("ingest", str(write_rows(tmp_path / "more.jsonl", range(80, 100))), "--dataset", "pool")
    files = run.json("query", "select distinct file from pool")
    name = next(row["file"] for row in files if row["file"].endswith("more.jsonl"))
    quota, where = ["--quota", f"file:{name}=12..14"], f"file = '{name}'"
    told = run.json("select", "pool", "--budget", "30", *quota)
    assert 12 <= told["answer"]["groups"][name] <= 14
    assert sum(told["answer"]["groups"].values()) == 30
    of_file = {one["sample_id"] for one in run.json("query", f"select * from pool where {where}")}
    sql = f"select sample_id from selection_items where selection = '{told['id']}'"
    chosen = run.json("query", sql)
    assert sum(one["sample_id"] in of_file for one in chosen) == told["answer"]["groups"][name]
    with pytest.raises(UsageError, match="at least 25 samples, and there are 20"):
        run("select", "pool", "--budget", "30", "--quota", f"file:{name}=25..")


def test_the_knee_is_where_auto_stops(run):
    told = run.json("select", "pool", "--budget", "auto")
    whole = run.json("select", "pool", "--budget", "100%")
    order, cut = picks(run, whole), picks(run, told)
    np.testing.assert_array_equal(order.sids[: len(cut.sids)], cut.sids)
    assert told["knee"]["n"] == told["items"] < 80
    assert any("knee" in line for line in told["knee"]["lines"])


def test_an_appended_version_goes_on_from_the_earlier_picks_within_the_stated_bound(
    run, write_rows, tmp_path
):
    first = run.json("select", "pool", "--budget", "12")
    run("ingest", str(write_rows(tmp_path / "more.jsonl", range(80, 110))), "--dataset", "pool")
    warm = run.json("select", "pool", "--budget", "24", "--from", first["id"][:6])
    with pytest.raises(UsageError, match=r"--budget 9 is 9 samples, and 12 picks of .* stay"):
        run("select", "pool", "--budget", "9", "--from", first["id"])
    again = run.json("select", "pool", "--budget", "24")
    np.testing.assert_array_equal(picks(run, warm).sids[:12], picks(run, first).sids)
    certificate = warm["answer"]["certificate"]
    assert certificate["value"] == pytest.approx(warm["baselines"]["value"], rel=1e-6)
    assert certificate["upper"] >= again["baselines"]["value"]
    assert warm["baselines"]["value"] >= certificate["ratio"] * again["baselines"]["value"]
    assert 0.7 < certificate["ratio"] < 1


def test_near_duplicates_are_left_out_by_policy(run, tmp_path):
    row = {
        "instruction": "Name 3 colours, please.",
        "input": "",
        "output": "red, green, blue.",
    }
    copies = [{**row, "output": row["output"] + " " * k} for k in range(3)]
    copies += [{**row, "output": "red, green, blue.  Yes."}]
    path = tmp_path / "copies.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in copies))
    run("ingest", str(path), "--dataset", "pool")
    told = run.json("select", "pool", "--budget", "20", "--duplicates", "keep-first")
    barred = told["limits"]["barred"]["near duplicate"]
    assert barred >= 1
    with pytest.raises(UsageError, match="may be picked"):
        run("select", "pool", "--budget", "99%", "--duplicates", "keep-first")
    with pytest.raises(UsageError, match="no policy for duplicates"):
        run("select", "pool", "--budget", "20", "--duplicates", "newest")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--objective", "flqmi"], "objective flqmi needs --target D"),
        (["--objective", "flcmi", "--target", "exam"], "needs --target D and --given D"),
        (["--objective", "graph-cut", "--given", "past"], "needs neither --target nor --given"),
        (["--objective", "x*flqmi", "--target", "exam"], "no weighted objective"),
        (["--target", "exam=-1"], "no weight"),
        (["--memory", "lots"], "no amount of memory"),
        (["--by", "inf_ifd"], "--by means nothing to a set function"),
        (["--objective", "top", "--path", "tiles"], "--path means nothing to top"),
        (["--set", "nu=2"], r"facility-location has no option 'nu'(?s:.*)leave --set out"),
        (
            ["--objective", "0.5*graph-cut + 0.5*facility-location", "--set", "lam=1"],
            "facility-location has no option 'lam'",
        ),
        (["--objective", "graph-cut", "--path", "representatives"], "in coverage of the samples"),
        (["--optimizer", "naive-greedy", "--path", "neighbours"], "by lazy greedy"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_way_out(run, options, message):
    with pytest.raises(UsageError, match=message):
        run("select", "pool", "--budget", "9", *options)


def test_an_unknown_objective_names_the_nearest(run):
    with pytest.raises(NotFound, match="facility"):
        run("select", "pool", "--budget", "9", "--objective", "facility-locaton")


def test_the_python_way_is_the_same(run):
    store = opened(run)
    told = choose(store, "pool", Asked("9"), {})
    assert told.id == run.json("select", "pool", "--budget", "9")["id"]


def test_leaks_and_near_duplicates_are_listed_by_their_verbs_and_in_sql(run):
    assert run.json("query", "select * from near_duplicates") == []
    told = run.json("leaks", "pool", "--target", "exam")
    assert told["rows_per_sign"]["same"] == 3
    rows = run.json("query", "select distinct sample_id, target_id from leaks where how = 'same'")
    assert len(rows) == 3
    assert all(row["sample_id"] == row["target_id"] for row in rows)
    found = run.json("duplicates", "pool", "--jaccard", "0.3")
    pairs = run.json("query", "select * from near_duplicates where how = 'words'")
    assert len(pairs) == found["edges"]["words"] > 0
    assert all(0.3 <= row["similarity"] <= 1 for row in pairs)


def test_a_lock_is_written_beside_the_answer_and_verifies(run, tmp_path):
    lock = tmp_path / "selection.lock"
    told = run.json("select", "pool", "--budget", "9", "--lock", str(lock))
    assert run.json("verify", "--selection", str(lock))["selection"] == told["id"]


def test_a_mixture_serves_the_target_and_spreads_over_the_pool_by_the_weights_given(run):
    store = opened(run)
    pool, exam = vectors(store, "pool"), vectors(store, "exam")
    own, asked = kept(Clipped(CosineView(pool, pool))), kept(Clipped(CosineView(exam, pool)))
    function = Mixture([FLQMI(asked), GraphCut(own)], [0.7, 0.3])
    mixed = "0.7*flqmi + 0.3*graph-cut"
    options = ["--objective", mixed, "--target", "exam", "--keep-leaks"]
    told = run.json("select", "pool", "--budget", "10", *options)
    found = np.searchsorted(store.version("pool").sids, picks(run, told).sids)
    np.testing.assert_array_equal(found, LazyGreedy().maximize(function, 10).items)
    assert told["baselines"]["value"] == pytest.approx(function.value(found), rel=1e-5)


def test_two_targets_count_as_they_are_weighted(run):
    store = opened(run)
    pool, exam, past = (vectors(store, name) for name in ("pool", "exam", "past"))
    parts = [FLQMI(kept(Clipped(CosineView(one, pool)))) for one in (exam, past)]
    function = Mixture(parts, [2.0, 1.0])
    options = ["--target", "exam=2", "--target", "past", "--keep-leaks"]
    told = run.json("select", "pool", "--budget", "10", *options)
    found = np.searchsorted(store.version("pool").sids, picks(run, told).sids)
    np.testing.assert_array_equal(found, LazyGreedy().maximize(function, 10).items)
    assert told["baselines"]["value"] == pytest.approx(function.value(found), rel=1e-5)


def test_a_known_answer_is_given_without_reading_a_vector(run, monkeypatch):
    first = run.json("select", "pool", "--budget", "9")

    def unreadable(*_arguments, **_options):
        raise AssertionError("a vector was read")

    monkeypatch.setattr(Store, "vectors", unreadable)
    again = run.json("select", "pool", "--budget", "9")
    assert (again["id"], again["reused"]) == (first["id"], True)


def test_another_optimizer_is_really_used(run):
    told = {
        name: run.json("select", "pool", "--budget", "20", "--optimizer", name)
        for name in ("naive-greedy", "stochastic-greedy")
    }
    exact = picks(run, run.json("select", "pool", "--budget", "20")).sids
    np.testing.assert_array_equal(picks(run, told["naive-greedy"]).sids, exact)
    assert picks(run, told["stochastic-greedy"]).sids.tolist() != exact.tolist()
