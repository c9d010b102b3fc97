"""Every method on the same real rows: what it costs, how it ranks, and which methods agree.

    python benchmarks/methods_table.py --data DATA --llm LLM --encoder ENCODER --store STORE

DATA holds gsm8k_train.jsonl.gz, alpaca_demo.jsonl.gz and t0_50k.jsonl.gz (instruction, input,
output). Prints Markdown. Whatever STORE holds already is not measured again, so a stopped run
goes on, and a finished one only prints.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from influence_store.embedding import absolute_spec, open_embedder
from influence_store.influence import METHODS
from influence_store.ingest.spool import ReadSettings
from influence_store.jobs.budget import Budget
from influence_store.jobs.embed import embed
from influence_store.jobs.ingest import ingest
from influence_store.jobs.label import label
from influence_store.jobs.log import log
from influence_store.jobs.methods import ModelChoice
from influence_store.query import query
from influence_store.settings import cache_dir
from influence_store.store.store import Store
from influence_store.version import __version__

SOURCES = {"math": "gsm8k_train", "general": "alpaca_demo", "task": "t0_50k"}
ROWS, TARGETS, FEW, LONGEST = 210, 12, 4, 300
RESPONSE_TOKENS = 24
COSINES = """
    select texts.sample_id, avg(list_dot_product(texts.emb_minilm, math.emb_minilm))
    from texts, math group by 1
"""
SETTINGS = {"n_checkpoints": "2", "epochs": "2", "dim": "1024", "learning_rate": "2e-4"}
#: Fine-tuned together with nothing else to share: a causal LM reads these in one pass.
ONE_PASS = ("perplexity", "ifd", "pvi-zero-shot", "el2n-token")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "llm", "encoder", "store"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="methods to measure; default: all")
    parser.add_argument("--dataset", choices=("texts", "kinds"), help="default: both")
    given = parser.parse_args()
    store, _ = Store.init(given.store, __version__)
    write_data(store, given.data, given.store)
    for name in ("texts", "math"):
        embedder = open_embedder(str(given.encoder), cache=cache_dir())
        embed(store, store.version(name), embedder, absolute_spec(str(given.encoder)))
    asked = [name for name in given.only or METHODS.builtin if name != "delift-se"]
    asks = {"texts": ("math", given.llm), "kinds": ("hard", given.encoder)}
    for dataset in [given.dataset] if given.dataset else asks:
        targets, model = asks[dataset]
        wanted = [name for name in asked if on_model(name, dataset)]
        for name in wanted:
            measure(store, dataset, targets, model, name)
    for dataset in ("texts", "kinds"):
        print_table(store, dataset)


def on_model(name: str, dataset: str) -> bool:
    """Prompts without texts to learn suit the encoder; DEALRec's recursion wants a small model."""
    if dataset == "texts":
        return name != "dealrec"
    return "checkpoints" in METHODS.get(name).spec.needs


def write_data(store: Store, data: Path, folder: Path) -> None:
    """`texts`: short rows of three sources as they are; `kinds`: which source a prompt is from."""
    rng = random.Random(0)
    rows = {kind: short_rows(data / f"{name}.jsonl.gz", rng) for kind, name in SOURCES.items()}
    each = ROWS // len(SOURCES)
    texts = [row for kind in SOURCES for row in rows[kind][:each]]
    kinds = [
        {"instruction": row["instruction"], "input": row["input"], "output": kind}
        for kind in SOURCES
        for row in rows[kind][:each]
    ]
    held_out = [
        {"instruction": row["instruction"], "input": row["input"], "output": kind}
        for kind in SOURCES
        for row in rows[kind][each : each + TARGETS // 3]
    ]
    for name, part in {
        "texts": texts,
        "kinds": kinds,
        "math": rows["math"][each : each + TARGETS],
        "few": rows["math"][each : each + FEW],
        "hard": held_out,
    }.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in part))
        settings = ReadSettings()
        ingest(
            store, [str(path)], name, settings=settings, skip_errors=False, rejects=folder / "no"
        )


def short_rows(path: Path, rng: random.Random) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    fields = ("instruction", "input", "output")
    short = [
        {field: row[field] for field in fields}
        for row in rows
        if sum(len(row[field]) for field in fields) <= LONGEST
    ]
    rng.shuffle(short)
    return short


def measure(store: Store, dataset: str, targets: str, model: Path, name: str) -> None:
    spec = METHODS.get(name).spec
    cut = RESPONSE_TOKENS if dataset == "texts" else None
    known = set(SETTINGS) if "checkpoints" in spec.needs else set()
    settings = {key: value for key, value in SETTINGS.items() if key in known}
    if name not in ("less", "tracin", "gradient-cosine", "trak", "ekfac"):
        settings.pop("dim", None)
    if name in ("ekfac", "dealrec") and dataset == "kinds":
        settings["trainable"] = "head"  # whose curvature is never negative
    choice = ModelChoice(
        str(model), cache_dir(), max_response_tokens=cut, settings=settings, warmup=0.2
    )
    if spec.kind == "pairwise":
        targets = "few"  # every row with each of them is what costs
    aim = (
        store.version(targets)
        if spec.kind == "pairwise" or spec.kind == "bilinear" or "targets" in spec.needs
        else None
    )
    if name in ONE_PASS[1:]:
        return  # measured with the first of them
    names = list(ONE_PASS) if name == ONE_PASS[0] else [name]
    report = label(store, store.version(dataset), names, choice, Budget(share=1.0), targets=aim)
    print("\n".join(report.lines()), flush=True)


