"""How good is every estimator on real teachers? The tables of docs/accuracy.md, by one command.

    python benchmarks/accuracy.py --encoder ENCODER --work WORK --out TABLES.md MATRIX.npz …

A matrix holds its values [target, source] under `utility`, `less` or `values` (NaN = not
labelled), and what is known of its rows: an embedding under `minilm` (or, beside it,
MATRIX_pool.jsonl.gz to embed with ENCODER), token counts, and `hidden15`, `nll` and `d0` where
the LLM was asked. A seed of u is a block of u of the targets × u of the sources drawn at random,
as in NN-CIFT; everything is judged on samples that were never seen in either role. WORK keeps
finished cells, so a stopped run goes on. Needs the extra `train`, for the networks in torch.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import InputError
from influence_store.network import NETWORKS
from influence_store.network.card import RAW_COSINE
from influence_store.network.evaluate import HeldOut, predict_held_out
from influence_store.network.features import Features, lengths
from influence_store.network.figures import figures
from influence_store.network.intervals import interval
from influence_store.network.labels import QUADRANTS, Fold, SeedPairs, usable
from influence_store.network.selection_gain import SHARES
from influence_store.network.train import DEFAULT_NETWORKS, train

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SEEDS, SEED_SHARES = 5, (0.05, 0.1, 0.2)
JUDGED_TARGETS, JUDGED_SOURCES = 200, 400
DEFAULT = "**default** (select)"


@dataclass(frozen=True)
class Matrix:
    """A teacher's values and the features of its rows."""

    name: str
    values: np.ndarray[Any, Any]
    features: Mapping[str, Features]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("matrices", type=Path, nargs="+", metavar="MATRIX.npz")
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--features", nargs="*", help="free, llm; default: all there are")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    parts = []
    for path in given.matrices:
        matrix = load(path, given.encoder)
        for kind in given.features or matrix.features:
            for share in SEED_SHARES:
                cells = [cell(matrix, kind, share, seed, given.work) for seed in range(given.seeds)]
                parts.append(section(matrix.name, kind, share, cells))
                given.out.write_text("\n\n".join(parts) + "\n")


