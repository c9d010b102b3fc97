"""`label`: the same blocks and the same bill, whoever asks the model."""

from __future__ import annotations

import json

import pytest
from shop import Deadly, contents, with_rows
from sqlmodel import select

from influence_store.errors import Incompatible, UsageError
from influence_store.execution import LOCAL
from influence_store.jobs import label_pairs, measure_rows
from influence_store.jobs.budget import Budget
from influence_store.jobs.gc import gc
from influence_store.jobs.label import label
from influence_store.jobs.label_shards import MethodsAt, check_same, check_sendable
from influence_store.jobs.methods import ModelChoice
from influence_store.jobs.verify_store import verify_store
from influence_store.schema.catalog import Run
from influence_store.store.store import Store
from influence_store.version import __version__

pytestmark = pytest.mark.xdist_group("ray")
ROWS = 24
#: What depends on who works and when.
CLOCK = ("seconds", "cpu_seconds", "gpu_seconds", "seconds_per_pair")


@pytest.fixture
def twins(store, copy_store, tmp_path, monkeypatch):
    """A store of a few rows and its copy, to be labelled in shards of eight."""
    monkeypatch.setattr(measure_rows, "LEAST_ROWS", 8)
    with_rows(store, ROWS, tmp_path)
    copied = Store.open(copy_store(store.uri, tmp_path / "copy"), __version__)
    yield store, copied
    copied.database.close()


def without_clock(facts):
    return {name: value for name, value in facts.items() if name not in CLOCK}


def bills(store):
    """What every run says it has spent, but for seconds."""
    with store.database.read() as session:
        runs = [(run.verb, run.state, run.cost) for run in session.exec(select(Run))]
    return sorted((verb, state, json.dumps(without_clock(cost))) for verb, state, cost in runs)


def rows_labelled(store, llm, executor=LOCAL, names=("perplexity", "ifd", "rds"), **settings):
    version = store.version("demo")
    choice = ModelChoice(str(llm), settings=settings)
    return label(
        store, version, names, choice, Budget(share=1.0), targets=version, executor=executor
    )


def test_rows_are_the_same_blocks_and_the_same_bill_after_a_worker_was_killed(
    twins, tiny_llm, cluster, lethal
):
    here, there = twins
    deadly = Deadly(cluster, lethal(1))
    reports = rows_labelled(here, tiny_llm), rows_labelled(there, tiny_llm, deadly)
    assert without_clock(reports[0].facts()) == without_clock(reports[1].facts())
    assert reports[1].llm_passes > 2 * ROWS
    for kind, n_blocks in (("points", 7), ("vectors", 3)):
        assert len(contents(here, kind)) == n_blocks
        assert contents(here, kind) == contents(there, kind)
    assert bills(here) == bills(there)
    assert reports[1].cpu_seconds > 0
    gc(there, grace=0, act=True)
    after = verify_store(there, deep=True)
    assert (after.problems, after.leftover_files) == ([], 0)


def test_what_was_fine_tuned_by_the_driver_is_asked_by_workers(twins, tiny_llm, cluster):
    here, there = twins
    small = {"n_checkpoints": "2", "epochs": "2", "dim": "32", "rank": "2"}
    how = {"names": ("grand", "el2n", "pvi", "less"), **small}
    reports = rows_labelled(here, tiny_llm, **how), rows_labelled(there, tiny_llm, cluster, **how)
    assert without_clock(reports[0].facts()) == without_clock(reports[1].facts())
    assert {column["scored"] for column in reports[1].columns} == {ROWS}
    for kind in ("points", "vectors"):
        assert contents(here, kind) == contents(there, kind)
    assert bills(here) == bills(there)
    assert [verb for verb, _, _ in bills(there)].count("fine-tune") == 2  # with and without prompts


def test_a_worker_never_fine_tunes(store, tmp_path, tiny_llm):
    with_rows(store, ROWS, tmp_path)
    at = MethodsAt.of(["less"], "demo@1", ModelChoice(str(tiny_llm)), "cpu")
    with pytest.raises(Incompatible, match="no checkpoints of this model"):
        at.open(store)
    assert [verb for verb, _, _ in bills(store)] == ["ingest"]


def test_pairs_are_the_same_blocks_and_the_same_bill_after_a_worker_was_killed(
    twins, tiny_llm, cluster, lethal, monkeypatch
):
    monkeypatch.setattr(label_pairs, "LEAST_PAIRS", 40)
    here, there = twins
    engines = LOCAL, Deadly(cluster, lethal(1))
    facts = [
        label(
            store,
            store.version("demo"),
            ["delift"],
            ModelChoice(str(tiny_llm)),
            Budget(pairs=144),
            executor=engine,
        ).facts()
        for store, engine in zip(twins, engines, strict=True)
    ]
    assert without_clock(facts[0]) == without_clock(facts[1])
    assert facts[1]["scored"] > 130
    assert len(contents(here, "pairs")) == 3  # of four sources each, the first that exceed 40 pairs
    for kind in ("pairs", "llm-state"):
        assert contents(here, kind) == contents(there, kind)
    assert bills(here) == bills(there)


@pytest.mark.parametrize(
    ("names", "how", "found"),
    [
        (["perplexity", "trak"], {}, "trak cannot be asked by --engine ray: it needs fit"),
        (["llm-state"], {}, "llm-state works in one process"),
        (["delift"], {"active": True}, "--design active works in one process"),
        (["delift"], {"again": True}, "--again works in one process"),
    ],
)
def test_what_a_worker_cannot_do_is_refused(names, how, found):
    with pytest.raises(UsageError, match=found):
        check_sendable(names, **how)


def test_methods_whose_model_or_checkpoints_a_worker_can_open_can_be_sent():
    check_sendable(["perplexity", "ifd", "rds", "delift", "less", "pvi"])


def test_a_model_that_changed_on_the_way_to_a_worker_is_refused():
    check_same(["a" * 64], ["a" * 64])
    with pytest.raises(Incompatible, match="another method or model"):
        check_same(["b" * 64], ["a" * 64])
