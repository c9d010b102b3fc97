"""Data diet at small scale: prune the hardest or the easiest rows, with and without label noise.

    python benchmarks/reproduce/pruning_curves.py FOLDER --data DATA [--methods el2n …]

DATA holds gsm8k_train.jsonl.gz, alpaca_demo.jsonl.gz and t0_50k.jsonl.gz (instruction, input,
output). A row is a short question, its label the one of six collections that it is from; what a
collection's template adds is cut off. For every seed there are two stores, FOLDER/clean-SEED and
FOLDER/noisy-SEED, with the same 360 rows; in the second 15 % have another label than theirs.
`label` scores them with EL2N, GraNd and forgetting (a head on all-MiniLM-L6-v2; VoG if asked for).
A logistic regression on the questions' embeddings then learns from what pruning leaves, and is
tested on 270 rows whose labels are right. Prints Markdown. What is done is not done again.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from in_process import Verbs, Words, folder_of_steps
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression

import influence_store.api
from influence_store.demo.models import demo_embedder
from influence_store.embedding import open_embedder
from influence_store.settings import cache_dir

Texts = list[str]
#: Label → file, source within it, and what its template puts before and after the question.
KINDS = {
    "arithmetic": ("gsm8k_train", "gsm8k_train", "", ""),
    "instruction": ("alpaca_demo", "alpaca_demo", "", ""),
    "trivia": ("t0_50k", "t0/kilt_tasks_hotpotqa_straighforward_qa", "", ""),
    "everyday": ("t0_50k", "t0/cosmos_qa_only_question_answer", "", ""),
    "science": ("t0_50k", "t0/sciq_Direct_Question_Closed_Book_", "Q:", "A:"),
    "common-sense": (
        "t0_50k",
        "t0/commonsense_qa_answer_given_question_without_options",
        "Answer the following question:",
        "",
    ),
}
PER_KIND, TEST_PER_KIND, LONGEST = 60, 45, 120
WRONG = 0.15
SHARES = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6)
RANDOM_SETS = 5
#: Trained is the head alone: each question is read once. Scores are early, forgetting looks often.
HEAD = ("--warmup", "100%", "--set", "trainable=head", "--set", "learning_rate=1e-2")
EARLY = ("--set", "epochs=2", "--set", "n_checkpoints=2")
OFTEN = ("--set", "epochs=4", "--set", "n_checkpoints=20")
HOW = {"el2n": EARLY, "grand": EARLY, "forgetting": OFTEN, "vog": EARLY}
#: VoG alone costs four times all the others: only where asked for.
METHODS = ("el2n", "grand", "forgetting")


@dataclass(frozen=True)
class Pool:
    """Questions (n,) with the labels they are trained by and, per row, whether that is wrong."""

    texts: Texts
    labels: np.ndarray
    wrong: np.ndarray


@dataclass(frozen=True)
class Curves:
    """Of one pool: accuracy without pruning, and per share of each way to prune, (n_shares,).

    `found` is the share of wrong labels among the hardest `SHARES` of rows, by method.
    """

    everything: float
    after: dict[str, np.ndarray]
    found: dict[str, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=folder_of_steps)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=tuple(HOW), default=METHODS)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    questions = read_questions(given.data)
    encoder = demo_embedder(given.folder)
    embedder = open_embedder(str(encoder), cache=cache_dir())
    every = [text for texts in questions.values() for text in texts]
    vectors = dict(zip(every, embedder.encode(every).vectors, strict=True))
    curves: dict[str, list[Curves]] = {"clean": [], "noisy": []}
    for seed in range(given.seeds):
        for name, share in (("clean", 0.0), ("noisy", WRONG)):
            pool, test = drawn(questions, share, seed)
            hardness = labelled(given.folder / f"{name}-{seed}", pool, encoder, seed, given.methods)
            curves[name].append(measured(pool, test, hardness, vectors, seed))
    for name, found in curves.items():
        print_curves(name, found)
    print_found(curves["noisy"])


def read_questions(data: Path) -> dict[str, Texts]:
    """Different short questions per kind, in the order of the files, templates cut off."""
    files = {file for file, *_ in KINDS.values()}
    rows = {file: read_rows(data / f"{file}.jsonl.gz") for file in sorted(files)}
    found = {}
    for kind, (file, source, before, after) in KINDS.items():
        texts = (
            row["instruction"].removeprefix(before).strip().removesuffix(after).strip()
            for row in rows[file]
            if row["source"] == source and not row["input"]
        )
        found[kind] = list(dict.fromkeys(text for text in texts if len(text) <= LONGEST))
    return found


def read_rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def drawn(questions: dict[str, Texts], share: float, seed: int) -> tuple[Pool, Pool]:
    """A pool and a test set, the same questions whatever the `share` of wrong labels."""
    rng = np.random.default_rng(seed)
    parts: tuple[list, list] = ([], [])
    for number, texts in enumerate(questions.values()):
        order = rng.permutation(len(texts))[: PER_KIND + TEST_PER_KIND]
        for part, chosen in zip(parts, np.split(order, [PER_KIND]), strict=True):
            part += [(texts[k], number) for k in chosen]
    (texts, labels), (test_texts, test_labels) = (zip(*part, strict=True) for part in parts)
    wrong = rng.permutation(len(texts)) < round(share * len(texts))
    shift = rng.integers(1, len(questions), len(texts))
    told = np.where(wrong, (np.array(labels) + shift) % len(questions), labels)
    right = np.zeros(len(test_texts), bool)
    return Pool(list(texts), told, wrong), Pool(list(test_texts), np.array(test_labels), right)


def labelled(
    place: Path, pool: Pool, encoder: Path, seed: int, methods: Sequence[str]
) -> dict[str, np.ndarray]:
    """Hardness by each method, (n,), read back from the store; never learned is hardest."""
    path, kinds = place.with_suffix(".jsonl"), list(KINDS)
    rows = zip(pool.texts, pool.labels, strict=True)
    path.write_text(
        "".join(json.dumps({"prompt": q, "response": kinds[k]}) + "\n" for q, k in rows)
    )
    verbs = Verbs(place.parent, place.name)
    for step in steps(path, encoder, seed, methods):
        verbs(*step)
    columns = ", ".join(f"inf_{method} as {method}" for method in methods)
    with influence_store.api.open(place) as store:
        told = store.query(f"select prompt, {columns} from pool").to_dicts()
    by_prompt = {row["prompt"]: row for row in told}
    return {
        method: np.array(
            [np.inf if (x := by_prompt[q][method]) is None else x for q in pool.texts], float
        )
        for method in methods
    }


def steps(path: Path, encoder: Path, seed: int, methods: Sequence[str]) -> Iterator[Words]:
    yield ("init",)
    yield "ingest", path, "--dataset", "pool"
    asked = ("--model", encoder, "--rows", "all", *HEAD, "--seed", seed)
    for method in methods:
        yield "label", "pool", "--method", method, *asked, *HOW[method]


def measured(
    pool: Pool,
    test: Pool,
    hardness: dict[str, np.ndarray],
    vectors: dict[str, np.ndarray],
    seed: int,
) -> Curves:
    """Prune, fit, test. Ties (forgetting has many) fall at random."""
    x, y = np.array([vectors[q] for q in pool.texts]), pool.labels
    tested = np.array([vectors[q] for q in test.texts])

    def accuracy(kept: np.ndarray) -> float:
        probe = LogisticRegression(C=10.0, max_iter=2000).fit(x[kept], y[kept])
        return float(probe.score(tested, test.labels))

    rng, n = np.random.default_rng(seed), len(y)
    dropped = [round(share * n) for share in SHARES]
    orders = {method: np.lexsort((rng.random(n), -values)) for method, values in hardness.items()}
    after = {}
    for method, order in orders.items():
        after[f"{method}, hardest"] = np.array([accuracy(order[k:]) for k in dropped])
        after[f"{method}, easiest"] = np.array([accuracy(order[: n - k]) for k in dropped])
    if pool.wrong.any():
        known = np.lexsort((rng.random(n), ~pool.wrong))
        after["the wrong ones (known)"] = np.array([accuracy(known[k:]) for k in dropped])
    sets = [rng.permutation(n) for _ in range(RANDOM_SETS)]
    after["random"] = np.mean([[accuracy(one[k:]) for k in dropped] for one in sets], axis=0)
    found = {
        method: np.array([pool.wrong[order[:k]].mean() for k in dropped])
        for method, order in orders.items()
    }
    return Curves(accuracy(np.arange(n)), after, found)


def print_curves(name: str, pools: list[Curves]) -> None:
    """Accuracy of random pruning, and beside it score − random with its interval over pools."""
    everything = np.mean([one.everything for one in pools])
    print(f"\n### {name}: accuracy {everything:.3f} without pruning\n")
    print_head("pruned", SHARES)
    random = np.array([one.after["random"] for one in pools])
    print_row("random", random.T, lambda cell: f"{np.mean(cell):.3f}")
    for how in pools[0].after:
        if how != "random":
            gains = np.array([one.after[how] for one in pools]) - random
            print_row(f"{how} − random", gains.T, interval)
    print("\nAgainst no pruning at all:\n")
    print_head("pruned", SHARES[:3])
    for how in pools[0].after:
        if not how.endswith("easiest"):
            gains = [one.after[how][:3] - one.everything for one in pools]
            print_row(how, np.array(gains).T, interval)


def print_found(pools: list[Curves]) -> None:
    print(f"\n### The hardest rows and the {WRONG:.0%} of wrong labels: precision / recall\n")
    print_head("hardest", SHARES)
    for method in pools[0].found:
        precision = np.array([one.found[method] for one in pools]).mean(axis=0)
        recall = precision * SHARES / WRONG
        cells = [f"{p:.2f} / {r:.2f}" for p, r in zip(precision, recall, strict=True)]
        print(f"| {method} | " + " | ".join(cells) + " |")


def print_head(first: str, shares: tuple[float, ...]) -> None:
    print(f"| {first} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    print("|---|" + "--:|" * len(shares))


def print_row(name: str, cells: np.ndarray, shown: Callable[[np.ndarray], str]) -> None:
    print(f"| {name} | " + " | ".join(shown(cell) for cell in cells) + " |")


def interval(values: list[float] | np.ndarray) -> str:
    """Mean ± half of Student's 95 % interval over pools; bold where it leaves out 0."""
    n = len(values)
    half = student.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    told = f"{np.mean(values):+.3f} ± {half:.3f}".replace("-", "−")
    return f"**{told}**" if abs(np.mean(values)) > half else told


if __name__ == "__main__":
    main()