def load(path: Path, encoder: Path) -> Matrix:
    """The matrix with free features, and with those of the LLM where it has them."""
    held = np.load(path)
    values = next(held[key] for key in ("utility", "less", "values") if key in held)
    values = values.astype(np.float64)
    np.fill_diagonal(values, np.nan)
    rows = None
    pool = path.with_name(f"{path.stem}_pool.jsonl.gz")
    if pool.exists():
        with gzip.open(pool, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
    embedding = held["minilm"] if "minilm" in held else embed(rows or [], encoder)
    blocks = {"embedding": embedding.astype(np.float32), "lengths": sizes(held, rows)}
    features = {"free": Features.of(blocks)}
    if "hidden15" in held:
        scalars = [held["nll"], held["d0"]]
        scalars += [np.log1p(held[name]) for name in ("prompt_tokens", "response_tokens")]
        blocks["llm-hidden"] = held["hidden15"].astype(np.float32)
        blocks["llm-scalars"] = np.stack(scalars, axis=1).astype(np.float32)
        features["llm"] = Features.of(blocks)
    return Matrix(path.stem, values, features)


def sizes(held: Any, rows: list[dict[str, str]] | None) -> Any:
    """Lengths as a store has them, in characters, or in tokens where there are no texts."""
    if "prompt_chars" in held:
        return lengths(held["prompt_chars"], held["response_chars"])
    if rows is None:
        return lengths(held["prompt_tokens"], held["response_tokens"])
    prompts = [len(row["instruction"]) + len(row.get("input") or "") for row in rows]
    return lengths(prompts, [len(row["output"]) for row in rows])


def embed(rows: list[dict[str, str]], encoder: Path) -> Any:
    from influence_store.embedding import open_embedder
    from influence_store.settings import cache_dir

    texts = [
        "\n".join(row[key] for key in ("instruction", "input", "output") if row.get(key))
        for row in rows
    ]
    return open_embedder(str(encoder), cache=cache_dir()).encode(texts).vectors


def cell(matrix: Matrix, kind: str, share: float, seed: int, work: Path) -> dict[str, Any]:
    """One seed of one size: the figures of every network per quadrant, and what was chosen."""
    kept = work / f"{matrix.name}-{kind}-{share}-{seed}.json"
    if kept.exists():
        done: dict[str, Any] = json.loads(kept.read_text())
        return done
    began = time.process_time()
    features = matrix.features[kind]
    pairs, fold = split(matrix.values, features, share, seed)
    labels = pairs.take(fold.fit)
    chosen, verdict = "cosine", "too few labels to judge"
    try:
        trained = train(labels, features, networks=DEFAULT_NETWORKS, seed=seed)
        chosen, verdict = trained.estimator.network, trained.card.verdict
    except InputError:
        pass  # a store without an estimator selects by cosine
    fits = {name: NETWORKS.get(name) for name in NETWORKS.builtin}
    held_out = predict_held_out(pairs, features, [fold], fits, seed=seed)
    used = chosen if verdict == "trusted" else "cosine"
    done = {
        "labels": len(labels),
        "chosen": chosen,
        "verdict": verdict,
        "used": used,
        "cpu_seconds": time.process_time() - began,
        "networks": {name: judged(held_out, name) for name in [*fits, RAW_COSINE]},
    }
    done["networks"][DEFAULT] = done["networks"][used]
    kept.write_text(json.dumps(done))
    return done


def split(
    values: np.ndarray[Any, Any], features: Features, share: float, seed: int
) -> tuple[SeedPairs, Fold]:
    """A seed block, and judged samples that appear in it in neither role."""
    rng = np.random.default_rng(seed)
    known = ~np.isnan(values)
    rows = rng.permutation(np.flatnonzero(known.sum(1) > known.sum(1).max() / 2))
    columns = rng.permutation(np.flatnonzero(known.sum(0) > known.sum(0).max() / 2))
    seen_rows, rows = np.split(rows, [round(share * len(rows))])
    seen_columns, columns = np.split(columns, [round(share * len(columns))])
    rows = rows[~np.isin(rows, seen_columns)][:JUDGED_TARGETS]
    columns = columns[~np.isin(columns, seen_rows)][:JUDGED_SOURCES]
    every_row, every_column = np.append(seen_rows, rows), np.append(seen_columns, columns)
    targets, sources = (x.ravel() for x in np.meshgrid(every_row, every_column, indexing="ij"))
    pairs = usable(targets, sources, values[targets, sources], features.block("embedding"))
    old_row, old_column = np.isin(pairs.targets, seen_rows), np.isin(pairs.sources, seen_columns)
    parts = np.zeros(len(pairs), bool), old_row & ~old_column, ~old_row & old_column
    masks = (*parts, ~old_row & ~old_column)
    return pairs, Fold(old_row & old_column, dict(zip(QUADRANTS, masks, strict=True)))


def judged(held_out: HeldOut, name: str) -> dict[str, Any]:
    """Figures per quadrant, and on Q4 the values per target that intervals are made of."""
    quadrants = {
        quadrant: figures(pairs, held_out.predicted[quadrant][name]).facts()
        for quadrant, pairs in held_out.pairs.items()
        if len(pairs.truth)
    }
    q4 = held_out.pairs["Q4"]
    ranked = np.unique(np.concatenate([q4.targets[at[:, 0]] for at in q4.ranked_rows()]))
    gains = {str(share): held_out.gain(name, share) for share in SHARES}
    return {
        "figures": quadrants,
        "ranked": ranked.tolist(),
        "spearman": held_out.spearman(name).tolist(),
        "targets": np.unique(q4.targets).tolist(),
        "gain": {share: None if one is None else one.tolist() for share, one in gains.items()},
    }


def section(name: str, kind: str, share: float, cells: list[dict[str, Any]]) -> str:
    """Markdown: one row per network, means over the seeds."""
    labels = round(np.mean([one["labels"] for one in cells]))
    head = (
        "network", "R²", "R² inter", "additive", "ρ row", "ρ − cosine", "ρ − additive",
        "ρ − nn-cift", "τ row", "ρ cols",
        "top 1", "top 10", "slope", "gain 10 %", "− cosine", "gain 30 %", "− cosine", "useful",
        "ρ Q2", "ρ Q3",
    )  # fmt: skip
    lines = [
        f"### {name}, features {kind}, seed {share:.0%} ({labels:,} pairs)",
        "",
        f"Chosen: {told(cells, 'chosen')}; verdicts: {told(cells, 'verdict')}.",
        "",
        "| " + " | ".join(head) + " |",
        "|---" + "|--:" * (len(head) - 1) + "|",
    ]
    names = list(cells[0]["networks"])
    ranks = {one: over_seeds(cells, one, "spearman", "ranked").mean() for one in names}
    for one in sorted(names, key=lambda each: (each != DEFAULT, -ranks[each])):
        lines.append("| " + " | ".join([one, *row(cells, one)]) + " |")
    return "\n".join(lines)


def told(cells: Sequence[dict[str, Any]], key: str) -> str:
    found = [one[key] for one in cells]
    return ", ".join(f"{one} × {found.count(one)}" for one in dict.fromkeys(found))


def row(cells: list[dict[str, Any]], name: str) -> Iterator[str]:
    """The cells of one network."""
    yield mean(cells, name, "r2")
    yield mean(cells, name, "interaction_r2")
    yield mean(cells, name, "additivity")
    yield mean(cells, name, "spearman_per_target")
    for other in ("cosine", "additive-ridge", "nn-cift"):
        yield gap(over_seeds(cells, name, "spearman", "ranked", over=other))
    yield mean(cells, name, "kendall_per_target")
    yield mean(cells, name, "spearman_columns")
    for k in (1, 10):
        found = [top for one in q4(cells, name) for top in one["top_k"] if top["k"] == k]
        share, chance = (np.mean([top[key] for top in found]) for key in ("overlap", "chance"))
        yield f"{share:.2f} ({chance:.2f})"
    yield mean(cells, name, "calibration_slope")
    for share in SHARES:
        gains = over_seeds(cells, name, "gain", "targets", share)
        yield f"{gains.mean():.2f}"
        yield gap(over_seeds(cells, name, "gain", "targets", share, over="cosine"))
    picks = [one["selection"][-1] for one in q4(cells, name)]
    yield f"{sum(one['useful'] for one in picks)}/{sum(one['picks'] for one in picks)}"
    for quadrant in ("Q2", "Q3"):
        yield mean(cells, name, "spearman_per_target", quadrant)


def q4(cells: Sequence[dict[str, Any]], name: str, quadrant: str = "Q4") -> list[dict[str, Any]]:
    return [one["networks"][name]["figures"][quadrant] for one in cells]


def mean(cells: Sequence[dict[str, Any]], name: str, figure: str, quadrant: str = "Q4") -> str:
    found = [one[figure] for one in q4(cells, name, quadrant) if one[figure] is not None]
    return f"{np.mean(found):.2f}" if found else "–"


def over_seeds(
    cells: Sequence[dict[str, Any]],
    name: str,
    what: str,
    targets: str,
    share: float | None = None,
    over: str | None = None,
) -> np.ndarray[Any, Any]:
    """One value per target that was ever judged: its mean over the seeds, minus that of `over`."""
    total: dict[int, list[float]] = {}
    for one in cells:
        networks = one["networks"]
        mine, other = (
            None if each is None else pick(networks[each][what], share) for each in (name, over)
        )
        for k, target in enumerate(networks[name][targets]):
            assert mine is not None
            total.setdefault(target, []).append(mine[k] - (other[k] if other else 0.0))
    return np.array([np.mean(values) for values in total.values()])


def pick(values: Any, share: float | None) -> list[float]:
    found: list[float] = values if share is None else values[str(share)]
    return found


def gap(values: np.ndarray[Any, Any]) -> str:
    """Mean over targets with its 95 % interval; a difference of nothing from itself is blank."""
    if not values.any():
        return ""
    found = interval(values, seed=0)
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


if __name__ == "__main__":
    main()
