"""On real instruction data: what is planted is found, and honest rows are left alone."""

from __future__ import annotations

import gzip
import json

import pytest

from influence_store.overlap.leaks import overlap
from influence_store.overlap.minhash import BandIndex, band_keys
from influence_store.overlap.words import WordHashes, shingles

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def rows(data_folder):
    def read(name, n):
        with gzip.open(data_folder / f"{name}.jsonl.gz", "rt") as lines:
            return [json.loads(line) for line, _ in zip(lines, range(n), strict=False)]

    return read


def test_a_wrapped_exam_row_is_the_only_leak_of_a_real_pool(rows):
    hashes, exam = WordHashes(), rows("gsm8k_train", 400)
    pool = [(one["instruction"], one["output"]) for one in rows("alpaca_demo", 985)]
    pool.insert(500, (f"Please solve:\n{exam[77]['instruction']}", "I would rather not."))
    found, _ = overlap(
        [tuple(map(hashes, one)) for one in pool],
        [(hashes(one["instruction"]), hashes(one["output"])) for one in exam],
        [13, 8],
        common=0.001,
    )
    for shared in found:
        assert (shared.pool.tolist(), shared.target.tolist()) == ([500], [77])
        assert shared.share[0] > 0.2


def test_one_passage_under_several_prompts_is_found_by_banding(rows):
    hashes, texts = WordHashes(), rows("t0_50k", 400)
    sets = [shingles(hashes(one["instruction"] + " " + one["output"]), 3) for one in texts]
    n = len(sets)
    a, b = BandIndex(band_keys(sets, 128, 4, 1)).candidates(0, n, limit=n * n)
    members = [set(one.tolist()) for one in sets]
    alike = {
        (i, j)
        for i in range(n)
        for j in range(i)
        if len(members[i] & members[j]) >= 0.8 * len(members[i] | members[j])
    }
    assert len(alike) > 100
    assert alike <= set(zip(a.tolist(), b.tolist(), strict=True))
