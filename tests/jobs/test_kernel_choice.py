"""The verdict of the accuracy card is obeyed, aloud."""

from __future__ import annotations

import pytest
from sqlmodel import select

from influence_store.errors import Incompatible, NotFound
from influence_store.schema.catalog import Estimator
from influence_store.store.store import Store
from influence_store.version import __version__


def with_verdict(run, verdict):
    store = Store.open(run.root, __version__)

    def work(session):
        row = session.exec(select(Estimator)).one()
        row.verdict = verdict
        session.add(row)

    store.database.write(work)
    store.database.close()


@pytest.mark.parametrize("verdict", ["weak", "no better than cosine", "no better than mean"])
def test_an_estimator_without_trust_gives_way_to_cosine(stages, tmp_path, verdict):
    run = stages.copy_after("fill", tmp_path / "store")
    with_verdict(run, verdict)
    told = run.json("select", "demo", "--budget", "5")
    assert told["kernel"] == "cosine"
    (note,) = told["notes"]
    assert verdict in note
    assert "--accept-weak" in note
    forced = run.json("select", "demo", "--budget", "5", "--accept-weak")
    assert (forced["kernel"], forced["notes"]) == ("delift-l2", [])


def test_a_trusted_estimator_is_the_default_kernel(stages, tmp_path):
    run = stages.copy_after("fill", tmp_path / "store")
    with_verdict(run, "trusted")
    told = run.json("select", "demo", "--budget", "5")
    assert (told["kernel"], told["notes"]) == ("delift-l2", [])
    assert run.json("select", "demo", "--budget", "5", "--kernel", "cosine")["kernel"] == "cosine"


def test_an_estimator_that_lacks_rows_is_refused_by_name(stages, tmp_path, write_rows):
    run = stages.copy_after("fill", tmp_path / "store")
    with_verdict(run, "trusted")
    more = write_rows(tmp_path / "more.jsonl", range(80, 90))
    run("ingest", str(more), "--dataset", "demo", "--no-fill")
    run("embed", "demo", "--embedder", "hashing:32")
    with pytest.raises(Incompatible, match="no estimate for 10 rows of demo@2"):
        run("select", "demo", "--budget", "5", "--kernel", "delift-l2")


def test_another_embedder_is_refused_by_fingerprint_with_the_fix(stages, tmp_path, write_rows):
    run = stages.copy_after("fill", tmp_path / "store")
    more = write_rows(tmp_path / "more.jsonl", range(80, 90))
    run("ingest", str(more), "--dataset", "other")
    run("embed", "other", "--embedder", "hashing:48")
    with pytest.raises(Incompatible, match=r"(?s)reads hashing-32 \(\w{12}\), which 10 rows of "
                       r"other@1 do not have.*influence-store embed other@1"):  # fmt: skip
        run("fill", "other")


def test_of_several_embedders_it_says_whose_cosine_it_took_and_takes_another(stages, tmp_path):
    run = stages.copy_after("embed", tmp_path / "store")
    run("embed", "demo", "--embedder", "hashing:48")
    newest = run.json("select", "demo", "--budget", "5")
    (note,) = newest["notes"]
    assert note.endswith("embeddings, hashing-48; of others: --kernel cosine:hashing-32")
    other = run.json("select", "demo", "--budget", "5", "--kernel", "cosine:hashing-32")
    assert (other["kernel"], other["notes"]) == ("cosine:hashing-32", [])
    assert other["inputs"]["kernel"] != newest["inputs"]["kernel"]
    assert run.json("verify", "--selection", other["id"])["reproduced"]
    assert "--kernel" not in run("select", "demo", "--budget", "5", "--kernel", "cosine:hashing-48")
    with pytest.raises(NotFound, match=r"no kernel named 'cosine:hash'.* cosine:hashing-32"):
        run("select", "demo", "--budget", "5", "--kernel", "cosine:hash")


def test_without_embeddings_the_hint_makes_some(stages, tmp_path):
    run = stages.copy_after("ingest", tmp_path / "store")
    with pytest.raises(Incompatible, match=r"demo@1 has no complete embeddings\n.* embed demo@1"):
        run("select", "demo", "--budget", "5")
