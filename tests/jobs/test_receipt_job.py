"""`receipt` and `verify` on a small store: reproduced to the last bit, or the difference named."""

from __future__ import annotations

import json

import pytest

from influence_store.errors import InputError, IntegrityError, NotFound
from influence_store.schema.catalog import Selection
from influence_store.store.store import Store

ROWS = range(60)


def filled(cli, file, *, first=None):
    """A store that holds the rows of `file`, behind those of `first`."""
    cli("init")
    if first is not None:
        cli("ingest", str(first), "--dataset", "other")
    cli("ingest", str(file), "--dataset", "pool")
    cli("embed", "pool", "--embedder", "hashing:32")
    return cli


@pytest.fixture(scope="module")
def rows(tmp_path_factory, write_rows):
    return write_rows(tmp_path_factory.mktemp("rows") / "pool.jsonl", ROWS)


@pytest.fixture(scope="module")
def run(tmp_path_factory, open_cli, rows):
    return filled(open_cli(tmp_path_factory.mktemp("receipts") / "store"), rows)


@pytest.fixture(scope="module")
def selection(run):
    return run.json("select", "pool", "--budget", "12", "--kernel", "cosine")["id"]


@pytest.fixture
def lock(run, selection, tmp_path):
    file = tmp_path / "selection.lock"
    run("receipt", selection, "-o", str(file))
    return file


def test_a_receipt_is_the_same_bytes_each_time_and_is_reproduced(run, selection, lock, tmp_path):
    told = run.json("receipt", selection[:5], "-o", str(tmp_path / "again.lock"))
    assert (tmp_path / "again.lock").read_bytes() == lock.read_bytes()
    assert told["digest"] == json.loads(lock.read_bytes())["digest"]
    report = run.json("verify", "--selection", str(lock))
    assert report["reproduced"] is True
    assert report["samples"] == 12
    assert report["notes"] == []
    assert "bit for bit" in run("verify", "--selection", selection)


def test_the_samples_stand_in_rank_order_with_their_gains(run, selection, lock):
    receipt = json.loads(lock.read_bytes())
    sql = f"select * from selection_items where selection = '{selection}' order by rank"
    items = run.json("query", sql)
    assert receipt["samples"] == [one["sample_id"] for one in items]
    assert receipt["gains"] == [one["gain"] for one in items]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r["data"]["pool"].update(digest="00"), "data.pool.digest: expected 00"),
        (lambda r: r["data"]["pool"].update(rows=61), "data.pool.rows: expected 61, found 60"),
        (lambda r: r["data"]["pool"].update(dataset="x@1"), "data.pool.dataset: expected x@1"),
        (lambda r: r["kernel"].update(fingerprint="f"), "kernel.fingerprint: expected f"),
        (lambda r: r["kernel"]["facts"].update(dim=3), "kernel.facts.dim: expected 3"),
        (lambda r: r["function"].update(floor=9.0), "function.floor: expected 9.0"),
        (lambda r: r["question"].update(seed=7), "question.seed: expected 7, found 0"),
        (lambda r: r["question"].update(budget="13"), "question.budget: expected 13, found 12"),
        (lambda r: r["question"].update(optimizer="x"), "question.optimizer: expected x"),
        (lambda r: r["question"].update(limits="x"), "question.limits: expected x"),
        (lambda r: r["allowed"].update(tokens=3), "allowed.tokens: expected 3, found None"),
        (lambda r: r["samples"].reverse(), "rank 1: expected sample"),
        (lambda r: r["gains"].__setitem__(4, 1.5), r"rank 5, sample \w+: expected gain 1.5, found"),
        (lambda r: (r["samples"].pop(), r["gains"].pop()), "expected 11 samples, found 12"),
        (lambda r: r["made_with"].update(numpy="0.1"), "was changed after it was written"),
        (lambda r: r.update(digest="00"), "was changed after it was written"),
    ],
)
def test_whatever_is_changed_in_the_file_is_named(run, lock, change, says):
    receipt = json.loads(lock.read_bytes())
    change(receipt)
    lock.write_text(json.dumps(receipt))
    with pytest.raises(IntegrityError, match=says):
        run("verify", "--selection", str(lock))


