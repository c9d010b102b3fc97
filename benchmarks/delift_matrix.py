"""A whole DELIFT matrix, measured with the store itself, to judge estimators by.

    python benchmarks/delift_matrix.py --data DATA --llm LLM --encoder ENCODER --store STORE --out F

DATA holds gsm8k_train.jsonl.gz, alpaca_demo.jsonl.gz and t0_50k.jsonl.gz. Every row is a target
and a source. Known pairs are never asked again, so a killed run goes on where it was; `--part
left` and `--part right` may run beside each other, each with its half of the sources. F (npz)
holds numbers only, no text: utility[target, source], the features of the rows, their sample ids.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from pathlib import Path

import numpy as np

from influence_store.embedding import absolute_spec, open_embedder
from influence_store.influence.base import LlmState
from influence_store.influence.llm import load_llm
from influence_store.ingest.spool import ReadSettings
from influence_store.jobs.budget import Budget
from influence_store.jobs.embed import embed
from influence_store.jobs.ingest import ingest
from influence_store.jobs.label import label
from influence_store.jobs.llm_state import read_states, state_producer
from influence_store.jobs.methods import ModelChoice
from influence_store.query import query
from influence_store.settings import cache_dir
from influence_store.store.store import Store
from influence_store.version import __version__

SOURCES = {"gsm8k_train": 60, "alpaca_demo": 60, "t0_50k": 40}
LONGEST = 260  # characters of prompt and response together: a pair costs its tokens
RESPONSE_TOKENS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "llm", "encoder", "store", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--part", choices=("left", "right"), help="default: both, then write OUT")
    given = parser.parse_args()
    store, _ = Store.init(given.store, __version__)
    write_data(store, given.data, given.store)
    choice = ModelChoice(str(given.llm), cache_dir(), max_response_tokens=RESPONSE_TOKENS)
    for part in [given.part] if given.part else ["left", "right"]:
        report = label(
            store,
            store.version(part),
            ["delift"],
            choice,
            Budget(share=1.0),
            targets=store.version("pool"),
        )
        print("\n".join(report.lines()), flush=True)
    if not given.part:
        embedder = open_embedder(str(given.encoder), cache=cache_dir())
        embed(store, store.version("pool"), embedder, absolute_spec(str(given.encoder)))
        np.savez_compressed(given.out, **matrix(store, given.llm))


def write_data(store: Store, data: Path, folder: Path) -> None:
    """`pool`, and its two halves."""
    rng = random.Random(0)
    pool = []
    for name, count in SOURCES.items():
        with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        fields = ("instruction", "input", "output")
        short = [
            {field: row[field] for field in fields}
            for row in rows
            if sum(len(row[field]) for field in fields) <= LONGEST
        ]
        pool += rng.sample(short, count)
    rng.shuffle(pool)
    half = len(pool) // 2
    for name, part in {"pool": pool, "left": pool[:half], "right": pool[half:]}.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in part))
        ingest(
            store,
            [str(path)],
            name,
            settings=ReadSettings(),
            skip_errors=False,
            rejects=folder / "no",
        )


def matrix(store: Store, model: Path) -> dict[str, np.ndarray]:
    """The measured values and what is known of each row, rows in the order of their sids."""
    sids = store.version("pool").sids
    place = {sid: k for k, sid in enumerate(sids.tolist())}
    (producer,) = [one for one in store.producers("pairs") if one.name == "delift"]
    utility = np.full((len(sids), len(sids)), np.nan, np.float32)
    for row in store.pairs(producer).to_dicts():
        if row["delift-l2"] is not None:
            utility[place[row["target"]], place[row["source"]]] = row["delift-l2"]
    llm = load_llm(str(model), cache=cache_dir())
    state = LlmState(llm, max_response_tokens=RESPONSE_TOKENS)
    known = read_states(store, state_producer(store, state), sids)
    (embedder,) = store.producers("embedding")
    ids = {row["sid"]: row["sample_id"].hex() for row in store.sample_ids().to_dicts()}
    sizes = query(store, "select sample_id, prompt_chars, response_chars from pool").to_pylist()
    by_id = {row["sample_id"]: row for row in sizes}
    rows = [by_id[ids[sid]] for sid in sids.tolist()]
    return {
        "utility": utility,
        "minilm": store.vectors(embedder, sids).astype(np.float16),
        "hidden15": known.hidden.astype(np.float16),
        "nll": known.nll.astype(np.float32),
        "d0": known.d0.astype(np.float32),
        "prompt_tokens": known.n_prompt_tokens,
        "response_tokens": known.n_response_tokens,
        **{name: np.array([row[name] for row in rows]) for name in rows[0]},
    }


if __name__ == "__main__":
    main()