def print_table(store: Store, dataset: str) -> None:
    values, costs = measured(store, dataset), spent(store, dataset)
    done = [name for name in METHODS.builtin if name in costs and shown(name, values)]
    if not done:
        return
    print(f"\n### {dataset}\n")
    print(
        "| method | higher means | range possible | min … median … max | passes | tokens | CPU s |"
    )
    print("|---|---|---|---|--:|--:|--:|")
    for name in done:
        output = shown(name, values)
        spec, column = METHODS.get(name).spec, values[output]
        low, middle, high = (f"{x:.3g}" for x in np.nanquantile(column, [0, 0.5, 1]))
        cost = " | ".join("–" if np.isnan(x) else f"{x:,.0f}" for x in costs[name])
        bounds = ", ".join(f"{x:.3g}" for x in spec.bounds)
        print(
            f"| {output} | {spec.higher_means} | ({bounds}) | {low} … {middle} … {high} | {cost} |"
        )
    print(f"\nPer 1,000 rows, from {len(next(iter(values.values())))} rows.\n")
    names = [shown(name, values) for name in done]
    names += [name for name in values if " " in name]
    print("Spearman on the same rows:\n")
    print("| | " + " | ".join(str(k + 1) for k in range(len(names))) + " |")
    print("|---" * (len(names) + 1) + "|")
    for k, one in enumerate(names):
        row = [agreement(values[one], values[other]) for other in names[:k]]
        print(f"| {k + 1} {one} | " + " | ".join(row + [""] * (len(names) - k)) + " |")


def shown(name: str, values: dict[str, np.ndarray]) -> str:
    """The output that stands for a method: its first, or its mean over the targets; or nothing."""
    first = METHODS.get(name).spec.outputs[0]
    fitting = (
        one for one in values if one == first or one.startswith((f"{first}-for-", f"{name}-for-"))
    )
    return next(fitting, "")


def agreement(a: np.ndarray, b: np.ndarray) -> str:
    both = ~(np.isnan(a) | np.isnan(b))
    if min(len(np.unique(a[both])), len(np.unique(b[both]))) < 2:
        return "–"
    return f"{spearmanr(a[both], b[both]).statistic:+.2f}"


def measured(store: Store, dataset: str) -> dict[str, np.ndarray]:
    """Values per output, rows in one order; the length of the response as a plain rival."""
    rows = query(store, f"select sample_id, response_chars from {dataset} order by 1")
    place = {one: k for k, one in enumerate(rows["sample_id"].to_pylist())}
    values: dict[str, np.ndarray] = {}
    for row in query(store, "select sample_id, output, value from points").to_pylist():
        if row["sample_id"] in place:
            column = values.setdefault(row["output"], np.full(len(place), np.nan))
            column[place[row["sample_id"]]] = np.nan if row["value"] is None else row["value"]
    if dataset == "texts":
        pairs = query(store, "select source_id, avg(value) from pairs where output = 'delift-l2' "
                      "group by 1")  # fmt: skip
        if pairs.num_rows:
            column = values.setdefault("delift-for-few", np.full(len(place), np.nan))
            for source, value in zip(*pairs.to_pydict().values(), strict=True):
                column[place[source]] = value
        column = values.setdefault("delift-se-for-math", np.full(len(place), np.nan))
        for source, value in zip(*query(store, COSINES).to_pydict().values(), strict=True):
            column[place[source]] = value
        values["response length"] = rows["response_chars"].to_numpy().astype(float)
    return {name: column for name, column in values.items() if not np.isnan(column).all()}


def spent(store: Store, dataset: str) -> dict[str, tuple[float, float, float]]:
    """Passes, tokens and CPU seconds per 1,000 rows of each method, from the runs' own ledgers."""
    costs: dict[str, tuple[float, float, float]] = {}
    for run in log(store, 1000).runs:
        if (
            run["verb"] == "embed"
            and (rows := run["cost"].get("embeddings"))
            and dataset == "texts"
        ):
            costs["delift-se"] = (1000.0, np.nan, 1000 * run["seconds"] / rows)
        told, about = run["result"], run["params"].get("dataset") or run["params"].get("sources")
        if run["verb"] != "label" or about != f"{dataset}@1" or not told:
            continue
        methods = run["params"].get("methods", ["delift"])
        columns = told.get("columns", [])
        rows = sum(one["scored"] for one in columns) / len(methods) or told.get("sources", 0)
        if not rows:
            continue
        names = ("llm_passes", "llm_tokens", "cpu_seconds")
        cost = tuple(1000 * run["cost"].get(name, np.nan) / rows for name in names)
        for method in methods:
            costs[method] = cost
    return costs


if __name__ == "__main__":
    main()
