from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from influence_store.schema.sample import Sample

_DATA = Path(
    os.environ.get("INFLUENCE_STORE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")
)


@pytest.fixture(scope="session", autouse=True)
def _needs_torch():
    pytest.importorskip("torch", reason="the train extra is not installed")
    pytest.importorskip("transformers", reason="the train extra is not installed")


@pytest.fixture(scope="session")
def delift_labels() -> Path:
    """The folder with teacher values that another implementation computed."""
    folder = _DATA / "labels"
    if not (folder / "delift_A.npz").is_file():
        pytest.skip(f"no delift_A.npz in {folder}; set INFLUENCE_STORE_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def short_samples() -> list[Sample]:
    """The 15 shortest of 985 real samples, or hand-made ones where the data are not there."""
    path = _DATA / "alpaca_demo.jsonl.gz"
    if not path.is_file():
        return [
            Sample.of(f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}.")
            for a, b in zip(range(11, 26), range(3, 63, 4), strict=True)
        ]
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    samples = [Sample.of(f"{row['instruction']}\n{row['input']}", row["output"]) for row in rows]
    return sorted(samples, key=lambda sample: len(sample.prompt + sample.response))[:15]
