"""What did estimating cost beside labelling everything? Per kind of label, from the runs alone.

    everything  what one label took in the runs that made some, times all rows or pairs there are,
                and the fine-tuning that the method needs; no loading of models, no embedding
    spent       labelling, fine-tuning, embedding, LLM states, training, filling, selecting by the
                estimates: all runs that these labels and their estimators needed, failed ones too
    saving      1 − spent / everything; below 0 it cost more than labelling everything

Each kind of label is told as if it were the only one, so embeddings that serve two methods count
for both. A saving is told only where an estimator was trained and filled; else what lacks is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import col, select

from influence_store.jobs.llm_state import KIND as STATES
from influence_store.schema.catalog import Estimator, Producer, Run
from influence_store.schema.identity import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: What is paid with. Seconds on a GPU are 0 where there was none.
CURRENCIES = ("seconds", "cpu_seconds", "gpu_seconds", "llm_passes", "llm_tokens")
PARTS = ("labelling", "fine-tuning", "embedding", "LLM states", "training", "filling", "selecting")

Costs = dict[str, float]


@dataclass(frozen=True)
class Saving:
    """One kind of label of a dataset, and its targets where it has some.

    `cells` are all rows or pairs, `measured` those that the runs labelled. `each`, `everything`
    and `saving` are by currency; one that was not measured is left out. `missing` says why there
    is no saving, `verdicts` what the estimators that were had instead are worth, by name.
    """

    methods: tuple[str, ...]
    dataset: str
    targets: tuple[str, ...]
    unit: str
    cells: int
    measured: int
    each: Costs
    everything: Costs
    spent: Mapping[str, Costs]
    saving: Costs
    missing: tuple[str, ...]
    verdicts: Mapping[str, str]

    @property
    def total(self) -> Costs:
        """Spent in all, by currency."""
        return {key: sum(part[key] for part in self.spent.values()) for key in CURRENCIES}

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {**vars(self), "total": self.total}


def cost_of(run: Run) -> Costs:
    """What a run spent, by currency; runs of older tools have no CPU or GPU seconds: 0."""
    wall = (run.finished_at or run.started_at) - run.started_at
    told = {key: float(run.cost.get(key, 0)) for key in CURRENCIES}
    return told | {"seconds": float(run.cost.get("seconds", wall))}


def savings(store: Store, runs: Sequence[Run], dataset: str | None = None) -> list[Saving]:
    """Of each kind of label that `runs` made, oldest first; only those of `dataset` if named."""
    with store.database.read() as session:
        producers = list(session.exec(select(Producer).order_by(col(Producer.id))).all())
        estimators = list(session.exec(select(Estimator)).all())
    heads = {one.dataset: one for one in store.versions()}
    asked: dict[str, list[Run]] = {}
    for run in runs:
        if run.verb == "label" and _cells(run):
            asked.setdefault(run.scope, []).append(run)
    found = []
    for scope, made in asked.items():
        name = _name(_sources(made[0]))
        if dataset in (None, name) and name in heads:
            found.append(_saving(_Kind(scope, made, runs, producers, estimators), heads))
    return found


@dataclass(frozen=True)
class _Kind:
    """The runs `made` that labelled under one scope, among all `runs`."""

    scope: str
    made: Sequence[Run]
    runs: Sequence[Run]
    producers: Sequence[Producer]
    estimators: Sequence[Estimator]

    @property
    def targets(self) -> tuple[str, ...]:
        told = [run.result.get("targets") for run in self.made]
        return tuple(dict.fromkeys(_name(one) for one in told if one))

    @property
    def methods(self) -> tuple[str, ...]:
        told = self.made[-1].result
        return (told["method"],) if "method" in told else _asked_for(told)

    def taught(self) -> list[Estimator]:
        """Estimators of these labels."""
        ids = {one.id for one in self._teachers()}
        return [one for one in self.estimators if one.method_id in ids]

    def verdicts(self) -> dict[str, str]:
        """Of the newest estimator by each name."""
        names = {one.id: one.name for one in self.producers}
        return {names[one.producer_id]: one.verdict for one in self.taught()}

    def spent(self, dataset: str) -> dict[str, Costs]:
        """By part."""
        about = {dataset, *self.targets}
        teachers, taught = self._teachers(), {one.producer_id for one in self.taught()}
        own = [one.fingerprint for one in self.producers if one.id in taught]
        reads = any(one.state_id is not None for one in self.taught())
        needed: dict[str, Callable[[Run], bool]] = {
            "labelling": lambda run: run.scope == self.scope,
            "fine-tuning": lambda run: run.scope in self._fine_tuning(teachers),
            "embedding": lambda run: run.verb == "embed" and _name(_sources(run)) in about,
            "LLM states": lambda run: (
                reads and run.params.get("method") == STATES and _name(_sources(run)) in about
            ),
            "training": lambda run: (
                run.verb == "train"
                and any(run.scope.startswith(f"train:{one.fingerprint}:") for one in teachers)
            ),
            "filling": lambda run: (
                run.verb in ("fill", "drift") and any(one in run.scope for one in own)
            ),
            "selecting": lambda run: (
                run.verb == "select" and any(one in str(run.params.get("kernel")) for one in own)
            ),
        }
        return {part: _sum(run for run in self.runs if needed[part](run)) for part in PARTS}

    def _teachers(self) -> list[Producer]:
        prints = {run.result.get("fingerprint") for run in self.made}
        for run in self.made:
            prints |= {one["fingerprint"] for one in run.result.get("columns", [])}
        return [one for one in self.producers if one.fingerprint in prints]

    def _fine_tuning(self, teachers: Sequence[Producer]) -> set[str]:
        """Scopes of the runs that trained the checkpoints these labels read."""
        read = [one.facts.get("checkpoints") for one in teachers]
        stored = [one for one in self.producers if one.kind == "checkpoints"]
        return {
            f"checkpoints:{fingerprint(one.facts['key'])}"
            for one in stored
            if one.facts["checkpoints"] in read
        }


def _saving(kind: _Kind, heads: Mapping[str, Version]) -> Saving:
    dataset = _name(_sources(kind.made[0]))
    each, spent = _each(kind.made), kind.spent(dataset)
    aims = [heads[one] for one in kind.targets if one in heads]
    pairs = "scored" in kind.made[0].result
    cells = _all_cells(kind, heads[dataset], aims, pairs)
    fixed = spent["fine-tuning"]
    everything = {key: fixed[key] + each[key] * cells for key in each}
    missing = [] if kind.taught() else ["no estimator is trained on these labels"]
    if not missing and not any(spent["filling"].values()):
        missing = ["the estimator filled no column yet"]
    total = {key: sum(part[key] for part in spent.values()) for key in CURRENCIES}
    known = {} if missing else {key: 1 - total[key] / all_ for key, all_ in everything.items()}
    return Saving(
        methods=kind.methods,
        dataset=dataset,
        targets=kind.targets,
        unit="pairs" if pairs else "rows",
        cells=cells,
        measured=sum(map(_cells, kind.made)),
        each=each,
        everything=everything,
        spent=spent,
        saving=known,
        missing=tuple(missing),
        verdicts=kind.verdicts(),
    )


def _each(made: Sequence[Run]) -> Costs:
    """What one label took, by each currency that was measured; loading the model left out."""
    cells = sum(map(_cells, made))
    sums = {key: sum(_of_labels(run, key) for run in made) for key in CURRENCIES}
    return {key: total / cells for key, total in sums.items() if total}


def _of_labels(run: Run, key: str) -> float:
    return float(run.result.get(key, run.cost.get(key, 0)))


def _all_cells(kind: _Kind, pool: Version, aims: Sequence[Version], pairs: bool) -> int:
    """All pairs but those of a row with itself; or all rows, and the targets' own vectors."""
    if pairs:
        return sum(len(pool.bits) * len(a.bits) - len(pool.bits & a.bits) for a in aims)
    named = [one["name"] for run in kind.made for one in run.result["columns"]]
    sides = aims if any(one.endswith(" of targets") for one in named) else []
    return len(pool.bits) + sum(len(one.bits) for one in sides)


def _cells(run: Run) -> int:
    """Labels that a run made; of several methods asked together those of the largest."""
    if "scored" in run.result:
        return int(run.result["scored"])
    counts: dict[str, int] = {}
    for one in run.result.get("columns", []):
        name = one["name"].removesuffix(" of targets")
        counts[name] = counts.get(name, 0) + one["scored"]
    return max(counts.values(), default=0)


def _asked_for(told: Mapping[str, Any]) -> tuple[str, ...]:
    names = (one["name"].removesuffix(" of targets") for one in told["columns"])
    return tuple(dict.fromkeys(names))


def _sum(runs: Iterable[Run]) -> Costs:
    costs = [cost_of(run) for run in runs]
    return {key: sum(one[key] for one in costs) for key in CURRENCIES}


def _sources(run: Run) -> str:
    return str(run.params.get("sources") or run.params.get("dataset") or "")


def _name(version: str) -> str:
    return version.partition("@")[0]