def test_an_edited_file_is_told_from_a_changed_store(run, lock):
    receipt = json.loads(lock.read_bytes())
    receipt["question"]["seed"] = 7
    lock.write_text(json.dumps(receipt))
    with pytest.raises(IntegrityError, match="its digest does not fit"):
        run("verify", "--selection", str(lock))


def test_what_changed_in_the_store_is_named(open_cli, rows, tmp_path):
    run = filled(open_cli(tmp_path / "store"), rows)
    made = run.json("select", "pool", "--budget", "9", "--kernel", "cosine")["id"]
    store = Store.open(run.root, "test")

    def work(session):
        row = session.get_one(Selection, made)
        row.facts = {**row.facts, "function": {**row.facts["function"], "floor": -7.0}}
        session.add(row)

    store.database.write(work)
    store.database.close()
    with pytest.raises(IntegrityError, match=r"function.floor: expected -7.0, found"):
        run("verify", "--selection", made)


def test_a_receipt_holds_in_another_store_with_other_row_numbers(
    lock, open_cli, rows, tmp_path, write_rows
):
    first = write_rows(tmp_path / "first.jsonl", range(900, 930))
    other = filled(open_cli(tmp_path / "other"), rows, first=first)
    assert other.json("verify", "--selection", str(lock))["reproduced"] is True
    fewer = write_rows(tmp_path / "fewer.jsonl", range(59))
    poorer = filled(open_cli(tmp_path / "poorer"), fewer)
    with pytest.raises(IntegrityError, match=r"data.pool.digest: expected"):
        poorer("verify", "--selection", str(lock))


def test_targets_given_data_and_weights_are_part_of_it(open_cli, rows, tmp_path, write_rows):
    run = filled(open_cli(tmp_path / "store"), rows)
    for name, numbers in (("exam", range(100, 110)), ("past", range(200, 215))):
        run("ingest", str(write_rows(tmp_path / f"{name}.jsonl", numbers)), "--dataset", name)
        run("embed", name, "--embedder", "hashing:32")
    made = [
        run.json("select", "pool", "--budget", "8", "--kernel", "cosine", *more)["id"]
        for more in (["--target", "exam"], ["--given", "past"])
    ]
    for k, one in enumerate(made):
        file = tmp_path / f"{k}.lock"
        run("receipt", one, "-o", str(file))
        data = json.loads(file.read_bytes())["data"]
        assert (len(data["targets"]), data["given"] is None) == (
            (1, True) if k == 0 else (0, False)
        )
        assert run.json("verify", "--selection", str(file))["reproduced"] is True


def test_a_budget_of_tokens_and_a_knee_come_out_again(run, tiny_llm, tmp_path):
    counted = ("--tokenizer", str(tiny_llm))
    for budget in ("600-tokens", "auto"):
        made = run.json("select", "pool", "--budget", budget, "--kernel", "cosine", *counted)["id"]
        file = tmp_path / f"{budget}.lock"
        run("receipt", made, "-o", str(file))
        assert json.loads(file.read_bytes())["allowed"]["tokens"]["total"] > 600
        assert run.json("verify", "--selection", str(file))["reproduced"] is True
        told = run.json("frontier", made)
        assert told["unit"] == "tokens"
        assert budget == "auto" or told["points"][-1]["cost"] <= 600
        ids = [row["sample_id"] for row in run.json("query", "select sample_id from pool")]
        reasons = {one.get("reason") for one in run.json("explain", made, *ids)["samples"]}
        assert reasons <= {None, "cost", "twin", "dominated", "below"}


def test_a_selectors_choice_has_no_receipt_and_no_file_is_left(run, tmp_path):
    made = run.json("select", "pool", "--budget", "5", "--objective", "random")["id"]
    with pytest.raises(NotFound, match="without a set function"):
        run("receipt", made, "-o", str(tmp_path / "x.lock"))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_receipt_is_refused(run, tmp_path):
    (tmp_path / "x.lock").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as a receipt"):
        run("verify", "--selection", str(tmp_path / "x.lock"))
